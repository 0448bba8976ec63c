// SPDX-License-Identifier: Apache-2.0
/* protect volume: create, list, resize, remove. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/output.h"
#include "protect/cli/shared.h"
#include "protect/cli/volume_option.h"

struct create_options {
	const char *size, *format;
};

struct resize_options {
	const char *size;
};

struct attach_options {
	const char *zone, *workload;
	bool force;
};

static const char *const format_words[] = {"ext4", "raw", NULL};

#define SIZE_OPTION(type)                                                                          \
	{                                                                                          \
		's', "size", ARG_STRING, offsetof(type, size), "SIZE",                             \
			"bytes, or with M, G, T (needed)", 0, 0, NULL                              \
	}

static const struct arg_option create_options[] = {
	SIZE_OPTION(struct create_options),
	{'f', "format", ARG_STRING, offsetof(struct create_options, format), "ext4|raw",
	 "what is in it at first (default ext4)", 0, 0, format_words},
};

static const struct arg_option resize_options[] = {
	SIZE_OPTION(struct resize_options),
};

#define OWNER_OPTIONS                                                                              \
	{                                                                                          \
		'z',	    "zone",                                                                \
		ARG_STRING, offsetof(struct attach_options, zone),                                 \
		"ZONE",	    "the zone itself",                                                     \
		0,	    0,                                                                     \
		NULL},                                                                             \
	{                                                                                          \
		'w', "workload", ARG_STRING, offsetof(struct attach_options, workload),            \
			"WORKLOAD", "a workload", 0, 0, NULL                                       \
	}

static const struct arg_option attach_table[] = {
	OWNER_OPTIONS,
};

static const struct arg_option detach_table[] = {
	OWNER_OPTIONS,
	{'f', "force", ARG_FLAG, offsetof(struct attach_options, force), NULL,
	 "also when something uses it, which then meets I/O errors", 0, 0, NULL},
};

/* Asks for something whose answer is the volume, and prints its name. */
static int ask(uint32_t method, const ProtobufCMessage *request)
{
	_cleanup_(message_freep) ProtobufCMessage *message =
		connection_ask(method, request, &protect__control__volume__descriptor);

	if (!message)
		return CLI_ERROR;
	printf("%s\n", ((const Protect__Control__Volume *)message)->name);
	return output_flush();
}

static int create_run(const struct args *args, void *values)
{
	const struct create_options *options = values;
	Protect__Control__VolumeCreate create = PROTECT__CONTROL__VOLUME_CREATE__INIT;
	int status = size_option_parse(args, "--size", options->size, &create.size_bytes);

	if (status)
		return status;
	create.name = args->operands[0];
	create.format = options->format && strcmp(options->format, "raw") == 0
				? PROTECT__CONTROL__VOLUME_FORMAT__VOLUME_RAW
				: PROTECT__CONTROL__VOLUME_FORMAT__VOLUME_EXT4;
	return ask(METHOD(VOLUME_CREATE), &create.base);
}

static int resize_run(const struct args *args, void *values)
{
	const struct resize_options *options = values;
	Protect__Control__VolumeResize resize = PROTECT__CONTROL__VOLUME_RESIZE__INIT;
	int status = size_option_parse(args, "--size", options->size, &resize.size_bytes);

	if (status)
		return status;
	resize.name = args->operands[0];
	return ask(METHOD(VOLUME_RESIZE), &resize.base);
}

/* Exactly one of both. Returns an exit status. */
static int take_owner(const struct args *args, const struct attach_options *options, char **zone,
		      char **workload)
{
	if (!options->zone == !options->workload)
		return args_usage_error(args, "give --zone or --workload");
	if (options->zone)
		*zone = (char *)(uintptr_t)options->zone;
	else
		*workload = (char *)(uintptr_t)options->workload;
	return CLI_OK;
}

static int ask_for_nothing(uint32_t method, const ProtobufCMessage *request)
{
	_cleanup_(message_freep) ProtobufCMessage *message =
		connection_ask(method, request, &protect__control__empty__descriptor);

	return message ? CLI_OK : CLI_ERROR;
}

static int attach_run(const struct args *args, void *values)
{
	const struct arg_list list = {.items = args->operands, .n = 1};
	Protect__Control__VolumeAttach attach = PROTECT__CONTROL__VOLUME_ATTACH__INIT;
	_cleanup_(volume_option_deinit) struct volume_option volumes = {0};
	int status = take_owner(args, values, &attach.zone, &attach.workload);

	if (!status)
		status = volume_option_parse(args, &list, &volumes);
	if (status)
		return status;
	attach.volume = volumes.items;
	return ask_for_nothing(METHOD(VOLUME_ATTACH), &attach.base);
}

static int detach_run(const struct args *args, void *values)
{
	Protect__Control__VolumeDetach detach = PROTECT__CONTROL__VOLUME_DETACH__INIT;
	int status = take_owner(args, values, &detach.zone, &detach.workload);

	if (status)
		return status;
	detach.volume = args->operands[0];
	detach.force = ((const struct attach_options *)values)->force;
	return ask_for_nothing(METHOD(VOLUME_DETACH), &detach.base);
}

