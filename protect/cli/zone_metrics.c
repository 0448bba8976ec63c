// SPDX-License-Identifier: Apache-2.0
/* protect zone metrics: the zone's figures as a list, or as the tree that the dots in their names
 * make of them. The names are a zone's, so neither their number nor their depth is believed. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "proto/agent.pb-c.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/output.h"
#include "protect/cli/shared.h"

#define DEPTH_MAX  8
#define PART_BYTES 64

static const char *const metrics_words[] = {"table", "tree", "json", "jsonl", NULL};

const struct arg_option zone_metrics_options[ZONE_METRICS_N_OPTIONS] = {
	{'o', "output", ARG_STRING, offsetof(struct list_options, output), "table|tree|json|jsonl",
	 "how to print it", 0, 0, metrics_words},
};

static json_t *to_list(const Protect__Agent__Metrics *metrics)
{
	json_t *array = json_array();

	for (size_t i = 0; i < metrics->n_metrics; i++)
		json_array_append_new(array,
				      json_pack("{s:o, s:o}", "name",
						output_text(metrics->metrics[i]->name), "value",
						json_real(metrics->metrics[i]->value)));
	return array;
}

/* The branch of that name, new if need be; NULL where a value stands already. */
static json_t *branch(json_t *tree, const char *name)
{
	json_t *child = json_object_get(tree, name);

	if (!child) {
		json_object_set_new(tree, name, json_object());
		child = json_object_get(tree, name);
	}
	return json_is_object(child) ? child : NULL;
}

/* Puts a value where its name says. Past the depth the rest of the name is one part. */
static void put(json_t *tree, const char *name, double value)
{
	const char *dot;

	for (unsigned depth = 0; tree && depth < DEPTH_MAX && (dot = strchr(name, '.')); depth++) {
		char part[PART_BYTES];

		snprintf(part, sizeof(part), "%.*s", (int)(dot - name), name);
		output_clean(part);
		tree = branch(tree, part);
		name = dot + 1;
	}
	if (tree && !json_object_get(tree, name))
		json_object_set_new(tree, name, json_real(value));
}

static void print_tree(const json_t *tree, int depth)
{
	const char *key;
	json_t *value;

	/* jansson lets the caller's object alone; only the macro wants it without const. */
	json_object_foreach((json_t *)(uintptr_t)tree, key, value)
	{
		char name[2 * PART_BYTES];
		int indent = 2 * depth;

		snprintf(name, sizeof(name), "%s", key);
		output_clean(name);
		if (json_is_object(value)) {
			printf("%*s%s\n", indent, "", name);
			print_tree(value, depth + 1);
		} else {
			printf("%*s%-*s %.10g\n", indent, "", indent < 30 ? 30 - indent : 1, name,
			       json_real_value(value));
		}
	}
}

static int show_tree(const Protect__Agent__Metrics *metrics)
{
	json_t *tree = json_object();

	for (size_t i = 0; tree && i < metrics->n_metrics; i++)
		put(tree, metrics->metrics[i]->name, metrics->metrics[i]->value);
	print_tree(tree, 0);
	json_decref(tree);
	return output_flush();
}

int zone_metrics_run(const struct args *args, void *values)
{
	static const struct output_column columns[] = {{"METRIC", "name"}, {"VALUE", "value"}};
	const struct list_options *options = values;
	Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;
	const Protect__Agent__Metrics *metrics;

	ref.ref = args->operands[0];
	message = connection_ask(METHOD(ZONE_METRICS), &ref.base,
				 &protect__agent__metrics__descriptor);
	metrics = (const Protect__Agent__Metrics *)message;
	if (!message)
		return CLI_ERROR;
	if (options->output && strcmp(options->output, "tree") == 0)
		return show_tree(metrics);
	return output_list(output_format(options->output), to_list(metrics), columns,
			   ARRAY_SIZE(columns));
}
