// SPDX-License-Identifier: Apache-2.0
/*
 * Which modules a kernel needs before it can mount its own addons, and in what order: worked out
 * from modules.dep in the addons squashfs, which is read by `unsquashfs -cat`, never mounted.
 * Everything in it is foreign: paths are checked character by character, sizes bounded. One thread
 * at a time.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

#define KERNEL_MODULES_MAX 64u

struct kernel_module {
	char *path; /* below modules/, as modules.dep has it */
	char name[64];
};

struct kernel_modules {
	struct kernel_module list[KERNEL_MODULES_MAX]; /* in the order to load them */
	unsigned n;
};

/*
 * Works out the list from the text of modules.dep. Modules that it does not have are built in or
 * absent, and are passed over. Returns 0, -E2BIG or -ENOMEM; kernel_modules_clear() in either case.
 */
int kernel_modules_plan(struct kernel_modules *modules, const char *modules_dep);
void kernel_modules_clear(struct kernel_modules *modules);

/* Reads a file of a squashfs (max bytes at most) into fresh memory. Returns 0 or a negative errno
 * with *err set. */
int kernel_modules_read(const char *squashfs, const char *path, size_t max, char **out, size_t *len,
			struct error *err);

/* Undoes xz, zstd or gzip compression in memory: *data and *len are replaced. Returns 0 or a
 * negative errno with *err set. */
int kernel_modules_unpack(char **data, size_t *len, size_t max, struct error *err);
