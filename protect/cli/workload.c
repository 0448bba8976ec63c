// SPDX-License-Identifier: Apache-2.0
/* protect workload: the commands but launch. */
#include <stdio.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/exec.h"
#include "protect/cli/launch.h"
#include "protect/cli/output.h"
#include "protect/cli/shared.h"
#include "protect/cli/volume_option.h"

#define STOP_SECONDS_MAX (24u * 3600)

struct stop_options {
	uint64_t timeout_s;
};

static const struct arg_option stop_options[] = {
	{0, "timeout", ARG_NUMBER, offsetof(struct stop_options, timeout_s), "SECONDS",
	 "grace before SIGKILL (default: as launched, or 10)", 1, STOP_SECONDS_MAX, NULL},
};

static const char *state_word(Protect__Control__WorkloadStateKind state)
{
	static const char *const words[] = {"unknown",	  "creating", "running",   "exited",
					    "destroying", "failed",   "restarting"};

	return (unsigned)state < ARRAY_SIZE(words) ? words[state] : words[0];
}

/* As --restart takes it. */
static json_t *restart_json(const Protect__Control__Workload *workload)
{
	static const char *const words[] = {"no", "on-failure", "always"};
	const char *word = (unsigned)workload->restart < ARRAY_SIZE(words)
				   ? words[workload->restart]
				   : words[0];

	return workload->restart_max ? json_sprintf("%s:%u", word, workload->restart_max)
				     : json_string(word);
}

static json_t *workload_json(const Protect__Control__Workload *workload)
{
	return json_pack(
		"{s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:I, s:o, s:i, s:I, s:I, s:b, s:o, s:I}",
		"uuid", output_text(workload->uuid), "name", output_text(workload->name), "zone",
		output_text(workload->zone), "zone_name", output_text(workload->zone_name), "state",
		state_word(workload->state), "exit_code",
		workload->has_exit_code ? json_integer(workload->exit_code) : json_null(), "image",
		output_text(workload->image), "reason", output_text(workload->reason),
		"created_unix_ms", (json_int_t)workload->created_unix_ms, "restart",
		restart_json(workload), "restarts", (int)workload->restarts, "started_unix_ms",
		(json_int_t)workload->started_unix_ms, "ended_unix_ms",
		(json_int_t)workload->ended_unix_ms, "oom_killed", workload->oom_killed, "volumes",
		volume_mounts_json(workload->volumes, workload->n_volumes), "scratch_bytes",
		(json_int_t)workload->scratch_bytes);
}

static int list_run(const struct args *args, void *values)
{
	static const struct output_column columns[] = {
		{"UUID", "uuid"},   {"NAME", "name"},	   {"ZONE", "zone_name"},
		{"STATE", "state"}, {"EXIT", "exit_code"}, {"RESTARTS", "restarts"},
		{"IMAGE", "image"}, {"REASON", "reason"},
	};
	const struct list_options *options = values;
	Protect__Control__Empty empty = PROTECT__CONTROL__EMPTY__INIT;
	_cleanup_(message_freep) ProtobufCMessage *message = connection_ask(
		METHOD(WORKLOAD_LIST), &empty.base, &protect__control__workload_list__descriptor);
	const Protect__Control__WorkloadList *list =
		(const Protect__Control__WorkloadList *)message;
	json_t *array;

	(void)args;
	if (!message)
		return CLI_ERROR;
	array = json_array();
	for (size_t i = 0; i < list->n_workloads; i++)
		json_array_append_new(array, workload_json(list->workloads[i]));
	return output_list(output_format(options->output), array, columns, ARRAY_SIZE(columns));
}

static int stop_run(const struct args *args, void *values)
{
	const struct stop_options *options = values;
	Protect__Control__Stop stop = PROTECT__CONTROL__STOP__INIT;
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;

	stop.ref = args->operands[0];
	stop.timeout_ms = (uint32_t)options->timeout_s * 1000;
	message = connection_ask(METHOD(WORKLOAD_STOP), &stop.base,
				 &protect__control__workload__descriptor);
	return message ? CLI_OK : CLI_ERROR;
}

