// SPDX-License-Identifier: Apache-2.0
/*
 * What a driver of cgroup.h is: a table of functions, and a struct of its own that begins with
 * struct cgroups. The functions have the contracts of those in cgroup.h with the same names. One
 * thread.
 */
#pragma once

#include "supervisor/launch/cgroup.h"

struct cgroup_driver {
	/* Allocates *out and fills in its describe. -ENOTSUP: this host is not for this driver. */
	int (*open)(struct cgroups **out, const struct cgroup_config *config, struct error *err);
	void (*close)(struct cgroups *cgroups); /* frees it */
	int (*make)(struct cgroups *cgroups, const struct uuid *uuid,
		    const struct launch_limits *limits, const dev_t *devices, unsigned n, int *dir,
		    struct error *err);
	int (*enter)(struct cgroups *cgroups, const struct uuid *uuid, pid_t pid,
		     struct error *err);
	int (*join)(struct cgroups *cgroups, const struct uuid *uuid, pid_t pid, struct error *err);
	int (*update)(struct cgroups *cgroups, const struct uuid *uuid,
		      const struct launch_limits *limits, struct error *err);
	void (*path)(const struct cgroups *cgroups, const struct uuid *uuid, char *out,
		     size_t size);
	int (*kill)(struct cgroups *cgroups, const struct uuid *uuid);
	void (*report)(struct cgroups *cgroups, const struct uuid *uuid, struct cgroup_report *out);
	int (*remove)(struct cgroups *cgroups, const struct uuid *uuid);
};

struct cgroups {
	const struct cgroup_driver *driver; /* set by cgroups_open() */
	bool has_cpuset, has_io; /* what is not there is refused before a driver is asked */
	char describe[LAUNCH_TEXT_SIZE];
};

#define CGROUP_NO_DEVICES                                                                          \
	"no file of the zone lies on a block device of its own (tmpfs, overlay and btrfs have "    \
	"none), "                                                                                  \
	"so there is nothing to limit its I/O on"

static inline bool cgroup_io_is_limited(const struct launch_io *io)
{
	return io->read_bytes_per_s || io->write_bytes_per_s || io->read_ops_per_s ||
	       io->write_ops_per_s;
}

extern const struct cgroup_driver cgroup_unified;
extern const struct cgroup_driver cgroup_legacy;
extern const struct cgroup_driver cgroup_systemd;
