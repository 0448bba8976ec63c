// SPDX-License-Identifier: Apache-2.0
/*
 * The driver `legacy`: for each zone a group of the same name in every v1 hierarchy that there is,
 * below one that is ours. v1 has no memory.high, no OOM kill of a whole group and no weight of I/O;
 * that is said. What is in a group is killed while it is frozen, so that nothing escapes by forking
 * and no process id is used again under our hands.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/launch/cgroup_driver.h"
#include "supervisor/launch/cgroup_files.h"

#define FREEZE_TRIES 50
#define FREEZE_NS    (2 * NS_PER_MS) /* between two looks at it: 100 ms at most in all */
#define PROCS_MAX    65536
#define CPUS_MAX     128
#define SHARES_MIN   2u /* of cpu.shares, whose 1024 is a weight of 100 */
#define SHARES_MAX   262144u

enum tree { MEMORY, CPU, CPUACCT, CPUSET, PIDS, FREEZER, BLKIO, N_TREES };

static const char *const controllers[N_TREES] = {"memory", "cpu",     "cpuacct", "cpuset",
						 "pids",   "freezer", "blkio"};

struct legacy {
	struct cgroups base;
	int roots[N_TREES]; /* our group in each; -1 = there is no such hierarchy */
	const char *found[N_TREES];
	unsigned n_found;
	char name[64]; /* of the root group in each hierarchy */
	char cpus[CPUS_MAX], mems[CPUS_MAX];
	bool has_memsw;
};

static struct legacy *legacy(const struct cgroups *cgroups)
{
	return container_of((struct cgroups *)(uintptr_t)cgroups, struct legacy, base);
}

static void group_name(const struct legacy *l, const struct uuid *uuid, char *out, size_t size)
{
	char zone[CGROUP_NAME_SIZE];

	cgroup_zone_name(uuid, zone);
	snprintf(out, size, "%s/%s", l->name, zone);
}

