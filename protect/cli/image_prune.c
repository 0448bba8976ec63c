// SPDX-License-Identifier: Apache-2.0
/*
 * protect image prune: what nothing runs from. What that is, the daemon's list says; should
 * something begin to run from an image meanwhile, its removal is refused.
 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/output.h"

#define DEFAULT_KERNEL "localhost/zone-kernel:default"

const struct arg_option image_prune_options[] = {
	{'a', "all", ARG_FLAG, offsetof(struct image_prune_values, all), NULL,
	 "zone kernels too, but the default one", 0, 0, NULL},
	{0, "dry-run", ARG_FLAG, offsetof(struct image_prune_values, dry_run), NULL,
	 "remove nothing; print what would go", 0, 0, NULL},
	OUTPUT_OPTION(struct image_prune_values),
};

static bool is_same(const Protect__Control__Image *a, const Protect__Control__Image *b)
{
	return strcmp(a->digest, b->digest) == 0;
}

/* One image stands in the list once for each of its names; they stay or go together. */
static bool may_go(const Protect__Control__ImageList *list, const Protect__Control__Image *image,
		   bool kernels)
{
	for (size_t i = 0; i < list->n_images; i++) {
		const Protect__Control__Image *other = list->images[i];

		if (is_same(image, other) && (other->users || (other->kernel && !kernels) ||
					      strcmp(other->name, DEFAULT_KERNEL) == 0))
			return false;
	}
	return true;
}

static bool is_first(const Protect__Control__ImageList *list, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (is_same(list->images[i], list->images[at]))
			return false;
	return true;
}

static json_t *describe(const Protect__Control__ImageList *list,
			const Protect__Control__Image *image)
{
	json_t *names = json_array();

	for (size_t i = 0; i < list->n_images; i++)
		if (is_same(image, list->images[i]))
			json_array_append_new(names, output_text(list->images[i]->name));
	return json_pack("{s:o, s:o, s:I, s:b}", "names", names, "digest",
			 output_text(image->digest), "size_bytes", (json_int_t)image->size_bytes,
			 "kernel", image->kernel);
}

static bool remove_image(struct connection *connection, const Protect__Control__Image *image)
{
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;

	ref.ref = image->digest;
	message = connection_call(connection, METHOD(IMAGE_REMOVE), &ref.base,
				  &protect__control__empty__descriptor);
	return message;
}

/* What went, or would; *status tells whether all did. */
static json_t *prune(struct connection *connection, const Protect__Control__ImageList *list,
		     const struct image_prune_values *options, int *status)
{
	json_t *gone = json_array();

	for (size_t i = 0; i < list->n_images && !connection->lost; i++) {
		const Protect__Control__Image *image = list->images[i];

		if (!is_first(list, i) || !may_go(list, image, options->all))
			continue;
		if (options->dry_run || remove_image(connection, image))
			json_array_append_new(gone, describe(list, image));
		else
			*status = CLI_ERROR;
	}
	return gone;
}

int image_prune_run(const struct args *args, void *values)
{
	static const struct output_column columns[] = {
		{"NAMES", "names"}, {"DIGEST", "digest"}, {"BYTES", "size_bytes"}};
	const struct image_prune_values *options = values;
	_cleanup_(connection_freep) struct connection *connection = connection_new();
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	Protect__Control__Empty empty = PROTECT__CONTROL__EMPTY__INIT;
	int status = CLI_OK, printed;
	json_t *gone;

	(void)args;
	if (connection)
		message = connection_call(connection, METHOD(IMAGE_LIST), &empty.base,
					  &protect__control__image_list__descriptor);
	if (!message)
		return CLI_ERROR;
	gone = prune(connection, (const Protect__Control__ImageList *)message, options, &status);
	printed = output_list(output_format(options->output), gone, columns, ARRAY_SIZE(columns));
	return status ? status : printed;
}
