// SPDX-License-Identifier: Apache-2.0
/* protect workload launch, attached or not */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/import.h"
#include "protect/cli/launch.h"
#include "protect/cli/output.h"
#include "protect/cli/volume_option.h"

#define AT(field)	   offsetof(struct workload_launch_values, field)
#define SETTINGS_AT(field) AT(settings.field)
#define STOP_SECONDS_MAX   (24u * 3600)

const struct arg_option workload_launch_options[WORKLOAD_LAUNCH_N_OPTIONS] = {
	{'z', "zone", ARG_STRING, AT(zone), "ZONE", "the zone to run in (needed)", 0, 0, NULL},
	{'n', "name", ARG_STRING, AT(name), "NAME", "the workload's name (default: one is made up)",
	 0, 0, NULL},
	{'a', "attach", ARG_FLAG, AT(attach), NULL, "stay with it: its input, outputs and status",
	 0, 0, NULL},
	{'t', "tty", ARG_FLAG, AT(exec.terminal), NULL, "with a terminal", 0, 0, NULL},
	{'W', "wait", ARG_FLAG, AT(wait), NULL, "until it was started", 0, 0, NULL},
	{'e', "env", ARG_LIST, AT(exec.env), "KEY=VALUE", "set an environment variable", 0, 0,
	 NULL},
	{'w', "workdir", ARG_STRING, AT(exec.directory), "DIR", "start in DIR", 0, 0, NULL},
	{0, "scratch-size", ARG_STRING, AT(scratch_size), "SIZE",
	 "what it writes lies on a disk of this size, not in the zone's memory", 0, 0, NULL},
	{'v', "volume", ARG_LIST, AT(volumes), "VOLUME:TARGET[:ro]",
	 "a volume, or a device or folder of the host by its path, seen at TARGET", 0, 0, NULL},
	{'u', "user", ARG_STRING, AT(exec.user), "USER[:GROUP]", "names of the image, or numbers",
	 0, 0, NULL},
	{0, "env-file", ARG_LIST, AT(exec.env_files), "FILE", "variables, a line each", 0, 0, NULL},
	{'i', "interactive", ARG_FLAG, AT(interactive), NULL,
	 "its input stays open for who attaches later", 0, 0, NULL},
	{0, "entrypoint", ARG_STRING, AT(entrypoint), "PROGRAM",
	 "in place of the image's; '' = none", 0, 0, NULL},
	{0, "stop-signal", ARG_STRING, AT(stop_signal), "SIGNAL", "in place of the image's", 0, 0,
	 NULL},
	{0, "stop-timeout", ARG_NUMBER, AT(stop_timeout_s), "SECONDS",
	 "grace before SIGKILL (default 10)", 1, STOP_SECONDS_MAX, NULL},
	{0, "restart", ARG_STRING, AT(restart), "POLICY", "no, on-failure[:N] or always", 0, 0,
	 NULL},
	SETTINGS_OPTIONS(SETTINGS_AT),
};

/* "no", "on-failure", "on-failure:N", "always". Returns 0 or -EINVAL. */
static int take_restart(const char *text, Protect__Control__WorkloadLaunch *message)
{
	static const char on_failure[] = "on-failure";
	size_t len = strlen(on_failure);
	uint64_t max = 0;

	if (!text || strcmp(text, "no") == 0)
		return 0;
	message->restart = PROTECT__CONTROL__RESTART_POLICY__RESTART_ALWAYS;
	if (strcmp(text, "always") == 0)
		return 0;
	if (strncmp(text, on_failure, len) != 0 ||
	    (text[len] &&
	     (text[len] != ':' || args_number(text + len + 1, 1, UINT32_MAX, &max) < 0)))
		return -EINVAL;
	message->restart = PROTECT__CONTROL__RESTART_POLICY__RESTART_ON_FAILURE;
	message->restart_max = (uint32_t)max;
	return 0;
}

/* What one launch needs; filled step by step, released as a whole. */
struct launch {
	struct reply started, ended;
	struct connection *connection;
	struct relay relay;
	struct exec_process process;
	char *image;
	char *entrypoint[1];
	Protect__Agent__Settings *settings;
	Protect__Control__WorkloadLaunch message;
	struct volume_option volumes;
	uint64_t scratch_bytes;
};

static void launch_deinit(struct launch *launch)
{
	exec_process_deinit(&launch->process);
	volume_option_deinit(&launch->volumes);
	relay_deinit(&launch->relay);
	launch->connection = connection_free(launch->connection);
	free(launch->image);
	settings_message_free(launch->settings);
	reply_deinit(&launch->started);
	reply_deinit(&launch->ended);
}

static int prepare(struct launch *launch, const struct args *args,
		   const struct workload_launch_values *values)
{
	launch->connection = connection_new();
	if (!launch->connection ||
	    import_if_local(launch->connection, args->operands[0], &launch->image) < 0)
		return -1;
	if (values->attach &&
	    relay_init(&launch->relay, launch->connection,
		       exec_relay_flags(values->exec.terminal) | RELAY_DETACH) < 0)
		return -1;
	if (exec_process_init(&launch->process, args, &values->exec,
			      values->attach ? &launch->relay : NULL) < 0)
		return -1;
	launch->message.image = launch->image;
	launch->message.process = &launch->process.message;
	return 0;
}

