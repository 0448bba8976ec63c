// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/guest_settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "supervisor/daemon/spec.h"

#define ENV_BYTES_MAX	  (32u * 1024)
#define SETTING_BYTES_MAX 4096u /* of all sysctls, and of all modules */
#define OPTIONS_BYTES_MAX 1024u /* of the command line's 4096 (KVM) or 1024 (older Xen) */

static int check_env(const char *text, struct error *err)
{
	const char *equals = strchr(text, '=');

	return equals && equals != text
		       ? 0
		       : error_set(err, -EINVAL, "environment '%.64s' is not NAME=VALUE", text);
}

static int check_sysctl(const char *text, struct error *err)
{
	size_t len = strcspn(text, "=");

	if (len == 0 || !text[len] || strstr(text, "..") || strchr(text, '\n') ||
	    strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./") <
		    len)
		return error_set(err, -EINVAL, "sysctl '%.64s' is not KEY=VALUE", text);
	return 0;
}

/* NAME, and then parameters. No option of modprobe's can be one. */
static int check_module(const char *text, struct error *err)
{
	if (!isalnum((unsigned char)*text) || strpbrk(text, "/\n"))
		return error_set(err, -EINVAL, "'%.64s' cannot name a module of the kernel", text);
	return 0;
}

static int check_kernel_option(const char *text, struct error *err)
{
	for (const char *c = text; *c; c++)
		if (!isgraph((unsigned char)*c) || *c == '"')
			return error_set(err, -EINVAL,
					 "kernel option '%.64s' is not one word of ASCII", text);
	return *text ? 0 : error_set(err, -EINVAL, "a kernel option is empty");
}

static const struct kind {
	const char *key, *name;
	unsigned bytes_max;
	int (*check)(const char *text, struct error *err);
} kinds[] = {
	{"env", "the environment has", ENV_BYTES_MAX, check_env},
	{"sysctls", "the sysctls have", SETTING_BYTES_MAX, check_sysctl},
	{"modules", "the modules have", SETTING_BYTES_MAX, check_module},
	{"kernel_options", "the kernel's options have", OPTIONS_BYTES_MAX, check_kernel_option},
};

/* Adds a list to object; an empty one is left out. */
static int take(json_t *object, const struct kind *kind, char *const *items, size_t n,
		struct error *err)
{
	json_t *list = json_array();
	size_t bytes = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		bytes += strlen(items[i]) + 1;
		r = kind->check(items[i], err);
		if (r == 0 && bytes > kind->bytes_max)
			r = error_set(err, -E2BIG, "%s more than %u bytes", kind->name,
				      kind->bytes_max);
		if (r == 0 && json_array_append_new(list, json_string(items[i])) < 0)
			r = error_set(err, -EINVAL, "'%.64s' is not UTF-8", items[i]);
	}
	if (r == 0 && n > 0 && json_object_set(object, kind->key, list) < 0)
		r = error_set(err, -ENOMEM, "protect-daemon is out of memory");
	json_decref(list);
	return r;
}

int guest_settings_take(const Protect__Control__ZoneLaunch *request, char **json, struct error *err)
{
	json_t *object = json_object();
	int r = take(object, &kinds[0], request->env, request->n_env, err);

	if (r == 0)
		r = take(object, &kinds[1], request->sysctls, request->n_sysctls, err);
	if (r == 0)
		r = take(object, &kinds[2], request->modules, request->n_modules, err);
	if (r == 0)
		r = take(object, &kinds[3], request->kernel_options, request->n_kernel_options,
			 err);
	*json = r == 0 && json_object_size(object) ? json_dumps(object, JSON_COMPACT) : NULL;
	json_decref(object);
	return r;
}

static int read_words(const json_t *list, struct guest_words *words)
{
	words->items = calloc(json_array_size(list) + 1, sizeof(*words->items));
	if (!words->items)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (text)
			words->items[words->n++] = (char *)(uintptr_t)text;
	}
	return 0;
}

int guest_settings_read(const char *json, struct guest_settings *settings)
{
	struct guest_words *words[ARRAY_SIZE(kinds)] = {
		&settings->env, &settings->sysctls, &settings->modules, &settings->kernel_options};

	*settings = (struct guest_settings){.json = json ? json_loads(json, 0, NULL) : NULL};
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		const json_t *list = json_object_get(settings->json, kinds[i].key);

		if (i == 0 && json_is_array(settings->json))
			list = settings->json;
		if (read_words(list, words[i]) < 0) {
			guest_settings_free(settings);
			return -ENOMEM;
		}
	}
	return 0;
}

void guest_settings_free(struct guest_settings *settings)
{
	free(settings->env.items);
	free(settings->sysctls.items);
	free(settings->modules.items);
	free(settings->kernel_options.items);
	json_decref(settings->json);
	*settings = (struct guest_settings){.json = NULL};
}

char *guest_settings_cmdline(const char *json, const char *extra)
{
	struct guest_settings settings;
	char *line;

	if (guest_settings_read(json, &settings) < 0)
		return NULL;
	line = spec_cmdline(extra);
	for (size_t i = 0; line && i < settings.kernel_options.n; i++) {
		size_t len = strlen(line), more = strlen(settings.kernel_options.items[i]);
		char *longer = realloc(line, len + more + 2);

		if (!longer) {
			free(line);
			line = NULL;
			break;
		}
		line = longer;
		line[len] = ' ';
		memcpy(line + len + 1, settings.kernel_options.items[i], more + 1);
	}
	guest_settings_free(&settings);
	return line;
}
