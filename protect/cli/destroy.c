// SPDX-License-Identifier: Apache-2.0
/* zone destroy, workload destroy, image remove: each operand in turn, going on after an error. */
#include "base/cleanup.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"

static int destroy_one(struct connection *connection, uint32_t method, char *name, bool wait)
{
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	Protect__Control__Destroy destroy = PROTECT__CONTROL__DESTROY__INIT;
	Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;
	const ProtobufCMessage *request =
		method == METHOD(IMAGE_REMOVE) ? &ref.base : &destroy.base;

	destroy.ref = ref.ref = name;
	destroy.wait = wait;
	message =
		connection_call(connection, method, request, &protect__control__empty__descriptor);
	return message ? CLI_OK : CLI_ERROR;
}

int destroy_run(uint32_t method, const struct args *args, bool wait)
{
	_cleanup_(connection_freep) struct connection *connection = connection_new();
	int status = connection ? CLI_OK : CLI_ERROR;

	for (size_t i = 0; connection && !connection->lost && i < args->n_operands; i++)
		if (destroy_one(connection, method, args->operands[i], wait))
			status = CLI_ERROR;
	return status;
}
