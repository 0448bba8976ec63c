// SPDX-License-Identifier: Apache-2.0
/* zone logs, workload logs, host hv-console. */
#include "base/cleanup.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/output.h"
#include "protect/cli/relay.h"

int logs_run(uint32_t method, const struct args *args, bool follow, bool split)
{
	_cleanup_(reply_deinit) struct reply reply = {0};
	_cleanup_(connection_freep) struct connection *connection = connection_new();
	_cleanup_(relay_deinit) struct relay relay = {.signals = -1};
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	Protect__Control__Logs logs = PROTECT__CONTROL__LOGS__INIT;
	int status;

	if (!connection || relay_init(&relay, connection, split ? RELAY_STDERR : 0) < 0)
		return CLI_ERROR;
	if (args->n_operands)
		logs.ref = args->operands[0];
	logs.follow = follow;
	logs.stream = relay_stdio_number(&relay);
	logs.stderr_stream = relay_stderr_number(&relay);
	if (connection_start(connection, method, &logs.base, &reply, NULL) < 0)
		return CLI_ERROR;
	status = relay_run(&relay, &reply, true);
	if (status)
		return status;
	message = reply_unpack(&reply, &protect__control__empty__descriptor);
	return message ? CLI_OK : CLI_ERROR;
}
