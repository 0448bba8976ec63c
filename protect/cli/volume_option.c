// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/volume_option.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "protect/cli/output.h"

void volume_option_deinit(struct volume_option *option)
{
	for (size_t i = 0; option->texts && i < option->n; i++)
		free(option->texts[i]);
	free(option->texts);
	free(option->items);
	free(option->pointers);
	*option = (struct volume_option){0};
}

/* Cuts ":ro" or ":rw" off the end. */
static bool take_mode(char *text)
{
	size_t len = strlen(text);
	bool read_only = len > 3 && strcmp(text + len - 3, ":ro") == 0;

	if (read_only || (len > 3 && strcmp(text + len - 3, ":rw") == 0))
		text[len - 3] = '\0';
	return read_only;
}

static int parse_one(const struct args *args, const char *given, char *text,
		     Protect__Control__VolumeMount *out)
{
	char *colon;

	protect__control__volume_mount__init(out);
	out->read_only = take_mode(text);
	colon = strchr(text, ':');
	if (!colon || colon == text || colon[1] != '/')
		return args_usage_error(
			args,
			"--volume: '%s' is not VOLUME:TARGET[:ro], TARGET a path from "
			"the root",
			given);
	*colon = '\0';
	out->volume = text;
	out->target = colon + 1;
	if (strchr(text, '/') && text[0] != '/')
		return args_usage_error(
			args,
			"--volume: '%s' is no volume's name, and no path from the root; "
			"'protect volume create' makes a volume",
			text);
	return CLI_OK;
}

int volume_option_parse(const struct args *args, const struct arg_list *list,
			struct volume_option *out)
{
	int status = CLI_OK;

	out->items = calloc(list->n + 1, sizeof(*out->items));
	out->pointers = calloc(list->n + 1, sizeof(Protect__Control__VolumeMount *));
	out->texts = calloc(list->n + 1, sizeof(char *));
	for (size_t i = 0; status == CLI_OK && i < list->n; i++) {
		char *text = strdup(list->items[i]);

		if (!out->items || !out->pointers || !out->texts || !text) {
			free(text);
			output_error("out of memory");
			return CLI_ERROR;
		}
		out->texts[out->n] = text;
		out->pointers[out->n] = &out->items[out->n];
		status = parse_one(args, list->items[i], text, &out->items[out->n++]);
	}
	return status;
}

json_t *volume_mounts_json(Protect__Control__VolumeMount *const *mounts, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, json_pack("{s:o, s:o, s:b}", "volume",
						       output_text(mounts[i]->volume), "target",
						       output_text(mounts[i]->target), "read_only",
						       mounts[i]->read_only));
	return array;
}

int size_option_parse(const struct args *args, const char *option, const char *text, uint64_t *out)
{
	static const char units[] = "KMGT";
	size_t len = text ? strlen(text) : 0;
	const char *unit = len > 1 ? strchr(units, text[len - 1]) : NULL;
	char digits[24] = "";

	if (!text)
		return args_usage_error(args, "%s is missing", option);
	if (unit)
		len--;
	if (len < sizeof(digits))
		memcpy(digits, text, len);
	if (args_number(digits, 1, UINT64_MAX, out) < 0)
		return args_usage_error(args, "%s: '%s' is no size such as 512M or 10G", option,
					text);
	for (const char *u = units; unit && u <= unit; u++)
		if (!checked_mul(*out, KIB, out))
			return args_usage_error(args, "%s: '%s' is too much", option, text);
	return CLI_OK;
}
