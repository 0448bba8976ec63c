// SPDX-License-Identifier: Apache-2.0
/*
 * protect host hv-console and hv-debug-info. The second asks for each zone by itself, a few at a
 * time: an answer about all of them might not fit into a packet.
 */
#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/output.h"
#include "protect/cli/shared.h"

#define ASKED_MAX 8u /* at once */

static const char *const json_words[] = {"json", "jsonl", NULL};

const struct arg_option host_hv_debug_options[HOST_HV_DEBUG_N_OPTIONS] = {
	{'o', "output", ARG_STRING, offsetof(struct list_options, output), "json|jsonl",
	 "how to print it (default json)", 0, 0, json_words},
};

int host_hv_console_run(const struct args *args, void *values)
{
	return logs_run(METHOD(HOST_HV_CONSOLE), args, values, false);
}

/* Adds the objects of one answer. Returns an exit status. */
static int add_answer(json_t *array, const struct reply *reply)
{
	_cleanup_(message_freep) ProtobufCMessage *message =
		reply_unpack(reply, &protect__control__text__descriptor);
	json_t *objects;
	int status = CLI_OK;

	if (!message)
		return CLI_ERROR;
	objects = json_loads(((const Protect__Control__Text *)message)->text, 0, NULL);
	if (!json_is_array(objects) || json_array_extend(array, objects) < 0) {
		output_error("the daemon's answer cannot be read; are protect and protect-daemon "
			     "of one version?");
		status = CLI_ERROR;
	}
	json_decref(objects);
	return status;
}

static int ask(struct connection *connection, char *zone, struct reply *reply)
{
	Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;

	ref.ref = zone;
	return connection_start(connection, METHOD(HOST_HV_DEBUG_INFO), &ref.base, reply, NULL);
}

/* Zones that are destroyed meanwhile are passed over. Returns an exit status, when no call is under
 * way any more. */
static int ask_each(struct connection *connection, char **zones, size_t n, json_t *array)
{
	struct reply replies[ASKED_MAX] = {0};
	size_t asked = 0, taken = 0;
	int status = CLI_OK;

	while (taken < n && !connection->lost) {
		struct reply *reply = &replies[taken % ASKED_MAX];

		for (; asked < n && asked - taken < ASKED_MAX; asked++)
			if (ask(connection, zones[asked], &replies[asked % ASKED_MAX]) < 0) {
				n = asked;
				status = CLI_ERROR;
			}
		if (taken == n)
			break;
		connection_wait(connection, reply);
		if (reply->error != -ENOENT && add_answer(array, reply))
			status = CLI_ERROR;
		reply_deinit(reply);
		*reply = (struct reply){0};
		taken++;
	}
	for (size_t i = 0; i < ASKED_MAX; i++)
		reply_deinit(&replies[i]);
	return connection->lost ? CLI_ERROR : status;
}

static int ask_all(struct connection *connection, json_t *array)
{
	Protect__Control__Empty empty = PROTECT__CONTROL__EMPTY__INIT;
	_cleanup_(message_freep) ProtobufCMessage *message =
		connection_call(connection, METHOD(ZONE_LIST), &empty.base,
				&protect__control__zone_list__descriptor);
	const Protect__Control__ZoneList *list = (const Protect__Control__ZoneList *)message;
	_cleanup_(freep) char **zones = NULL;

	if (!message)
		return CLI_ERROR;
	zones = calloc(list->n_zones + 1, sizeof(*zones));
	if (!zones) {
		output_error("out of memory");
		return CLI_ERROR;
	}
	for (size_t i = 0; i < list->n_zones; i++)
		zones[i] = list->zones[i]->uuid;
	return ask_each(connection, zones, list->n_zones, array);
}

static int ask_one(struct connection *connection, char *zone, json_t *array)
{
	_cleanup_(reply_deinit) struct reply reply = {0};

	if (ask(connection, zone, &reply) < 0)
		return CLI_ERROR;
	connection_wait(connection, &reply);
	return add_answer(array, &reply);
}

int host_hv_debug_run(const struct args *args, void *values)
{
	const struct list_options *options = values;
	_cleanup_(connection_freep) struct connection *connection = connection_new();
	json_t *array = json_array();
	int status = CLI_ERROR, r;

	if (connection && array)
		status = args->n_operands ? ask_one(connection, args->operands[0], array)
					  : ask_all(connection, array);
	if (!connection || !array || (status && json_array_size(array) == 0)) {
		json_decref(array);
		return CLI_ERROR;
	}
	r = output_list(output_format(options->output ? options->output : "json"), array, NULL, 0);
	return status ? status : r;
}
