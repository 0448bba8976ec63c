// SPDX-License-Identifier: Apache-2.0
/* The volumes of a workload as its row keeps them: a line each, "ro NAME TARGET" or "rw NAME
 * TARGET". */
#pragma once

#include <stdbool.h>

#define VOLUME_MOUNTS_MAX  8u
#define VOLUME_NAME_SIZE   256u /* or a path */
#define VOLUME_TARGET_SIZE 256u
#define VOLUME_MOUNTS_TEXT_SIZE                                                                    \
	(VOLUME_MOUNTS_MAX * (VOLUME_NAME_SIZE + VOLUME_TARGET_SIZE + 8) + 1)

struct volume_mount {
	char name[VOLUME_NAME_SIZE];	 /* without blanks */
	char target[VOLUME_TARGET_SIZE]; /* without control characters */
	bool read_only;
};

struct volume_mounts {
	struct volume_mount items[VOLUME_MOUNTS_MAX];
	unsigned n;
};

void volume_mounts_print(const struct volume_mounts *mounts, char text[VOLUME_MOUNTS_TEXT_SIZE]);

/* text may be NULL. What is no such line is left out: the row is our own, but its file may be
 * anybody's. */
void volume_mounts_parse(const char *text, struct volume_mounts *out);
