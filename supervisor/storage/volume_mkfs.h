// SPDX-License-Identifier: Apache-2.0
/* Makes the file system of a new volume. */
#pragma once

#include "base/error.h"
#include "supervisor/storage/store.h"

/* Runs the program mkfs (a path, or a name that is searched) on a new file of zeros (fd is
 * borrowed). Returns 0 or a negative errno with *err set. */
int volume_mkfs(struct store *store, const char *mkfs, int fd, struct error *err);
