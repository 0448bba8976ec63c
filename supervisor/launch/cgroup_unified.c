// SPDX-License-Identifier: Apache-2.0
/* The driver `unified`: a group in a v2 tree for each zone, below one root that is ours. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include "base/cleanup.h"
#include "base/cpu_list.h"
#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/launch/cgroup_driver.h"
#include "supervisor/launch/cgroup_files.h"

#define SETTINGS_MAX 16u
#define CPUS_MAX     4096u

struct unified {
	struct cgroups base;
	int root;
	char name[256]; /* of the root below its mount */
	bool has_swap;
};

/* Zones are not started without the first three. */
static const char *const wanted[] = {"memory", "cpu", "pids", "cpuset", "io"};
#define N_REQUIRED 3u

struct settings {
	struct cgroup_setting all[SETTINGS_MAX];
	unsigned n;
};

static struct unified *unified(const struct cgroups *cgroups)
{
	return container_of((struct cgroups *)(uintptr_t)cgroups, struct unified, base);
}

static void group_name(const struct unified *u, const struct uuid *uuid, char *out, size_t size)
{
	char zone[CGROUP_NAME_SIZE];

	cgroup_zone_name(uuid, zone);
	snprintf(out, size, "%s/%s", u->name, zone);
}

static int open_group(const struct unified *u, const struct uuid *uuid)
{
	char zone[CGROUP_NAME_SIZE];
	int fd;

	cgroup_zone_name(uuid, zone);
	fd = openat(u->root, zone, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* The controllers of `wanted` that the tree has. */
static int find_controllers(int tree, const char *top, const char **found, unsigned *n,
			    struct error *err)
{
	*n = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (cgroup_file_has_word(tree, "cgroup.controllers", wanted[i]))
			found[(*n)++] = wanted[i];
		else if (i < N_REQUIRED)
			return error_set(err, -ENOTSUP,
					 "%s has no controller '%s'; boot the host with "
					 "systemd.unified_cgroup_hierarchy=1",
					 top, wanted[i]);
	}
	return 0;
}

/* Hands controllers down from a group to those below it. */
static int hand_down(int dir, const char *const *controllers, unsigned n, struct error *err)
{
	for (unsigned i = 0; i < n; i++) {
		char text[32];
		int r;

		snprintf(text, sizeof(text), "+%s", controllers[i]);
		r = cgroup_file_write(dir, "cgroup.subtree_control", text);
		if (r < 0)
			return error_set_errno(err, r, "controller '%s' cannot be handed down",
					       controllers[i]);
	}
	return 0;
}

/* Makes the root group, with every controller that there is for it. */
static int make_root(struct unified *u, const char *top, struct error *err)
{
	_cleanup_(close_fdp) int tree = open(top, O_DIRECTORY | O_PATH | O_CLOEXEC);
	const char *found[ARRAY_SIZE(wanted)];
	unsigned n;
	int r = find_controllers(tree, top, found, &n, err);

	if (r == 0)
		r = hand_down(tree, found, n, err);
	if (r == 0)
		r = cgroup_lib_create(u->name, found, n, err);
	if (r < 0)
		return r;
	u->root = openat(tree, u->name, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (u->root < 0)
		return error_set_errno(err, -errno, "cgroup %s/%s", top, u->name);
	return hand_down(u->root, found, n, err);
}

static void describe(struct unified *u, const char *top)
{
	u->has_swap = faccessat(u->root, "memory.swap.max", F_OK, 0) == 0;
	u->base.has_cpuset = cgroup_file_has_word(u->root, "cgroup.subtree_control", "cpuset");
	u->base.has_io = cgroup_file_has_word(u->root, "cgroup.subtree_control", "io");
	snprintf(u->base.describe, sizeof(u->base.describe), "unified %s/%.64s%s%s%s", top, u->name,
		 u->has_swap ? "" : "; swap is not limited: the kernel does not account it",
		 u->base.has_cpuset ? "" : "; no cpuset: zones cannot be kept to CPUs",
		 u->base.has_io ? "" : "; no io: no limits of I/O");
}

static void unified_close(struct cgroups *cgroups)
{
	struct unified *u = unified(cgroups);

	close_fdp(&u->root);
	free(u);
}

static int open_tree(struct unified *u, const char *root, struct error *err)
{
	_cleanup_(freep) char *top = NULL;
	struct statfs fs;
	size_t len;
	int r = cgroup_lib_init(err);

	if (r < 0)
		return r;
	top = cgroup_lib_mount("memory");
	if (!top || statfs(top, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
		return error_set(err, -ENOTSUP,
				 "no cgroup v2 tree with the memory controller; boot the host with "
				 "systemd.unified_cgroup_hierarchy=1");
	len = strlen(top);
	if (strncmp(root, top, len) != 0 || root[len] != '/' || !root[len + 1] ||
	    strlen(root + len + 1) >= sizeof(u->name))
		return error_set(err, -EINVAL, "cgroup root '%s' is not a path below %s", root,
				 top);
	snprintf(u->name, sizeof(u->name), "%s", root + len + 1);
	r = make_root(u, top, err);
	if (r == 0)
		describe(u, top);
	return r;
}

static int unified_open(struct cgroups **out, const struct cgroup_config *config, struct error *err)
{
	struct unified *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return error_set(err, -ENOMEM, "out of memory");
	u->root = -1;
	r = open_tree(u, config->root, err);
	if (r < 0)
		unified_close(&u->base);
	else
		*out = &u->base;
	return r;
}

static char *add(struct settings *s, const char *controller, const char *file)
{
	struct cgroup_setting *setting = &s->all[s->n++];

	setting->controller = controller;
	setting->file = file;
	return setting->value;
}

static void format_u64(char *out, uint64_t value)
{
	if (value)
		snprintf(out, CGROUP_VALUE_SIZE, "%" PRIu64, value);
	else
		snprintf(out, CGROUP_VALUE_SIZE, "max");
}

static void collect(const struct launch_limits *limits, const struct unified *u, struct settings *s)
{
	format_u64(add(s, "memory", "memory.high"), limits->memory_high_bytes);
	format_u64(add(s, "memory", "memory.max"), limits->memory_bytes);
	snprintf(add(s, "memory", "memory.oom.group"), CGROUP_VALUE_SIZE, "1");
	if (u->has_swap)
		snprintf(add(s, "memory", "memory.swap.max"), CGROUP_VALUE_SIZE, "0");
	if (limits->cpu_quota_us)
		snprintf(add(s, "cpu", "cpu.max"), CGROUP_VALUE_SIZE, "%u %u", limits->cpu_quota_us,
			 LAUNCH_CPU_PERIOD_US);
	else
		snprintf(add(s, "cpu", "cpu.max"), CGROUP_VALUE_SIZE, "max %u",
			 LAUNCH_CPU_PERIOD_US);
	snprintf(add(s, "cpu", "cpu.weight"), CGROUP_VALUE_SIZE, "%u", limits->cpu_weight);
	snprintf(add(s, "pids", "pids.max"), CGROUP_VALUE_SIZE, "%u", CGROUP_PIDS_MAX);
}

static int set_io(const char *group, const struct launch_io *io, const dev_t *devices, unsigned n,
		  struct error *err)
{
	char rates[4][CGROUP_VALUE_SIZE];
	int r = 0;

	format_u64(rates[0], io->read_bytes_per_s);
	format_u64(rates[1], io->write_bytes_per_s);
	format_u64(rates[2], io->read_ops_per_s);
	format_u64(rates[3], io->write_ops_per_s);
	for (unsigned i = 0; r == 0 && i < n; i++) {
		struct cgroup_setting setting = {.controller = "io", .file = "io.max"};

		snprintf(setting.value, sizeof(setting.value),
			 "%u:%u rbps=%.20s wbps=%.20s riops=%.20s wiops=%.20s", major(devices[i]),
			 minor(devices[i]), rates[0], rates[1], rates[2], rates[3]);
		r = cgroup_lib_set(group, &setting, err);
	}
	return r;
}

/*
 * Of CPUs that are not there the kernel would silently make all that are. All of them are named,
 * once others were: a group with processes takes no empty list.
 */
static int set_cpus(const struct unified *u, int group, const char *cpus, struct error *err)
{
	_cleanup_(freep) char *all = NULL, *now = NULL;
	size_t len;
	int r = io_read_file(u->root, "cpuset.cpus.effective", CPUS_MAX, &all, &len);

	if (r == 0)
		r = io_read_file(group, "cpuset.cpus", CPUS_MAX, &now, &len);
	if (r < 0)
		return error_set_errno(err, r, "CPUs of the zone's cgroup");
	all[strcspn(all, "\n")] = '\0';
	if (*cpus && !cpu_list_within(cpus, all))
		return error_set(err, -EINVAL, "zones can have the CPUs %s, not all of %s", all,
				 cpus);
	if (!*cpus && (!now || *now == '\0' || *now == '\n'))
		return 0;
	r = cgroup_file_write(group, "cpuset.cpus", *cpus ? cpus : all);
	return r < 0 ? error_set_errno(err, r, "limit cpuset.cpus of the zone's cgroup") : 0;
}

static int set_limits(const struct unified *u, const struct uuid *uuid, int dir,
		      const struct launch_limits *limits, const dev_t *devices, unsigned n,
		      struct error *err)
{
	char group[sizeof(u->name) + CGROUP_NAME_SIZE];
	struct settings s = {.n = 0};
	int r = u->base.has_cpuset ? set_cpus(u, dir, limits->cpus, err) : 0;

	group_name(u, uuid, group, sizeof(group));
	collect(limits, u, &s);
	for (unsigned i = 0; r == 0 && i < s.n; i++)
		r = cgroup_lib_set(group, &s.all[i], err);
	if (r == 0 && u->base.has_io)
		r = set_io(group, &limits->io, devices, n, err);
	return r;
}

static int unified_make(struct cgroups *cgroups, const struct uuid *uuid,
			const struct launch_limits *limits, const dev_t *devices, unsigned n,
			int *dir, struct error *err)
{
	const struct unified *u = unified(cgroups);
	_cleanup_(close_fdp) int group = -1;
	char zone[CGROUP_NAME_SIZE];
	int r;

	cgroup_zone_name(uuid, zone);
	if (mkdirat(u->root, zone, 0755) < 0)
		return error_set_errno(err, -errno, "cgroup %s cannot be made", zone);
	group = open_group(u, uuid);
	r = group < 0 ? error_set_errno(err, group, "cgroup %s", zone)
		      : set_limits(u, uuid, group, limits, devices, n, err);
	if (r == 0 && n && cgroup_devices_save(group, devices, n) < 0)
		log_warning("group=%s its I/O limits cannot be changed later", zone);
	if (r < 0)
		unlinkat(u->root, zone, AT_REMOVEDIR);
	else
		*dir = steal_fd(&group);
	return r;
}

static int unified_enter(struct cgroups *cgroups, const struct uuid *uuid, pid_t pid,
			 struct error *err)
{
	const struct unified *u = unified(cgroups);
	char group[sizeof(u->name) + CGROUP_NAME_SIZE];

	group_name(u, uuid, group, sizeof(group));
	return cgroup_lib_attach(group, wanted, 1, pid, err);
}

static int unified_join(struct cgroups *cgroups, const struct uuid *uuid, pid_t pid,
			struct error *err)
{
	_cleanup_(close_fdp) int group = open_group(unified(cgroups), uuid);
	int r = group < 0 ? group : cgroup_file_add(group, pid);

	return r < 0 ? error_set_errno(err, r, "the zone's cgroup") : 0;
}

static int unified_update(struct cgroups *cgroups, const struct uuid *uuid,
			  const struct launch_limits *limits, struct error *err)
{
	const struct unified *u = unified(cgroups);
	dev_t devices[CGROUP_DEVICES_MAX];
	_cleanup_(close_fdp) int group = open_group(u, uuid);
	int n;

	if (group < 0)
		return error_set_errno(err, group, "the zone's cgroup");
	n = cgroup_devices_load(group, devices);
	if (n <= 0 && cgroup_io_is_limited(&limits->io))
		return error_set(err, -ENOTSUP, CGROUP_NO_DEVICES);
	return set_limits(u, uuid, group, limits, devices, n > 0 ? (unsigned)n : 0, err);
}

static void unified_path(const struct cgroups *cgroups, const struct uuid *uuid, char *out,
			 size_t size)
{
	group_name(unified(cgroups), uuid, out, size);
}

static int unified_kill(struct cgroups *cgroups, const struct uuid *uuid)
{
	_cleanup_(close_fdp) int group = open_group(unified(cgroups), uuid);

	return group < 0 ? group : cgroup_file_write(group, "cgroup.kill", "1");
}

static void unified_report(struct cgroups *cgroups, const struct uuid *uuid,
			   struct cgroup_report *out)
{
	_cleanup_(close_fdp) int group = open_group(unified(cgroups), uuid);

	if (group >= 0)
		cgroup_file_report(group, out);
}

static int unified_remove(struct cgroups *cgroups, const struct uuid *uuid)
{
	char zone[CGROUP_NAME_SIZE];

	cgroup_zone_name(uuid, zone);
	return unlinkat(unified(cgroups)->root, zone, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno
											   : 0;
}

const struct cgroup_driver cgroup_unified = {
	.open = unified_open,
	.close = unified_close,
	.make = unified_make,
	.enter = unified_enter,
	.join = unified_join,
	.update = unified_update,
	.path = unified_path,
	.kill = unified_kill,
	.report = unified_report,
	.remove = unified_remove,
};
