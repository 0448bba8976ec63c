// SPDX-License-Identifier: Apache-2.0
/* protect network: reservations, and NICs that come and go. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/output.h"
#include "protect/cli/shared.h"

struct create_options {
	const char *ipv4, *ipv6, *mac, *output;
};

struct attach_options {
	const char *reservation;
};

struct detach_options {
	bool force;
};

static const struct arg_option create_options[] = {
	{'4', "ipv4", ARG_STRING, offsetof(struct create_options, ipv4), "ADDR",
	 "this address (default: the next one that is free)", 0, 0, NULL},
	{'6', "ipv6", ARG_STRING, offsetof(struct create_options, ipv6), "ADDR",
	 "this address (default: the next one that is free)", 0, 0, NULL},
	{0, "mac", ARG_STRING, offsetof(struct create_options, mac), "ADDR",
	 "the NIC's address (default: one is made up)", 0, 0, NULL},
	OUTPUT_OPTION(struct create_options),
};

static const struct arg_option attach_options_table[] = {
	{0, "reservation", ARG_STRING, offsetof(struct attach_options, reservation), "NAME",
	 "addresses reserved before (default: they are made for it)", 0, 0, NULL},
};

static const struct arg_option detach_options[] = {
	{'f', "force", ARG_FLAG, offsetof(struct detach_options, force), NULL,
	 "also when the zone does not let go of it", 0, 0, NULL},
};

static const struct output_column columns[] = {
	{"NAME", "name"}, {"IPV4", "ipv4"}, {"IPV6", "ipv6"},
	{"MAC", "mac"},	  {"ZONE", "zone"}, {"LINK", "link"},
};

static json_t *reservation_json(const Protect__Control__Reservation *r)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "name", output_text(r->name),
			 "ipv4", output_text(r->ipv4), "ipv6", output_text(r->ipv6), "mac",
			 output_text(r->mac), "zone", output_text(r->zone), "link",
			 output_text(r->link), "created_unix_ms", (json_int_t)r->created_unix_ms);
}

static int create_run(const struct args *args, void *values)
{
	const struct create_options *options = values;
	Protect__Control__ReservationCreate create = PROTECT__CONTROL__RESERVATION_CREATE__INIT;
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;

	create.name = args->operands[0];
	if (options->ipv4)
		create.ipv4 = (char *)(uintptr_t)options->ipv4;
	if (options->ipv6)
		create.ipv6 = (char *)(uintptr_t)options->ipv6;
	if (options->mac)
		create.mac = (char *)(uintptr_t)options->mac;
	message = connection_ask(METHOD(RESERVATION_CREATE), &create.base,
				 &protect__control__reservation__descriptor);
	if (!message)
		return CLI_ERROR;
	return output_record(output_format(options->output),
			     reservation_json((const Protect__Control__Reservation *)message),
			     columns, ARRAY_SIZE(columns));
}

static int list_run(const struct args *args, void *values)
{
	const struct list_options *options = values;
	Protect__Control__Empty empty = PROTECT__CONTROL__EMPTY__INIT;
	_cleanup_(message_freep) ProtobufCMessage *message =
		connection_ask(METHOD(RESERVATION_LIST), &empty.base,
			       &protect__control__reservation_list__descriptor);
	const Protect__Control__ReservationList *list =
		(const Protect__Control__ReservationList *)message;
	json_t *array;

	(void)args;
	if (!message)
		return CLI_ERROR;
	array = json_array();
	for (size_t i = 0; i < list->n_reservations; i++)
		json_array_append_new(array, reservation_json(list->reservations[i]));
	return output_list(output_format(options->output), array, columns, ARRAY_SIZE(columns));
}

static int destroy_command(const struct args *args, void *values)
{
	(void)values;
	return destroy_run(METHOD(RESERVATION_DESTROY), args, false);
}

/* Asks for something whose answer is the zone; prints the name of its last link, if wanted. */
static int ask(uint32_t method, const ProtobufCMessage *request, bool print)
{
	_cleanup_(message_freep) ProtobufCMessage *message =
		connection_ask(method, request, &protect__control__zone__descriptor);
	const Protect__Control__Zone *zone = (const Protect__Control__Zone *)message;
	const Protect__Control__Network *network = zone ? zone->network : NULL;

	if (!message)
		return CLI_ERROR;
	if (print && network && network->n_links)
		printf("%s\n", network->links[network->n_links - 1]->name);
	return output_flush();
}

static int attach_run(const struct args *args, void *values)
{
	const struct attach_options *options = values;
	Protect__Control__NetworkAttach attach = PROTECT__CONTROL__NETWORK_ATTACH__INIT;

	attach.ref = args->operands[0];
	if (options->reservation)
		attach.reservation = (char *)(uintptr_t)options->reservation;
	return ask(METHOD(NETWORK_ATTACH), &attach.base, true);
}

static int detach_run(const struct args *args, void *values)
{
	Protect__Control__NetworkDetach detach = PROTECT__CONTROL__NETWORK_DETACH__INIT;

	detach.ref = args->operands[0];
	detach.link = args->operands[1];
	detach.force = ((const struct detach_options *)values)->force;
	return ask(METHOD(NETWORK_DETACH), &detach.base, false);
}

static const struct command commands[] = {
	{.name = "reservation list",
	 .usage = "[OPTION...]",
	 .summary = "List the addresses that belong to somebody.",
	 .details = "Those without a name were made for their zone, and go with it.\n\n"
		    "Example:\n  protect network reservation list -o json | jq -r '.[] | "
		    "select(.zone == \"a\").ipv4'\n",
	 OPTIONS(list_options, struct list_options),
	 .run = list_run},
	{.name = "reservation create",
	 .usage = "[OPTION...] NAME",
	 .summary = "Reserve addresses for a zone that is yet to come.",
	 .details = "Nobody else gets them until the reservation is destroyed. One zone at a time "
		    "can have them.\n\n"
		    "Example:\n  protect network reservation create web --ipv4 10.75.0.80\n"
		    "  protect zone launch --reservation web --wait\n",
	 OPTIONS(create_options, struct create_options),
	 .operands_min = 1,
	 .operands_max = 1,
	 .run = create_run},
	{.name = "reservation destroy",
	 .usage = "NAME...",
	 .summary = "Give up reservations that no zone has.",
	 .operands_min = 1,
	 .operands_max = 1000,
	 .run = destroy_command},
	{.name = "attach",
	 .usage = "[OPTION...] ZONE",
	 .summary = "Give a running zone a NIC, and print its name in the zone.",
	 .details = "The routes of the first one stay before those of later ones.\n\n"
		    "Example:\n  protect network attach a --reservation web\n",
	 OPTIONS(attach_options_table, struct attach_options),
	 .operands_min = 1,
	 .operands_max = 1,
	 .run = attach_run},
	{.name = "detach",
	 .usage = "[OPTION...] ZONE LINK",
	 .summary = "Take away a NIC that was attached.",
	 .details = "One that the zone was launched with stays.\n\n"
		    "Example:\n  protect network detach a eth1\n",
	 OPTIONS(detach_options, struct detach_options),
	 .operands_min = 2,
	 .operands_max = 2,
	 .run = detach_run},
};

const struct command_group network_group = {"network",
					    "networks: reserved addresses, NICs that come and go",
					    commands, ARRAY_SIZE(commands)};