static int remove_command(const struct args *args, void *values)
{
	(void)values;
	return destroy_run(METHOD(VOLUME_REMOVE), args, false);
}

static json_t *volume_json(const Protect__Control__Volume *volume)
{
	static const char *const uses[] = {"free", "readers", "writer"};
	json_t *users = json_array();

	for (size_t i = 0; i < volume->n_users; i++)
		json_array_append_new(users, output_text(volume->users[i]));
	return json_pack(
		"{s:o, s:s, s:I, s:I, s:I, s:s, s:o}", "name", output_text(volume->name), "format",
		volume->format == PROTECT__CONTROL__VOLUME_FORMAT__VOLUME_RAW ? "raw" : "ext4",
		"size_bytes", (json_int_t)volume->size_bytes, "allocated_bytes",
		(json_int_t)volume->allocated_bytes, "created_unix_ms",
		(json_int_t)volume->created_unix_ms, "use",
		(unsigned)volume->use < ARRAY_SIZE(uses) ? uses[volume->use] : "unknown", "users",
		users);
}

static int list_run(const struct args *args, void *values)
{
	static const struct output_column columns[] = {
		{"NAME", "name"},	 {"FORMAT", "format"},
		{"BYTES", "size_bytes"}, {"ON DISK", "allocated_bytes"},
		{"USE", "use"},		 {"USERS", "users"},
	};
	const struct list_options *options = values;
	Protect__Control__Empty empty = PROTECT__CONTROL__EMPTY__INIT;
	_cleanup_(message_freep) ProtobufCMessage *message = connection_ask(
		METHOD(VOLUME_LIST), &empty.base, &protect__control__volume_list__descriptor);
	const Protect__Control__VolumeList *list = (const Protect__Control__VolumeList *)message;
	json_t *array;

	(void)args;
	if (!message)
		return CLI_ERROR;
	array = json_array();
	for (size_t i = 0; i < list->n_volumes; i++)
		json_array_append_new(array, volume_json(list->volumes[i]));
	return output_list(output_format(options->output), array, columns, ARRAY_SIZE(columns));
}

static const struct command commands[] = {
	{.name = "create",
	 .usage = "--size SIZE [OPTION...] NAME",
	 .summary = "Make a volume: a disk that outlives workloads and zones.",
	 .details = "It takes room on the host's disk as it is filled, and gives back what is "
		    "deleted in it. A raw\n"
		    "one is all zeros, and a workload gets it as a device.\n\n"
		    "Examples:\n  protect volume create data --size 10G\n"
		    "  protect workload launch --zone a -v data:/var/lib/data "
		    "docker.io/library/postgres\n",
	 OPTIONS(create_options, struct create_options),
	 .operands_min = 1,
	 .operands_max = 1,
	 .run = create_run},
	{.name = "list",
	 .usage = "[OPTION...]",
	 .summary = "List the volumes.",
	 .details = "BYTES is the size as a disk, ON DISK what it takes of the host's disk, USE "
		    "whether somebody has\n"
		    "it, USERS which workloads and zones.\n",
	 OPTIONS(list_options, struct list_options),
	 .run = list_run},
	{.name = "resize",
	 .usage = "--size SIZE NAME",
	 .summary = "Make a volume that nothing uses larger.",
	 .details = "Its file system grows when a workload next has it for writing. Nothing "
		    "becomes smaller.\n",
	 OPTIONS(resize_options, struct resize_options),
	 .operands_min = 1,
	 .operands_max = 1,
	 .run = resize_run},
	{.name = "attach",
	 .usage = "--zone ZONE|--workload WORKLOAD NAME:TARGET[:ro]",
	 .summary = "Give a volume to a zone or a workload that runs.",
	 .details =
		 "A volume of a zone itself is seen at TARGET by 'zone exec', and by those of its "
		 "workloads that\nare given it as well: 'workload launch -v NAME:TARGET' in the "
		 "same "
		 "zone shares it.\n\n"
		 "Examples:\n  protect volume attach --zone a data:/srv/data\n"
		 "  protect volume attach --workload web logs:/var/log\n",
	 OPTIONS(attach_table, struct attach_options),
	 .operands_min = 1,
	 .operands_max = 1,
	 .run = attach_run},
	{.name = "detach",
	 .usage = "--zone ZONE|--workload WORKLOAD [--force] NAME",
	 .summary = "Take a volume from a zone or a workload.",
	 .details = "It is unmounted first, which fails while a process works on it or has a file "
		    "of it open.\n\n"
		    "Example:\n  protect volume detach --zone a data\n",
	 OPTIONS(detach_table, struct attach_options),
	 .operands_min = 1,
	 .operands_max = 1,
	 .run = detach_run},
	{.name = "remove",
	 .usage = "NAME...",
	 .summary = "Remove volumes that nothing uses, with what is in them.",
	 .operands_min = 1,
	 .operands_max = 1000,
	 .run = remove_command},
};

const struct command_group volume_group = {
	"volume", "volumes: disks that outlive zones: create, list, attach, detach, resize, remove",
	commands, ARRAY_SIZE(commands)};
