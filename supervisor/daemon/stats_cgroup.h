// SPDX-License-Identifier: Apache-2.0
/*
 * What the kernel counted for a zone's control group: everything that its runner and the guest in
 * it did and hold. Read from the files of the group, in a v2 tree or in the hierarchies of v1.
 */
#pragma once

#include <stdint.h>

#define CGROUP_MOUNT   "/sys/fs/cgroup"
#define CGROUP_UNKNOWN UINT64_MAX

/* Each CGROUP_UNKNOWN where this kernel does not say. */
struct cgroup_figures {
	uint64_t cpu_us, cpu_throttled_us;
	uint64_t memory_bytes, memory_peak_bytes;
	uint64_t oom_kills;
	uint64_t tasks;
};

/* Reads the group at `path` below the mount of its tree, as protect-launch named it; a path that
 * leads out of there, or an empty one, is a group of which nothing is known. */
void cgroup_figures_read(const char *mount, const char *path, struct cgroup_figures *out);

/* The number behind a word at the beginning of a line ("usage_usec 12"); CGROUP_UNKNOWN: there is
 * none. */
uint64_t cgroup_keyed_value(const char *text, const char *key);