static char *borrow(const char *text)
{
	return (char *)(uintptr_t)(text ? text : "");
}

/* What the options say, before anything is done. Returns an exit status. */
static int fill(struct launch *launch, const struct args *args,
		const struct workload_launch_values *values)
{
	Protect__Control__WorkloadLaunch *message = &launch->message;

	protect__control__workload_launch__init(message);
	message->zone = borrow(values->zone);
	message->name = borrow(values->name);
	message->wait = values->wait;
	message->attach = values->attach;
	message->volumes = launch->volumes.pointers;
	message->n_volumes = launch->volumes.n;
	message->scratch_bytes = launch->scratch_bytes;
	message->interactive = values->interactive;
	message->stop_signal = borrow(values->stop_signal);
	message->stop_timeout_ms = (uint32_t)values->stop_timeout_s * 1000;
	if (take_restart(values->restart, message) < 0)
		return args_usage_error(args, "--restart: '%s' is not no, on-failure[:N] or always",
					values->restart);
	if (values->entrypoint) {
		message->set_entrypoint = true;
		launch->entrypoint[0] = borrow(values->entrypoint);
		message->entrypoint = launch->entrypoint;
		message->n_entrypoint = *values->entrypoint != '\0';
	}
	if (settings_message_new(args, &values->settings, &launch->settings) != CLI_OK)
		return CLI_USAGE;
	message->settings = launch->settings;
	return CLI_OK;
}

int workload_left(const char *name)
{
	fprintf(stderr,
		"\nprotect: left '%s', which goes on; 'protect workload attach %s' comes back\n",
		name, name);
	return CLI_OK;
}

int workload_status(const Protect__Control__Workload *workload)
{
	if (workload->has_exit_code && workload->exit_code >= 0 && workload->exit_code <= 255)
		return workload->exit_code;
	output_error("workload %s has no exit status: %s", workload->name,
		     *workload->reason ? workload->reason : "it was lost");
	return CLI_EXEC_FAILED;
}

static int wait_for_end(struct launch *launch, char *uuid)
{
	Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	uint64_t launch_id = launch->connection->call_id;
	int status;

	ref.ref = uuid;
	if (connection_start(launch->connection, METHOD(WORKLOAD_WAIT), &ref.base, &launch->ended,
			     NULL) < 0)
		return CLI_EXEC_FAILED;
	launch->connection->call_id = launch_id;
	status = relay_run(&launch->relay, &launch->ended, true);
	if (launch->relay.detached)
		return workload_left(uuid);
	if (status)
		return status;
	message = reply_unpack(&launch->ended, &protect__control__workload__descriptor);
	return message ? workload_status((const Protect__Control__Workload *)message)
		       : CLI_EXEC_FAILED;
}

static int run_attached(struct launch *launch)
{
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	int status;

	if (connection_start(launch->connection, METHOD(WORKLOAD_LAUNCH), &launch->message.base,
			     &launch->started, &launch->relay.request_id) < 0)
		return CLI_EXEC_FAILED;
	status = relay_run(&launch->relay, &launch->started, false);
	output_progress_end();
	if (launch->relay.detached)
		return workload_left("it");
	if (status)
		return status;
	message = reply_unpack(&launch->started, &protect__control__workload__descriptor);
	if (!message || launch->connection->lost)
		return CLI_EXEC_FAILED;
	return wait_for_end(launch, ((const Protect__Control__Workload *)message)->uuid);
}

static int run_detached(struct launch *launch)
{
	_cleanup_(message_freep) ProtobufCMessage *message =
		connection_call(launch->connection, METHOD(WORKLOAD_LAUNCH), &launch->message.base,
				&protect__control__workload__descriptor);

	if (!message)
		return CLI_ERROR;
	puts(((const Protect__Control__Workload *)message)->uuid);
	return output_flush();
}

int workload_launch_run(const struct args *args, void *given)
{
	const struct workload_launch_values *values = given;
	_cleanup_(launch_deinit) struct launch launch = {.relay.signals = -1};
	int status;

	if (!values->zone)
		return args_usage_error(args, "--zone is missing");
	if (args_check_env(args, &values->exec.env) < 0)
		return CLI_USAGE;
	status = volume_option_parse(args, &values->volumes, &launch.volumes);
	if (!status && values->scratch_size)
		status = size_option_parse(args, "--scratch-size", values->scratch_size,
					   &launch.scratch_bytes);
	if (status)
		return status;
	status = fill(&launch, args, values);
	if (status)
		return status;
	if (prepare(&launch, args, values) < 0)
		return values->attach ? CLI_EXEC_FAILED : CLI_ERROR;
	return values->attach ? run_attached(&launch) : run_detached(&launch);
}
