// SPDX-License-Identifier: Apache-2.0
/*
 * The configuration file that the services share (/etc/protect/protect.conf): sections, and keys
 * with a value each. A service reads its own section with a table of its keys and passes over the
 * sections of the others, whose keys they check themselves. What is not understood is an error that
 * names file and line: a misspelt limit must not quietly be no limit. For main(), before threads.
 *
 *   # a comment, on a line of its own
 *   [storage]
 *   max-image-size = 20G
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define CONFIG_DEFAULT_PATH "/etc/protect/protect.conf"
#define CONFIG_SIZE_MAX	    (256u * 1024)

/* What a key accepts. */
struct config_key {
	const char *name;
	/*
	 * Takes a value (borrowed; not empty) into values. Returns 0, or a negative errno with the
	 * reason in *err ("not a size"); file, line and key are put before it. A key that may be
	 * given several times gets each value.
	 */
	int (*set)(void *values, const char *value, struct error *err);
	bool repeats;
};

#define CONFIG_KEYS_MAX 64u

/*
 * Reads the section of that name. A file that does not exist is an empty one unless `required`.
 * Returns 0 or a negative errno with *err set; values may then be half filled.
 */
int config_read(const char *path, bool required, const char *section, const struct config_key *keys,
		size_t n, void *values, struct error *err);

/* As config_read() on text; path only names it in errors. Pure but for `set`. text is changed. */
int config_parse(char *text, size_t len, const char *path, const char *section,
		 const struct config_key *keys, size_t n, void *values, struct error *err);

/* A number of bytes with K, M, G or T behind it (powers of 1024), at least 1. 0 or -EINVAL. */
int config_size(const char *value, uint64_t *out);

/* A decimal number from min to max. 0 or -EINVAL. */
int config_number(const char *value, uint32_t min, uint32_t max, uint32_t *out);