static int open_group(const struct legacy *l, enum tree tree, const struct uuid *uuid)
{
	char zone[CGROUP_NAME_SIZE];
	int fd;

	cgroup_zone_name(uuid, zone);
	if (l->roots[tree] < 0)
		return -ENOENT;
	fd = openat(l->roots[tree], zone, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

static void legacy_close(struct cgroups *cgroups)
{
	struct legacy *l = legacy(cgroups);

	for (unsigned i = 0; i < N_TREES; i++)
		close_fdp(&l->roots[i]);
	free(l);
}

static int read_list(int dir, const char *file, char out[static CPUS_MAX])
{
	_cleanup_(freep) char *text = NULL;
	size_t len;
	int r = io_read_file(dir, file, CPUS_MAX - 1, &text, &len);

	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	snprintf(out, CPUS_MAX, "%s", text);
	return 0;
}

/* A new cpuset has no CPU and no memory, and takes no process, until it is given some. */
static int fill_cpuset(struct legacy *l, struct error *err)
{
	_cleanup_(close_fdp) int top = openat(l->roots[CPUSET], "..", O_DIRECTORY | O_CLOEXEC);
	int r = top < 0 ? -errno : read_list(top, "cpuset.cpus", l->cpus);

	if (r == 0)
		r = read_list(top, "cpuset.mems", l->mems);
	if (r == 0)
		r = cgroup_file_write(l->roots[CPUSET], "cpuset.cpus", l->cpus);
	if (r == 0)
		r = cgroup_file_write(l->roots[CPUSET], "cpuset.mems", l->mems);
	return r < 0 ? error_set_errno(err, r, "cpuset of cgroup %s", l->name) : 0;
}

static int open_trees(struct legacy *l, struct error *err)
{
	int r;

	for (unsigned i = 0; i < N_TREES; i++) {
		_cleanup_(freep) char *top = cgroup_lib_mount(controllers[i]);
		_cleanup_(close_fdp) int fd = top ? open(top, O_DIRECTORY | O_CLOEXEC) : -1;

		if (fd < 0 || faccessat(fd, "cgroup.controllers", F_OK, 0) == 0)
			continue; /* not there, or in a v2 tree */
		r = cgroup_lib_create(l->name, &controllers[i], 1, err);
		if (r < 0)
			return r;
		l->roots[i] = openat(fd, l->name, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (l->roots[i] < 0)
			return error_set_errno(err, -errno, "cgroup %s/%s", top, l->name);
		l->found[l->n_found++] = controllers[i];
	}
	if (l->roots[MEMORY] < 0)
		return error_set(err, -ENOTSUP,
				 "this host has the memory controller in no cgroup tree");
	return l->roots[CPUSET] >= 0 ? fill_cpuset(l, err) : 0;
}

static void describe(struct legacy *l)
{
	char *out = l->base.describe;
	size_t size = sizeof(l->base.describe), used;

	l->has_memsw = faccessat(l->roots[MEMORY], "memory.memsw.limit_in_bytes", F_OK, 0) == 0;
	l->base.has_cpuset = l->roots[CPUSET] >= 0;
	l->base.has_io = l->roots[BLKIO] >= 0;
	snprintf(out, size, "legacy (v1) '%s' in", l->name);
	for (unsigned i = 0; i < N_TREES; i++) {
		used = strlen(out);
		if (l->roots[i] >= 0)
			snprintf(out + used, size - used, " %s", controllers[i]);
	}
	used = strlen(out);
	snprintf(out + used, size - used,
		 "; no memory.high, no OOM kill of a whole zone, buffered writes are not in its "
		 "I/O limits%s%s%s",
		 l->has_memsw ? "" : ", swap not limited", l->roots[PIDS] >= 0 ? "" : ", no pids",
		 l->roots[CPU] >= 0 ? "" : ", no cpu");
}

static int legacy_open(struct cgroups **out, const struct cgroup_config *config, struct error *err)
{
	const char *slash = strrchr(config->root, '/');
	struct legacy *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return error_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < N_TREES; i++)
		l->roots[i] = -1;
	if (slash && slash[1] && strlen(slash + 1) < sizeof(l->name))
		r = cgroup_lib_init(err);
	else
		r = error_set(err, -EINVAL, "cgroup root '%s' ends in no name", config->root);
	if (r == 0) {
		snprintf(l->name, sizeof(l->name), "%s", slash + 1);
		r = open_trees(l, err);
	}
	if (r < 0) {
		legacy_close(&l->base);
		return r;
	}
	describe(l);
	*out = &l->base;
	return 0;
}

/* One setting, where there is such a hierarchy. Does nothing once *err is set. */
__attribute__((format(printf, 6, 7))) static void set(const struct legacy *l, const char *group,
						      enum tree tree, const char *file,
						      struct error *err, const char *format, ...)
{
	struct cgroup_setting setting = {.controller = controllers[tree], .file = file};
	va_list args;

	if (err->code || l->roots[tree] < 0)
		return;
	va_start(args, format);
	vsnprintf(setting.value, sizeof(setting.value), format, args);
	va_end(args);
	cgroup_lib_set(group, &setting, err);
}

/* The limit with swap must never be the lower one. */
static void set_memory(const struct legacy *l, const struct uuid *uuid, const char *group,
		       uint64_t bytes, struct error *err)
{
	_cleanup_(close_fdp) int dir = open_group(l, MEMORY, uuid);
	uint64_t now = 0;
	bool grows =
		dir >= 0 && cgroup_file_u64(dir, "memory.limit_in_bytes", &now) == 0 && bytes > now;

	if (l->has_memsw && grows)
		set(l, group, MEMORY, "memory.memsw.limit_in_bytes", err, "%" PRIu64, bytes);
	set(l, group, MEMORY, "memory.limit_in_bytes", err, "%" PRIu64, bytes);
	if (l->has_memsw && !grows)
		set(l, group, MEMORY, "memory.memsw.limit_in_bytes", err, "%" PRIu64, bytes);
	set(l, group, MEMORY, "memory.swappiness", err, "0");
}

static void set_cpu(const struct legacy *l, const char *group, const struct launch_limits *limits,
		    struct error *err)
{
	uint64_t shares = (uint64_t)limits->cpu_weight * 1024 / 100;

	if (shares < SHARES_MIN)
		shares = SHARES_MIN;
	if (shares > SHARES_MAX)
		shares = SHARES_MAX;
	set(l, group, CPU, "cpu.shares", err, "%" PRIu64, shares);
	set(l, group, CPU, "cpu.cfs_period_us", err, "%u", LAUNCH_CPU_PERIOD_US);
	if (limits->cpu_quota_us)
		set(l, group, CPU, "cpu.cfs_quota_us", err, "%u", limits->cpu_quota_us);
	else
		set(l, group, CPU, "cpu.cfs_quota_us", err, "-1");
	set(l, group, CPUSET, "cpuset.mems", err, "%s", l->mems);
	set(l, group, CPUSET, "cpuset.cpus", err, "%s", *limits->cpus ? limits->cpus : l->cpus);
}

static void set_io(const struct legacy *l, const char *group, const struct launch_io *io,
		   const dev_t *devices, unsigned n, struct error *err)
{
	const struct {
		const char *file;
		uint64_t rate;
	} rates[] = {{"blkio.throttle.read_bps_device", io->read_bytes_per_s},
		     {"blkio.throttle.write_bps_device", io->write_bytes_per_s},
		     {"blkio.throttle.read_iops_device", io->read_ops_per_s},
		     {"blkio.throttle.write_iops_device", io->write_ops_per_s}};

	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < ARRAY_SIZE(rates); k++)
			set(l, group, BLKIO, rates[k].file, err, "%u:%u %" PRIu64,
			    major(devices[i]), minor(devices[i]), rates[k].rate);
}

static int set_limits(const struct legacy *l, const struct uuid *uuid,
		      const struct launch_limits *limits, const dev_t *devices, unsigned n,
		      struct error *err)
{
	char group[sizeof(l->name) + CGROUP_NAME_SIZE];

	group_name(l, uuid, group, sizeof(group));
	set_memory(l, uuid, group, limits->memory_bytes, err);
	set_cpu(l, group, limits, err);
	set(l, group, PIDS, "pids.max", err, "%u", CGROUP_PIDS_MAX);
	set_io(l, group, &limits->io, devices, n, err);
	return err->code;
}

static int legacy_remove(struct cgroups *cgroups, const struct uuid *uuid)
{
	const struct legacy *l = legacy(cgroups);
	char zone[CGROUP_NAME_SIZE];
	int r = 0;

	cgroup_zone_name(uuid, zone);
	for (unsigned i = 0; i < N_TREES; i++)
		if (l->roots[i] >= 0 && unlinkat(l->roots[i], zone, AT_REMOVEDIR) < 0 &&
		    errno != ENOENT)
			r = -errno;
	return r;
}

static int legacy_make(struct cgroups *cgroups, const struct uuid *uuid,
		       const struct launch_limits *limits, const dev_t *devices, unsigned n,
		       int *dir, struct error *err)
{
	const struct legacy *l = legacy(cgroups);
	char group[sizeof(l->name) + CGROUP_NAME_SIZE];
	_cleanup_(close_fdp) int memory = open_group(l, MEMORY, uuid);
	struct error own = ERROR_NULL;
	int r;

	(void)dir; /* v1 has no CLONE_INTO_CGROUP */
	group_name(l, uuid, group, sizeof(group));
	if (memory >= 0)
		return error_set_errno(err, -EEXIST, "cgroup %s cannot be made", group);
	r = cgroup_lib_create(group, l->found, l->n_found, &own);
	if (r == 0)
		r = set_limits(l, uuid, limits, devices, n, &own);
	if (r < 0) {
		legacy_remove(cgroups, uuid);
		return error_set(err, r, "%s", own.text);
	}
	memory = open_group(l, MEMORY, uuid);
	if (n && (memory < 0 || cgroup_devices_save(memory, devices, n) < 0))
		log_warning("group=%s its I/O limits cannot be changed later", group);
	return 0;
}

static int legacy_enter(struct cgroups *cgroups, const struct uuid *uuid, pid_t pid,
			struct error *err)
{
	const struct legacy *l = legacy(cgroups);
	char group[sizeof(l->name) + CGROUP_NAME_SIZE];

	group_name(l, uuid, group, sizeof(group));
	return cgroup_lib_attach(group, l->found, l->n_found, pid, err);
}

static int legacy_update(struct cgroups *cgroups, const struct uuid *uuid,
			 const struct launch_limits *limits, struct error *err)
{
	const struct legacy *l = legacy(cgroups);
	_cleanup_(close_fdp) int memory = open_group(l, MEMORY, uuid);
	dev_t devices[CGROUP_DEVICES_MAX];
	struct error own = ERROR_NULL;
	int n, r;

	if (memory < 0)
		return error_set_errno(err, memory, "the zone's cgroup");
	n = cgroup_devices_load(memory, devices);
	if (n <= 0 && cgroup_io_is_limited(&limits->io))
		return error_set(err, -ENOTSUP, CGROUP_NO_DEVICES);
	r = set_limits(l, uuid, limits, devices, n > 0 ? (unsigned)n : 0, &own);
	return r < 0 ? error_set(err, r, "%s", own.text) : 0;
}

static void legacy_path(const struct cgroups *cgroups, const struct uuid *uuid, char *out,
			size_t size)
{
	group_name(legacy(cgroups), uuid, out, size);
}

static bool freezer_is(int freezer, const char *state)
{
	return cgroup_file_has_word(freezer, "freezer.state", state);
}

/* #syscalls launch: clock_nanosleep(CLOCK_REALTIME, 0) */
/* Waits a little for everything to stand still. What does not is killed all the same. */
static void freeze(int freezer)
{
	const struct timespec pause = {.tv_nsec = FREEZE_NS};

	if (cgroup_file_write(freezer, "freezer.state", "FROZEN") < 0)
		return;
	for (unsigned i = 0; i < FREEZE_TRIES && !freezer_is(freezer, "FROZEN"); i++)
		nanosleep(&pause, NULL);
}

static int kill_members(int freezer)
{
	_cleanup_(freep) char *text = NULL;
	char *save = NULL;
	size_t len;
	int r = io_read_file(freezer, "cgroup.procs", PROCS_MAX, &text, &len);

	if (r < 0)
		return r;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		long pid = strtol(line, NULL, 10);

		/* 0 is a process of another pid namespace, and kill(0) is ourselves. */
		if (pid > 1 && kill((pid_t)pid, SIGKILL) < 0 && errno != ESRCH)
			r = -errno;
	}
	return r;
}

