// SPDX-License-Identifier: Apache-2.0
/*
 * What a workload writes: a tmpfs or a disk of its own that outlives its processes, so that one
 * that is started again finds its files. It is mounted in the zone, where no workload sees it, and
 * lies below the overlay of each run. Freed with the workload.
 */
#pragma once

#include <stddef.h>

#define SCRATCH_PATH_MAX 64u

/* Mounts the tmpfs, or the new ext4 of a disk, with its folders `upper` and `work`; path is where.
 * disk "" = a tmpfs. Returns 0 or a negative errno. */
int scratch_make(const char *uuid, const char *disk, char path[static SCRATCH_PATH_MAX]);

/* Removes it, if it is there; what still runs on it keeps it until it ends. */
void scratch_remove(const char *uuid);
