// SPDX-License-Identifier: Apache-2.0
/* protect workload attach, and start: a workload that is there already. */
#include "base/cleanup.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/exec.h"
#include "protect/cli/launch.h"
#include "protect/cli/output.h"

#define ATTACH_AT(field) offsetof(struct attach_values, field)

const struct arg_option attach_options[ATTACH_N_OPTIONS] = {
	{0, "no-stdin", ARG_FLAG, ATTACH_AT(no_stdin), NULL, "send it no input", 0, 0, NULL},
	{0, "no-replay", ARG_FLAG, ATTACH_AT(no_replay), NULL, "without what it wrote before", 0, 0,
	 NULL},
};

const struct arg_option start_options[START_N_OPTIONS] = {
	{'a', "attach", ARG_FLAG, ATTACH_AT(start), NULL,
	 "stay with it: its input, outputs and status", 0, 0, NULL},
};

static int run(struct connection *connection, const Protect__Control__Workload *workload,
	       const struct attach_values *values)
{
	_cleanup_(reply_deinit) struct reply reply = {0};
	_cleanup_(relay_deinit) struct relay relay = {.signals = -1};
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	Protect__Control__WorkloadAttach attach = PROTECT__CONTROL__WORKLOAD_ATTACH__INIT;
	Protect__Control__Terminal size = PROTECT__CONTROL__TERMINAL__INIT;
	unsigned flags = exec_relay_flags(workload->terminal) | RELAY_DETACH;
	int status;

	if (values->no_stdin)
		flags = (flags & ~(unsigned)RELAY_INPUT) | RELAY_QUIET;
	if (relay_init(&relay, connection, flags) < 0)
		return CLI_EXEC_FAILED;
	attach.ref = workload->uuid;
	attach.stdio_stream = relay_stdio_number(&relay);
	attach.stderr_stream = relay_stderr_number(&relay);
	attach.no_replay = values->no_replay;
	attach.start = values->start;
	terminal_size(&size.rows, &size.columns);
	if (workload->terminal)
		attach.terminal = &size;
	if (connection_start(connection, METHOD(WORKLOAD_ATTACH), &attach.base, &reply,
			     &relay.request_id) < 0)
		return CLI_EXEC_FAILED;
	status = relay_run(&relay, &reply, true);
	if (relay.detached)
		return workload_left(workload->name);
	if (status)
		return status;
	message = reply_unpack(&reply, &protect__control__workload__descriptor);
	return message ? workload_status((const Protect__Control__Workload *)message)
		       : CLI_EXEC_FAILED;
}

int workload_attach_run(const struct args *args, void *values)
{
	_cleanup_(connection_freep) struct connection *connection = connection_new();
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;

	if (!connection)
		return CLI_EXEC_FAILED;
	ref.ref = args->operands[0];
	message = connection_call(connection, METHOD(WORKLOAD_RESOLVE), &ref.base,
				  &protect__control__workload__descriptor);
	return message ? run(connection, (const Protect__Control__Workload *)message, values)
		       : CLI_EXEC_FAILED;
}

static int start_one(char *name)
{
	Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;

	ref.ref = name;
	message = connection_ask(METHOD(WORKLOAD_START), &ref.base,
				 &protect__control__workload__descriptor);
	return message ? CLI_OK : CLI_ERROR;
}

int workload_start_run(const struct args *args, void *values)
{
	const struct attach_values *given = values;
	int status = CLI_OK;

	if (given->start && args->n_operands > 1)
		return args_usage_error(args, "--attach takes one workload");
	if (given->start)
		return workload_attach_run(args, values);
	for (size_t i = 0; i < args->n_operands; i++)
		if (start_one(args->operands[i]) != CLI_OK)
			status = CLI_ERROR;
	return status;
}
