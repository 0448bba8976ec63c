// SPDX-License-Identifier: Apache-2.0
/*
 * The cgroups of zones: one group for each, with its limits, by one of several drivers.
 *
 *   unified  a v2 tree: `zone-UUID` under one root that is ours
 *   legacy   the v1 hierarchies of memory, cpu, cpuset and pids (hybrid hosts), the same names
 *   systemd  a transient slice below `protect.slice` for each zone, made by systemd, and in it the
 *            scope `zone-UUID.scope`
 *
 * What a driver cannot do on this host it says once (cgroups_describe()); limits that it cannot set
 * are then not silently taken for set. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/uuid.h"
#include "supervisor/launch/launch.h"

#define CGROUP_ROOT	"/sys/fs/cgroup/protect"
#define CGROUP_PIDS_MAX 1024u /* threads of a runner: vCPUs, its loop, io_uring's workers */

enum cgroup_kind { CGROUP_AUTO, CGROUP_UNIFIED, CGROUP_LEGACY, CGROUP_SYSTEMD };

struct cgroup_config {
	enum cgroup_kind
		kind;	  /* AUTO: unified where that tree has the memory controller, else legacy */
	const char *root; /* of unified; legacy uses its last part as the name in each hierarchy */
};

struct cgroup_report {
	uint32_t oom_kills;
	uint64_t memory_peak_bytes; /* 0 = not known */
};

struct cgroups;

/*
 * Opens the driver and makes the root group. Returns 0, -ENOTSUP (said in *err) when this host has
 * nothing to limit zones with, or another negative errno. cgroups_close() leaves the groups; always
 * NULL.
 */
int cgroups_open(struct cgroups **out, const struct cgroup_config *config, struct error *err);
struct cgroups *cgroups_close(struct cgroups *cgroups);

/* One line for a person: the driver, its root, and what it cannot do here. */
const char *cgroups_describe(const struct cgroups *cgroups);

/*
 * Makes a zone's group with its limits; devices: the n block devices that limits->io is for. *dir
 * is a directory descriptor for CLONE_INTO_CGROUP, or -1: then the process is put in with
 * cgroups_enter() before it runs anything of its own. Returns 0 or a negative errno with text; then
 * nothing is left.
 */
int cgroups_make(struct cgroups *cgroups, const struct uuid *uuid,
		 const struct launch_limits *limits, const dev_t *devices, unsigned n, int *dir,
		 struct error *err);
int cgroups_enter(struct cgroups *cgroups, const struct uuid *uuid, pid_t pid, struct error *err);

/* Puts a further process into the group of a zone that runs. Returns 0 or a negative errno with
 * text. */
int cgroups_join(struct cgroups *cgroups, const struct uuid *uuid, pid_t pid, struct error *err);

/* New limits for a group. Returns 0, -ENOENT, or another negative errno with text; then some may be
 * set: the caller may try again. */
int cgroups_update(struct cgroups *cgroups, const struct uuid *uuid,
		   const struct launch_limits *limits, struct error *err);

/* Where the group is below its tree's mount (`protect/zone-UUID`). */
void cgroups_path(const struct cgroups *cgroups, const struct uuid *uuid, char *out, size_t size);

/* Kills all that is in the group. Returns 0, -ENOENT without such a group, or another negative
 * errno. */
int cgroups_kill(struct cgroups *cgroups, const struct uuid *uuid);

/* What happened in it; to be asked before it is removed. Zeroes where nothing is known. */
void cgroups_report(struct cgroups *cgroups, const struct uuid *uuid, struct cgroup_report *out);

/* Removes the group. Returns 0 (also when there is none), -EBUSY while something lives in it, or
 * another negative errno. */
int cgroups_remove(struct cgroups *cgroups, const struct uuid *uuid);
