// SPDX-License-Identifier: Apache-2.0
/* The part of a configuration that decides how a workload runs (OCI image-spec, config.md,
 * "config"). */
#include "supervisor/storage/oci.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static char *copy_text(const json_t *json, size_t *room)
{
	const char *text = json_string_value(json);
	size_t size = text ? strlen(text) + 1 : 1;

	if (size > *room)
		return NULL;
	*room -= size;
	return strdup(text ? text : "");
}

/* Copies an array of strings (absent or null = empty). Returns 0, -E2BIG, -ENOMEM or -EBADMSG. */
static int copy_list(const json_t *json, char ***out, size_t *n_out, size_t *room)
{
	size_t n = json_array_size(json);

	if (json && !json_is_array(json) && !json_is_null(json))
		return -EBADMSG;
	if (n == 0)
		return 0;
	if (n > *room)
		return -E2BIG;
	*out = calloc(n, sizeof(char *));
	if (!*out)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (!json_is_string(json_array_get(json, i)))
			return -EBADMSG;
		(*out)[i] = copy_text(json_array_get(json, i), room);
		if (!(*out)[i])
			return -E2BIG;
		*n_out = i + 1;
	}
	return 0;
}

/* Volumes are an object whose keys are the folders. */
static int copy_keys(const json_t *json, char ***out, size_t *n_out, size_t *room)
{
	size_t n = json_object_size(json);
	const char *key;
	json_t *value;

	if (n == 0)
		return 0;
	if (n > *room)
		return -E2BIG;
	*out = calloc(n, sizeof(char *));
	if (!*out)
		return -ENOMEM;
	json_object_foreach((json_t *)(uintptr_t)json, key, value)
	{
		size_t size = strlen(key) + 1;

		if (size > *room)
			return -E2BIG;
		*room -= size;
		(*out)[*n_out] = strdup(key);
		if (!(*out)[*n_out])
			return -ENOMEM;
		++*n_out;
	}
	return 0;
}

static int fill(const json_t *config, Protect__Storage__ImageConfig *out)
{
	size_t room = OCI_CONFIG_TEXT_MAX;
	int r = copy_list(json_object_get(config, "Entrypoint"), &out->entrypoint,
			  &out->n_entrypoint, &room);

	if (r == 0)
		r = copy_list(json_object_get(config, "Cmd"), &out->cmd, &out->n_cmd, &room);
	if (r == 0)
		r = copy_list(json_object_get(config, "Env"), &out->env, &out->n_env, &room);
	if (r == 0)
		r = copy_keys(json_object_get(config, "Volumes"), &out->volumes, &out->n_volumes,
			      &room);
	if (r < 0)
		return r;
	out->working_directory = copy_text(json_object_get(config, "WorkingDir"), &room);
	out->user = copy_text(json_object_get(config, "User"), &room);
	out->stop_signal = copy_text(json_object_get(config, "StopSignal"), &room);
	return out->working_directory && out->user && out->stop_signal ? 0 : -E2BIG;
}

int oci_parse_config(const char *json, size_t len, Protect__Storage__ImageConfig **out,
		     struct error *err)
{
	json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
	Protect__Storage__ImageConfig *config = malloc(sizeof(*config));
	int r = config ? -EBADMSG : -ENOMEM;

	if (config)
		protect__storage__image_config__init(config);
	if (config && json_is_object(root))
		r = fill(json_object_get(root, "config"), config);
	json_decref(root);
	if (r == 0) {
		*out = config;
		return 0;
	}
	protect__storage__image_config__free_unpacked(config, NULL);
	return error_set(err, r,
			 r == -E2BIG ? "the image's command, environment and the like exceed 48 KiB"
				     : "the image's configuration cannot be read");
}
