// SPDX-License-Identifier: Apache-2.0
/* protect image: pull, import, list, remove; prune is image_prune.c. */
#include <stdio.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/import.h"
#include "protect/cli/login.h"
#include "protect/cli/output.h"
#include "protect/cli/shared.h"

struct import_options {
	const char *name;
};

static const struct arg_option import_options[] = {
	{'n', "name", ARG_STRING, offsetof(struct import_options, name), "NAME[:TAG]",
	 "the name to keep it under", 0, 0, NULL},
};

static int print_image(const ProtobufCMessage *message)
{
	const Protect__Control__Image *image = (const Protect__Control__Image *)message;

	if (!message)
		return CLI_ERROR;
	printf("%s %s\n", image->name, image->digest);
	return output_flush();
}

struct pull_options {
	const char *username, *platform, *output;
	bool password_stdin;
};

static const struct arg_option pull_options[] = {
	{'u', "username", ARG_STRING, offsetof(struct pull_options, username), "USER",
	 "log in as this user", 0, 0, NULL},
	{0, "password-stdin", ARG_FLAG, offsetof(struct pull_options, password_stdin), NULL,
	 "the user's password or token is on standard input", 0, 0, NULL},
	{0, "platform", ARG_STRING, offsetof(struct pull_options, platform), "OS/ARCH[/VARIANT]",
	 "which image of several (what runs here)", 0, 0, NULL},
	OUTPUT_OPTION(struct pull_options),
};

static int print_json(json_t *object)
{
	if (!object || json_dumpf(object, stdout, JSON_COMPACT) < 0)
		output_error("out of memory");
	json_decref(object);
	putchar('\n');
	return output_flush();
}

static void print_progress(const Protect__Control__Progress *progress)
{
	print_json(json_pack("{s:s, s:o, s:o, s:i, s:i, s:I, s:I}", "event", "progress", "text",
			     output_text(progress->text), "layer", output_text(progress->item),
			     "number", (int)progress->item_number, "layers", (int)progress->items,
			     "done_bytes", (json_int_t)progress->done, "total_bytes",
			     (json_int_t)progress->total));
}

static int print_pulled(enum output_format format, const ProtobufCMessage *message)
{
	const Protect__Control__Image *image = (const Protect__Control__Image *)message;

	if (!message)
		return CLI_ERROR;
	if (format == OUTPUT_TABLE)
		return print_image(message);
	return print_json(json_pack("{s:s, s:o, s:o, s:I}", "event", "image", "name",
				    output_text(image->name), "digest", output_text(image->digest),
				    "size_bytes", (json_int_t)image->size_bytes));
}

static int pull_as(const char *ref, struct login *login, const struct pull_options *options)
{
	enum output_format format = output_format(options->output);
	_cleanup_(connection_freep) struct connection *connection = connection_new();
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	Protect__Control__ImagePull pull = PROTECT__CONTROL__IMAGE_PULL__INIT;

	if (!connection)
		return CLI_ERROR;
	connection->layer_lines = true;
	if (format == OUTPUT_JSONL)
		connection->progress = print_progress;
	pull.ref = (char *)(uintptr_t)ref;
	pull.username = login->username;
	pull.password = login->password;
	if (options->platform)
		pull.platform = (char *)(uintptr_t)options->platform;
	message = connection_call(connection, METHOD(IMAGE_PULL), &pull.base,
				  &protect__control__image__descriptor);
	return print_pulled(format, message);
}

static int pull_run(const struct args *args, void *values)
{
	const struct pull_options *options = values;
	struct login login;
	int status;

	if ((options->username != NULL) != options->password_stdin)
		return args_usage_error(args, "--username and --password-stdin belong together");
	if (login_find(args->operands[0], options->username, &login) < 0)
		return CLI_ERROR;
	status = pull_as(args->operands[0], &login, options);
	login_wipe(&login);
	return status;
}

static int import_command(const struct args *args, void *values)
{
	const struct import_options *options = values;
	_cleanup_(connection_freep) struct connection *connection = NULL;
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	struct import_source source;
	int r = import_parse(args->operands[0], &source);

	if (r < 0)
		return CLI_USAGE;
	if (!r)
		return args_usage_error(
			args, "'%s' starts with none of oci:, oci-archive:, docker-archive:",
			args->operands[0]);
	connection = connection_new();
	if (!connection)
		return CLI_ERROR;
	message = import_run(connection, &source, options->name);
	return print_image(message);
}

