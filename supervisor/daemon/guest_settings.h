// SPDX-License-Identifier: Apache-2.0
/*
 * What a zone's owner wants set in its kernel and for all that runs in it: environment, sysctls,
 * modules, words on the kernel's command line. Checked here for size and form only: the kernel is
 * the tenant's own, and says itself what it does not know. Kept as JSON in the zone's row, as a
 * daemon that comes later may be the one that does the bootstrap. Loop thread.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/error.h"
#include "proto/control.pb-c.h"

struct guest_words {
	size_t n;
	char **items; /* borrowed from the JSON */
};

struct guest_settings {
	json_t *json;
	struct guest_words env, sysctls, modules, kernel_options;
};

/* Checks a launch's and writes them as JSON (*json: the caller's; NULL if nothing is set). Returns
 * 0, or -EINVAL or -E2BIG with text. */
int guest_settings_take(const Protect__Control__ZoneLaunch *request, char **json,
			struct error *err);

/* Reads what guest_settings_take() wrote; NULL and what older versions wrote (an array: the
 * environment) as well. Returns 0 or -ENOMEM; then nothing is held. */
int guest_settings_read(const char *json, struct guest_settings *settings);
void guest_settings_free(struct guest_settings *settings);

/* The zone's kernel command line: the default one, `extra` (NULL or "": nothing more), and the
 * zone's own words. The caller frees it; NULL without memory. */
char *guest_settings_cmdline(const char *json, const char *extra);
