// SPDX-License-Identifier: Apache-2.0
/*
 * The cgroups of zones: one v2 group `zone-UUID` for each, under one root. On a host whose v2 tree
 * has no memory controller (v1, hybrid) there are no groups and no limits, unless they were
 * required; then opening fails.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"

#define CGROUP_ROOT	"/sys/fs/cgroup/protect"
#define CGROUP_PIDS_MAX 1024u /* threads of a runner: vCPUs, its loop, io_uring's workers */

struct cgroup_limits {
	uint64_t memory_bytes;
	uint32_t cpu_quota_us; /* in LAUNCH_CPU_PERIOD_US; 0 = no limit */
	uint32_t cpu_weight;
};

/*
 * Makes the root group and hands the controllers down to it. Returns a directory descriptor,
 * -ENOTSUP (said in *err) when this host has no usable v2 tree, or another negative errno.
 */
int cgroup_open_root(const char *path, struct error *err);

/* Makes a zone's group with its limits. Returns its directory descriptor or a negative errno with
 * text; then nothing is left. */
int cgroup_make(int root, const struct uuid *uuid, const struct cgroup_limits *limits,
		struct error *err);

/* Kills all that is in the group. Returns 0, -ENOENT without such a group, or another negative
 * errno. */
int cgroup_kill(int root, const struct uuid *uuid);

/* Removes the group. Returns 0 (also when there is none), -EBUSY while something lives in it, or
 * another negative errno. */
int cgroup_remove(int root, const struct uuid *uuid);
