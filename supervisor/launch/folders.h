// SPDX-License-Identifier: Apache-2.0
/*
 * Which folders of the host zones may have, and one of them, opened. The host's administrator says
 * which, in protect.conf; without a word there is none:
 *
 *   [launch]
 *   share = /srv/data             # this folder and what is below it
 *   share-read-only = /srv/media
 *
 * What a client names has to lie there by its text and by its way: no part of it may be a link.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "base/error.h"
#include "supervisor/launch/launch.h"

#define FOLDERS_ALLOWED_MAX 64u

struct folders {
	unsigned n;
	struct {
		char path[LAUNCH_PATH_SIZE];
		bool read_only;
	} allowed[FOLDERS_ALLOWED_MAX];
};

/* Reads [launch] of the file, which may be absent unless required. Returns 0 or a negative errno
 * with *err. */
int folders_read(struct folders *folders, const char *path, bool required, struct error *err);

/*
 * Opens a folder that is allowed (O_PATH) and looks whose it is. Returns the descriptor, or a
 * negative errno with *err: -EACCES (not allowed, or not so), -ELOOP (a link is on the way),
 * -ENOENT, -ENOTDIR, -EINVAL.
 */
int folders_open(const struct folders *folders, const struct launch_share *share, struct stat *st,
		 struct error *err);