static int legacy_kill(struct cgroups *cgroups, const struct uuid *uuid)
{
	const struct legacy *l = legacy(cgroups);
	_cleanup_(close_fdp) int freezer = open_group(l, FREEZER, uuid);
	int r;

	if (freezer < 0)
		return freezer;
	freeze(freezer);
	r = kill_members(freezer);
	cgroup_file_write(freezer, "freezer.state", "THAWED");
	return r;
}

static void legacy_report(struct cgroups *cgroups, const struct uuid *uuid,
			  struct cgroup_report *out)
{
	_cleanup_(close_fdp) int memory = open_group(legacy(cgroups), MEMORY, uuid);
	uint64_t kills = 0;

	if (memory < 0)
		return;
	cgroup_file_field(memory, "memory.oom_control", "oom_kill", &kills);
	out->oom_kills = kills < UINT32_MAX ? (uint32_t)kills : UINT32_MAX;
	cgroup_file_u64(memory, "memory.max_usage_in_bytes", &out->memory_peak_bytes);
}

const struct cgroup_driver cgroup_legacy = {
	.open = legacy_open,
	.close = legacy_close,
	.make = legacy_make,
	.enter = legacy_enter,
	.join = legacy_enter,
	.update = legacy_update,
	.path = legacy_path,
	.kill = legacy_kill,
	.report = legacy_report,
	.remove = legacy_remove,
};
