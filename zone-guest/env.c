// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/env.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void strings_deinit(struct strings *strings)
{
	for (size_t i = 0; i < strings->count; i++)
		free(strings->items[i]);
	free(strings->items);
	*strings = (struct strings)STRINGS_NULL;
}

/* Doubles at powers of two; one more for the NULL. */
static int make_room(struct strings *strings)
{
	char **grown;

	if (strings->count & (strings->count - 1))
		return 0;
	grown = realloc(strings->items, (2 * strings->count + 2) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	strings->items = grown;
	return 0;
}

int strings_add(struct strings *strings, const char *text)
{
	size_t len = strlen(text) + 1;
	char *copy;

	if (strings->count >= STRINGS_MAX || len > STRINGS_BYTES_MAX - strings->bytes)
		return -E2BIG;
	if (make_room(strings) < 0)
		return -ENOMEM;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	strings->items[strings->count++] = copy;
	strings->items[strings->count] = NULL;
	strings->bytes += len;
	return 0;
}

int strings_add_all(struct strings *strings, char *const *items, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int r = strings_add(strings, items[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static size_t find_key(const struct strings *env, const char *key, size_t len)
{
	size_t i;

	for (i = 0; i < env->count; i++)
		if (!strncmp(env->items[i], key, len) && env->items[i][len] == '=')
			break;
	return i;
}

int env_set(struct strings *env, const char *assignment)
{
	const char *equals = strchr(assignment, '=');
	size_t i, len = strlen(assignment) + 1, old;
	char *copy;

	if (!equals || equals == assignment)
		return -EINVAL;
	i = find_key(env, assignment, (size_t)(equals - assignment));
	if (i == env->count)
		return strings_add(env, assignment);
	old = strlen(env->items[i]) + 1;
	if (len > STRINGS_BYTES_MAX - (env->bytes - old))
		return -E2BIG;
	copy = strdup(assignment);
	if (!copy)
		return -ENOMEM;
	free(env->items[i]);
	env->items[i] = copy;
	env->bytes = env->bytes - old + len;
	return 0;
}

int env_set_all(struct strings *env, char *const *items, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int r = env_set(env, items[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

int env_default(struct strings *env, const char *key, const char *value)
{
	_cleanup_(freep) char *assignment = NULL;

	if (env_get(env, key))
		return 0;
	if (asprintf(&assignment, "%s=%s", key, value) < 0)
		return -ENOMEM;
	return env_set(env, assignment);
}

const char *env_get(const struct strings *env, const char *key)
{
	size_t len = strlen(key), i = find_key(env, key, len);

	return i < env->count ? env->items[i] + len + 1 : NULL;
}
