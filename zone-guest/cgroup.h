// SPDX-License-Identifier: Apache-2.0
/*
 * A control group (version 2) a workload: ROOT/workloads/UUID, with the memory, pids and cpu
 * controllers where the kernel has them. A kernel without cgroups is no error: every function then
 * does nothing, and a workload goes without limits and figures.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CGROUP_PATH_MAX 256u

/*
 * Makes ROOT/workloads and hands the controllers down. root: where cgroup2 is mounted. Returns 0 or
 * a negative errno.
 */
int cgroup_setup(const char *root);

/* Of one group; 0 = what there is, but of tasks half of all. */
struct cgroup_limits {
	uint64_t memory_bytes;
	uint32_t cpu_millis; /* of one CPU */
	uint32_t pids;
};

/*
 * Sets them. A kernel that lacks what is asked for is an error: -EOPNOTSUPP. Returns 0 or a
 * negative errno.
 */
int cgroup_limit(int group, const struct cgroup_limits *limits);

/*
 * Makes the group of a workload, which may have half of all tasks that the kernel lets there be
 * (all workloads together three fourths). Returns its folder's descriptor, which the caller owns,
 * or a negative errno.
 */
int cgroup_make(const char *root, const char *uuid);

/* Removes it. Returns 0, -EBUSY while processes are in it, or another negative errno. */
int cgroup_remove(const char *root, const char *uuid);

/* Kills every process in it, at once. Returns 0 or a negative errno. */
int cgroup_kill(int group);

/* Sends a signal to every process in it. Returns 0 or a negative errno. */
int cgroup_signal(int group, int signal);

/* How many processes in it the kernel has killed for want of memory. */
uint64_t cgroup_oom_kills(int group);

/*
 * Reads a number from one of its files, or the number behind key in a file of `key number` lines
 * (key NULL: the whole file).
 */
int cgroup_read(int group, const char *file, const char *key, uint64_t *out);
