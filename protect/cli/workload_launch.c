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

#define AT(field) offsetof(struct workload_launch_values, field)

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
};

/* What one launch needs; filled step by step, released as a whole. */
struct launch {
	struct reply started, ended;
	struct connection *connection;
	struct relay relay;
	struct exec_process process;
	char *image;
	Protect__Control__WorkloadLaunch message;
};

static void launch_deinit(struct launch *launch)
{
	exec_process_deinit(&launch->process);
	relay_deinit(&launch->relay);
	launch->connection = connection_free(launch->connection);
	free(launch->image);
	reply_deinit(&launch->started);
	reply_deinit(&launch->ended);
}

static int prepare(struct launch *launch, const struct args *args,
		   const struct workload_launch_values *values)
{
	Protect__Control__WorkloadLaunch *message = &launch->message;

	launch->connection = connection_new();
	if (!launch->connection ||
	    import_if_local(launch->connection, args->operands[0], &launch->image) < 0)
		return -1;
	if (values->attach && relay_init(&launch->relay, launch->connection,
					 exec_relay_flags(values->exec.terminal)) < 0)
		return -1;
	if (exec_process_init(&launch->process, args, &values->exec,
			      values->attach ? &launch->relay : NULL) < 0)
		return -1;
	protect__control__workload_launch__init(message);
	message->zone = (char *)(uintptr_t)values->zone;
	if (values->name)
		message->name = (char *)(uintptr_t)values->name;
	message->image = launch->image;
	message->process = &launch->process.message;
	message->wait = values->wait;
	message->attach = values->attach;
	return 0;
}

/* The exit status that an ended workload stands for. */
static int status_of(const Protect__Control__Workload *workload)
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
	if (status)
		return status;
	message = reply_unpack(&launch->ended, &protect__control__workload__descriptor);
	return message ? status_of((const Protect__Control__Workload *)message) : CLI_EXEC_FAILED;
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

	if (!values->zone)
		return args_usage_error(args, "--zone is missing");
	if (args_check_env(args, &values->exec.env) < 0)
		return CLI_USAGE;
	if (prepare(&launch, args, values) < 0)
		return values->attach ? CLI_EXEC_FAILED : CLI_ERROR;
	return values->attach ? run_attached(&launch) : run_detached(&launch);
}