static json_t *image_json(const Protect__Control__Image *image)
{
	return json_pack("{s:o, s:o, s:I, s:I, s:b, s:o, s:i}", "name", output_text(image->name),
			 "digest", output_text(image->digest), "size_bytes",
			 (json_int_t)image->size_bytes, "created_unix_ms",
			 (json_int_t)image->created_unix_ms, "kernel", image->kernel, "variant",
			 output_text(image->variant), "users", (int)image->users);
}

static int list_run(const struct args *args, void *values)
{
	static const struct output_column columns[] = {
		{"NAME", "name"},     {"DIGEST", "digest"},   {"BYTES", "size_bytes"},
		{"KERNEL", "kernel"}, {"VARIANT", "variant"}, {"USERS", "users"},
	};
	const struct list_options *options = values;
	Protect__Control__Empty empty = PROTECT__CONTROL__EMPTY__INIT;
	_cleanup_(message_freep) ProtobufCMessage *message = connection_ask(
		METHOD(IMAGE_LIST), &empty.base, &protect__control__image_list__descriptor);
	const Protect__Control__ImageList *list = (const Protect__Control__ImageList *)message;
	json_t *array;

	(void)args;
	if (!message)
		return CLI_ERROR;
	array = json_array();
	for (size_t i = 0; i < list->n_images; i++)
		json_array_append_new(array, image_json(list->images[i]));
	return output_list(output_format(options->output), array, columns, ARRAY_SIZE(columns));
}

static int remove_command(const struct args *args, void *values)
{
	(void)values;
	return destroy_run(METHOD(IMAGE_REMOVE), args, false);
}

static const struct command commands[] = {
	{.name = "pull",
	 .usage = "[OPTION...] HOST[:PORT]/NAME[:TAG|@DIGEST]",
	 .summary = "Fetch an image from a registry and print its name and digest.",
	 .details =
		 "https, or http for this machine's own addresses and for what protect.conf "
		 "names.\n"
		 "The login is taken from the options or from ~/.docker/config.json (or the folder "
		 "DOCKER_CONFIG). It is\nused for this pull, sent to that registry alone, and kept "
		 "nowhere.\n"
		 "Zones run linux/amd64; its variants v2 to v4 need a processor that has them.\n\n"
		 "Examples:\n  protect image pull docker.io/library/busybox:1.36\n"
		 "  protect image pull -u me --password-stdin r.example.org/app:1 <token\n",
	 OPTIONS(pull_options, struct pull_options),
	 .operands_min = 1,
	 .operands_max = 1,
	 .run = pull_run},
	{.name = "import",
	 .usage = "[OPTION...] oci:DIR[:TAG]|oci-archive:FILE[:TAG]|docker-archive:FILE[:TAG]",
	 .summary = "Store an image of your own files and print its name and digest.",
	 .details = "The files are read with your rights and sent to the daemon, which opens none "
		    "of them.\n"
		    "Without --name it is called after its file or, from a docker archive, as that "
		    "says.\n\n"
		    "Examples:\n  protect image import oci:./web:latest\n"
		    "  docker save web | protect image import docker-archive:/dev/stdin\n",
	 OPTIONS(import_options, struct import_options),
	 .operands_min = 1,
	 .operands_max = 1,
	 .run = import_command},
	{.name = "list",
	 .usage = "[OPTION...]",
	 .summary = "List the images in the store.",
	 .details = "VARIANT is the name of a zone kernel's build, for 'protect zone launch "
		    "--kernel-variant'.\n",
	 OPTIONS(list_options, struct list_options),
	 .run = list_run},
	{.name = "remove",
	 .usage = "IMAGE...",
	 .summary = "Remove images, given by name or digest, that nothing uses.",
	 .operands_min = 1,
	 .operands_max = 1000,
	 .run = remove_command},
	{.name = "prune",
	 .usage = "[OPTION...]",
	 .summary = "Remove all images that nothing runs from, and print which.",
	 .details = "A workload that has ended still has its image, as it may be started again.\n\n"
		    "Examples:\n  protect image prune --dry-run\n"
		    "  protect image prune -a -o json | jq 'map(.size_bytes) | add'\n",
	 .options = image_prune_options,
	 .n_options = IMAGE_PRUNE_N_OPTIONS,
	 .values_size = sizeof(struct image_prune_values),
	 .run = image_prune_run},
};

const struct command_group image_group = {"image", "images: pull, import, list, remove, prune",
					  commands, ARRAY_SIZE(commands)};
