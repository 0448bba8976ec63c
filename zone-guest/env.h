// SPDX-License-Identifier: Apache-2.0
/*
 * Lists of strings that came in a message: environments (K=V, a later one wins) and argument
 * vectors. Bounded: at most STRINGS_MAX entries, STRINGS_BYTES_MAX bytes with their NULs in a list.
 */
#pragma once

#include <stddef.h>

#define STRINGS_MAX	  4096u
#define STRINGS_BYTES_MAX (128u * 1024)

struct strings {
	char **items; /* NULL-terminated once anything was added; NULL before */
	size_t count;
	size_t bytes;
};

#define STRINGS_NULL                                                                               \
	{                                                                                          \
		.items = NULL, .count = 0, .bytes = 0                                              \
	}

/* Frees everything; may run twice. */
void strings_deinit(struct strings *strings);

/* Adds a copy. Returns 0, -E2BIG beyond the bounds, -ENOMEM. */
int strings_add(struct strings *strings, const char *text);

/* Adds copies of all n, in order. Same errors. */
int strings_add_all(struct strings *strings, char *const *items, size_t n);

/*
 * Sets one K=V, replacing an earlier K. Returns 0, -EINVAL (no '=' or an empty key), -E2BIG,
 * -ENOMEM.
 */
int env_set(struct strings *env, const char *assignment);

/* As env_set() for all n, in order. */
int env_set_all(struct strings *env, char *const *items, size_t n);

/* Sets key=value only if key has no value yet. Same returns. */
int env_default(struct strings *env, const char *key, const char *value);

/* The value of key, borrowed from env; NULL if there is none. */
const char *env_get(const struct strings *env, const char *key);