static int exec_command(const struct args *args, void *values)
{
	return exec_run(METHOD(WORKLOAD_EXEC), args, values);
}

static int logs_command(const struct args *args, void *values)
{
	return logs_run(METHOD(WORKLOAD_LOGS), args, values, true);
}

static int destroy_command(const struct args *args, void *values)
{
	return destroy_run(METHOD(WORKLOAD_DESTROY), args,
			   ((const struct destroy_options *)values)->wait);
}

static const struct command commands[] = {
	{.name = "launch",
	 .usage = "--zone ZONE [OPTION...] IMAGE [-- COMMAND [ARGUMENT...]]",
	 .summary = "Start a workload from an OCI image in a zone and print its UUID.",
	 .details = LAUNCH_WORKLOAD_DETAILS,
	 .options = workload_launch_options,
	 .n_options = WORKLOAD_LAUNCH_N_OPTIONS,
	 .values_size = sizeof(struct workload_launch_values),
	 .operands_min = 1,
	 .operands_max = 1,
	 .has_tail = true,
	 .run = workload_launch_run},
	{.name = "list",
	 .usage = "[OPTION...]",
	 .summary = "List the workloads of all zones.",
	 .details = "States: creating, running, exited, restarting, destroying, failed.\n",
	 OPTIONS(list_options, struct list_options),
	 .run = list_run},
	{.name = "logs",
	 .usage = "[OPTION...] WORKLOAD",
	 .summary = "Print what the workload wrote, its two outputs apart.",
	 OPTIONS(logs_options, struct logs_options),
	 .operands_min = 1,
	 .operands_max = 1,
	 .run = logs_command},
	{.name = "exec",
	 .usage = "[OPTION...] WORKLOAD -- COMMAND [ARGUMENT...]",
	 .summary = "Run a command beside the workload's own, and exit with its status.",
	 .details = "Exits with the command's status, 128+N if signal N killed it, 125 if it could "
		    "not be run.\n\n"
		    "Example:\n  protect workload exec -t web -- sh\n",
	 OPTIONS(exec_options, struct exec_options),
	 .operands_min = 1,
	 .operands_max = 1,
	 .has_tail = true,
	 .needs_tail = true,
	 .run = exec_command},
	{.name = "start",
	 .usage = "[OPTION...] WORKLOAD...",
	 .summary = "Start workloads that have ended once more, on the files they left.",
	 .options = start_options,
	 .n_options = START_N_OPTIONS,
	 .values_size = sizeof(struct attach_values),
	 .operands_min = 1,
	 .operands_max = 1000,
	 .run = workload_start_run},
	{.name = "attach",
	 .usage = "[OPTION...] WORKLOAD",
	 .summary = "Join a workload's input and outputs, and exit with its status.",
	 .details = "First comes the last of what it wrote. One caller at a time. On a workload's "
		    "terminal Ctrl-] leaves\nit running; so does this program's end. Input goes to "
		    "workloads launched with --tty or --interactive.\n",
	 .options = attach_options,
	 .n_options = ATTACH_N_OPTIONS,
	 .values_size = sizeof(struct attach_values),
	 .operands_min = 1,
	 .operands_max = 1,
	 .run = workload_attach_run},
	{.name = "stop",
	 .usage = "[OPTION...] WORKLOAD",
	 .summary = "Ask the workload to end, kill it if it does not, and wait for that.",
	 OPTIONS(stop_options, struct stop_options),
	 .operands_min = 1,
	 .operands_max = 1,
	 .run = stop_run},
	{.name = "destroy",
	 .usage = "[OPTION...] WORKLOAD...",
	 .summary = "Kill workloads and forget them.",
	 OPTIONS(destroy_options, struct destroy_options),
	 .operands_min = 1,
	 .operands_max = 1000,
	 .run = destroy_command},
};

const struct command_group workload_group = {"workload", "workloads: OCI images that run in zones",
					     commands, ARRAY_SIZE(commands)};
