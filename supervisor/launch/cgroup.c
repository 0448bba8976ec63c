// SPDX-License-Identifier: Apache-2.0
#include "supervisor/launch/cgroup.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "supervisor/launch/cgroup_driver.h"

static const struct cgroup_driver *const drivers[] = {
	[CGROUP_UNIFIED] = &cgroup_unified,
	[CGROUP_LEGACY] = &cgroup_legacy,
	[CGROUP_SYSTEMD] = &cgroup_systemd,
};

static int open_kind(struct cgroups **out, enum cgroup_kind kind,
		     const struct cgroup_config *config, struct error *err)
{
	const struct cgroup_driver *driver =
		(unsigned)kind < ARRAY_SIZE(drivers) ? drivers[kind] : NULL;
	int r;

	if (!driver)
		return error_set(err, -ENOTSUP, "this protect-launch has no such cgroup driver");
	r = driver->open(out, config, err);
	if (r == 0)
		(*out)->driver = driver;
	return r;
}

int cgroups_open(struct cgroups **out, const struct cgroup_config *config, struct error *err)
{
	struct error first = ERROR_NULL;
	int r;

	if (config->kind != CGROUP_AUTO)
		return open_kind(out, config->kind, config, err);
	r = open_kind(out, CGROUP_UNIFIED, config, &first);
	if (r != -ENOTSUP)
		return r < 0 ? error_set(err, r, "%s", first.text) : 0;
	return open_kind(out, CGROUP_LEGACY, config, err);
}

struct cgroups *cgroups_close(struct cgroups *cgroups)
{
	if (cgroups)
		cgroups->driver->close(cgroups);
	return NULL;
}

const char *cgroups_describe(const struct cgroups *cgroups)
{
	return cgroups->describe;
}

/* Limits that cannot be set are refused, not silently left out. */
static int check(const struct cgroups *cgroups, const struct launch_limits *limits,
		 struct error *err)
{
	if (*limits->cpus && !cgroups->has_cpuset)
		return error_set(err, -ENOTSUP,
				 "zones cannot be kept to CPUs on this host: no cpuset controller");
	if (cgroup_io_is_limited(&limits->io) && !cgroups->has_io)
		return error_set(err, -ENOTSUP,
				 "I/O cannot be limited on this host: no io controller");
	return 0;
}

int cgroups_make(struct cgroups *cgroups, const struct uuid *uuid,
		 const struct launch_limits *limits, const dev_t *devices, unsigned n, int *dir,
		 struct error *err)
{
	int r = check(cgroups, limits, err);

	*dir = -1;
	if (r == 0 && n == 0 && cgroup_io_is_limited(&limits->io))
		r = error_set(err, -ENOTSUP, CGROUP_NO_DEVICES);
	return r < 0 ? r : cgroups->driver->make(cgroups, uuid, limits, devices, n, dir, err);
}

int cgroups_enter(struct cgroups *cgroups, const struct uuid *uuid, pid_t pid, struct error *err)
{
	return cgroups->driver->enter(cgroups, uuid, pid, err);
}

int cgroups_join(struct cgroups *cgroups, const struct uuid *uuid, pid_t pid, struct error *err)
{
	return cgroups->driver->join(cgroups, uuid, pid, err);
}

int cgroups_update(struct cgroups *cgroups, const struct uuid *uuid,
		   const struct launch_limits *limits, struct error *err)
{
	int r = check(cgroups, limits, err);

	return r < 0 ? r : cgroups->driver->update(cgroups, uuid, limits, err);
}

void cgroups_path(const struct cgroups *cgroups, const struct uuid *uuid, char *out, size_t size)
{
	cgroups->driver->path(cgroups, uuid, out, size);
}

int cgroups_kill(struct cgroups *cgroups, const struct uuid *uuid)
{
	return cgroups->driver->kill(cgroups, uuid);
}

void cgroups_report(struct cgroups *cgroups, const struct uuid *uuid, struct cgroup_report *out)
{
	*out = (struct cgroup_report){0};
	cgroups->driver->report(cgroups, uuid, out);
}

int cgroups_remove(struct cgroups *cgroups, const struct uuid *uuid)
{
	return cgroups->driver->remove(cgroups, uuid);
}
