// SPDX-License-Identifier: Apache-2.0
/* UUIDs (RFC 9562, version 4): made from the kernel's generator, written in lower case with dashes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define UUID_TEXT_SIZE 37 /* 36 characters and the NUL */

struct uuid {
	uint8_t bytes[16];
};

/* A fresh random UUID. Returns 0 or a negative errno of getrandom(2). */
int uuid_generate(struct uuid *out);

/* Writes the 36 characters and a NUL. */
void uuid_format(const struct uuid *uuid, char text[UUID_TEXT_SIZE]);

/* Reads exactly 36 characters in either case. Returns 0 or -EINVAL, and then *out is not touched.
 */
int uuid_parse(const char *text, struct uuid *out);

/* Whether both are the same. */
bool uuid_equal(const struct uuid *a, const struct uuid *b);
