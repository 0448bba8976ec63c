// SPDX-License-Identifier: Apache-2.0
/*
 * The driver `systemd`: systemd, which owns the tree of the hosts that it runs, makes the groups.
 * A zone is a transient slice below protect.slice with its limits, and in that a transient scope
 * `zone-UUID.scope` with its processes. Two units, since systemd removes a scope's group at the
 * moment when it is empty, and with it the word on why; a slice stays until it is stopped.
 *
 * Limits are set by systemd and checked in the group. The OOM killer is to take a zone as a whole:
 * before version 253 systemd has no property for that, and undoes what others write. So the scope
 * is delegated, and the processes are in a group of our own in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>

#include <linux/magic.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cpu_list.h"
#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/launch/cgroup_driver.h"
#include "supervisor/launch/cgroup_files.h"
#include "supervisor/launch/systemd.h"

#define TREE		"/sys/fs/cgroup"
#define OWN_GROUP	"zone" /* in the scope */
#define SLICE		"protect.slice"
#define UNIT_SIZE	64u
#define CPUS_MAX	8192u /* the most that a kernel has */
#define CPUS_TEXT_MAX	4096u
#define PAGE_BYTES	4096u
#define STOP_TIMEOUT_US (45 * UINT64_C(1000000)) /* zone-vmm asks its guest for up to 30 s */
#define SETTLE_NS	(2 * NS_PER_S)
#define SETTLE_STEP_NS	(5 * NS_PER_MS)
#define UEVENT_MAX	4096u

struct zone_units {
	char slice[UNIT_SIZE]; /* a dash in a slice's name is a level: none of the UUID's */
	char scope[UNIT_SIZE];
};

/* What the properties of a zone's slice are made from. */
struct properties {
	const struct zone_units *units;
	const struct launch_limits *limits;
	const dev_t *devices;
	unsigned n_devices;
	bool has_cpuset;
	pid_t pid;
};

static void name_units(const struct uuid *uuid, struct zone_units *units)
{
	char text[UUID_TEXT_SIZE], hex[UUID_TEXT_SIZE];
	unsigned n = 0;

	uuid_format(uuid, text);
	for (const char *c = text; *c; c++)
		if (*c != '-')
			hex[n++] = *c;
	hex[n] = '\0';
	snprintf(units->slice, sizeof(units->slice), "protect-%.32s.slice", hex);
	snprintf(units->scope, sizeof(units->scope), "zone-%s.scope", text);
}

static int open_group(const struct uuid *uuid)
{
	struct zone_units units;
	char path[256];
	int fd;

	name_units(uuid, &units);
	snprintf(path, sizeof(path), TREE "/" SLICE "/%s", units.slice);
	fd = open(path, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

static uint64_t or_infinity(uint64_t value)
{
	return value ? value : UINT64_MAX;
}

/* The bits of a list like "0-3,8", as AllowedCPUs= takes them. Returns the number of bytes or
 * -EINVAL; the list was checked before, as a list but not for its numbers. */
static int parse_cpus(const char *text, uint8_t bits[static CPUS_MAX / 8])
{
	unsigned long last = 0;

	memset(bits, 0, CPUS_MAX / 8);
	while (*text) {
		char *end;
		unsigned long from = strtoul(text, &end, 10), to = from;

		if (*end == '-')
			to = strtoul(end + 1, &end, 10);
		if (from > to || to >= CPUS_MAX || (*end && *end != ',') || end == text)
			return -EINVAL;
		for (unsigned long cpu = from; cpu <= to; cpu++)
			bits[cpu / 8] |= (uint8_t)(1u << cpu % 8);
		if (to > last)
			last = to;
		text = *end ? end + 1 : end;
	}
	return (int)(last / 8 + 1);
}

/* An empty list is all CPUs. */
static int append_cpus(sd_bus_message *m, const char *cpus)
{
	uint8_t bits[CPUS_MAX / 8];
	int len = *cpus ? parse_cpus(cpus, bits) : 0;
	int r = len < 0 ? len : sd_bus_message_open_container(m, 'r', "sv");

	if (r >= 0)
		r = sd_bus_message_append(m, "s", "AllowedCPUs");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "ay");
	if (r >= 0)
		r = sd_bus_message_append_array(m, 'y', bits, (size_t)len);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

/* The device's node, by the kernel's name of it: systemd takes a path. */
static int device_path(dev_t device, char *out, size_t size)
{
	_cleanup_(freep) char *text = NULL;
	char file[64];
	const char *name;
	size_t len;
	int r;

	snprintf(file, sizeof(file), "/sys/dev/block/%u:%u/uevent", major(device), minor(device));
	r = io_read_file(AT_FDCWD, file, UEVENT_MAX, &text, &len);
	if (r < 0)
		return r;
	name = strstr(text, "DEVNAME=");
	if (!name)
		return -ENODEV;
	name += strlen("DEVNAME=");
	snprintf(out, size, "/dev/%.*s", (int)strcspn(name, "\n"), name);
	return 0;
}

static int append_rates(sd_bus_message *m, const char *name, const struct properties *p,
			uint64_t rate)
{
	int r = sd_bus_message_open_container(m, 'r', "sv");

	if (r >= 0)
		r = sd_bus_message_append(m, "s", name);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "a(st)");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "(st)");
	for (unsigned i = 0; r >= 0 && i < p->n_devices; i++) {
		char path[256];

		r = device_path(p->devices[i], path, sizeof(path));
		if (r >= 0)
			r = sd_bus_message_append(m, "(st)", path, or_infinity(rate));
	}
	for (unsigned i = 0; r >= 0 && i < 3; i++)
		r = sd_bus_message_close_container(m);
	return r;
}

static int append_io(sd_bus_message *m, const struct properties *p)
{
	const struct launch_io *io = &p->limits->io;
	const struct {
		const char *name;
		uint64_t rate;
	} rates[] = {{"IOReadBandwidthMax", io->read_bytes_per_s},
		     {"IOWriteBandwidthMax", io->write_bytes_per_s},
		     {"IOReadIOPSMax", io->read_ops_per_s},
		     {"IOWriteIOPSMax", io->write_ops_per_s}};
	int r = 0;

	for (unsigned i = 0; r >= 0 && p->n_devices && i < ARRAY_SIZE(rates); i++)
		r = append_rates(m, rates[i].name, p, rates[i].rate);
	return r;
}

static int append_limits(sd_bus_message *m, const void *user)
{
	const struct properties *p = user;
	const struct launch_limits *limits = p->limits;
	/* systemd's is for a second. */
	uint64_t quota_us = limits->cpu_quota_us * (UINT64_C(1000000) / LAUNCH_CPU_PERIOD_US);
	int r = sd_bus_message_append(
		m, "(sv)(sv)(sv)(sv)(sv)(sv)", "MemoryMax", "t", limits->memory_bytes, "MemoryHigh",
		"t", or_infinity(limits->memory_high_bytes), "MemorySwapMax", "t", UINT64_C(0),
		"TasksMax", "t", (uint64_t)CGROUP_PIDS_MAX, "CPUWeight", "t",
		(uint64_t)limits->cpu_weight, "CPUQuotaPerSecUSec", "t", or_infinity(quota_us));

	if (r >= 0 && p->has_cpuset)
		r = append_cpus(m, limits->cpus);
	return r < 0 ? r : append_io(m, p);
}

/* What a zone's process needs of devices was opened for it before. */
static int append_slice(sd_bus_message *m, const void *user)
{
	const struct properties *p = user;
	int r = sd_bus_message_append(m, "(sv)(sv)(sv)", "Description", "s", p->units->scope,
				      "CollectMode", "s", "inactive-or-failed", "DevicePolicy", "s",
				      "closed");

	return r < 0 ? r : append_limits(m, user);
}

static int append_scope(sd_bus_message *m, const void *user)
{
	const struct properties *p = user;

	return sd_bus_message_append(
		m, "(sv)(sv)(sv)(sv)(sv)(sv)", "Description", "s", "A zone of Protect", "Delegate",
		"b", true, "Slice", "s", p->units->slice, "PIDs", "au", 1, (uint32_t)p->pid,
		"CollectMode", "s", "inactive-or-failed", "TimeoutStopUSec", "t", STOP_TIMEOUT_US);
}

/* Of CPUs that are not there the kernel would silently make all that are, and systemd says nothing
 * of it. Without a zone that was kept to CPUs the slice has no such file. */
static int check_cpus(const char *cpus, struct error *err)
{
	static const char *const files[] = {TREE "/" SLICE "/cpuset.cpus.effective",
					    TREE "/cpuset.cpus.effective"};
	_cleanup_(freep) char *all = NULL;
	size_t len;
	int r = -ENOENT;

	if (!*cpus)
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(files) && r == -ENOENT; i++)
		r = io_read_file(AT_FDCWD, files[i], CPUS_TEXT_MAX, &all, &len);
	if (r < 0)
		return error_set_errno(err, r, "the CPUs of this host's zones");
	all[strcspn(all, "\n")] = '\0';
	return cpu_list_within(cpus, all)
		       ? 0
		       : error_set(err, -EINVAL, "zones can have the CPUs %s, not all of %s", all,
				   cpus);
}

/* #syscalls launch: clock_nanosleep(CLOCK_REALTIME, 0) */
/* systemd says that a limit is set when it has taken it; waits until the kernel has it. */
static int await_limit(int group, uint64_t memory_bytes, struct error *err)
{
	const struct timespec step = {.tv_nsec = SETTLE_STEP_NS};
	uint64_t deadline_ns = clock_now_ns() + SETTLE_NS, value = 0;
	int r;

	for (;;) {
		r = cgroup_file_u64(group, "memory.max", &value);
		if (r == 0 && value <= memory_bytes && memory_bytes - value < PAGE_BYTES)
			return 0;
		if (clock_now_ns() >= deadline_ns)
			return error_set(err, -EIO, "systemd did not set the zone's memory limit");
		nanosleep(&step, NULL);
	}
}

static void systemd_close(struct cgroups *cgroups)
{
	free(cgroups);
}

static int systemd_open(struct cgroups **out, const struct cgroup_config *config, struct error *err)
{
	_cleanup_(close_fdp) int tree = open(TREE, O_DIRECTORY | O_CLOEXEC);
	_cleanup_(freep) struct cgroups *cgroups = calloc(1, sizeof(*cgroups));
	char version[64];
	struct statfs fs;
	int r;

	(void)config;
	if (!cgroups)
		return error_set(err, -ENOMEM, "out of memory");
	r = systemd_version(version, sizeof(version), err);
	if (r < 0)
		return r;
	if (tree < 0 || fstatfs(tree, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
		return error_set(err, -ENOTSUP,
				 "no cgroup v2 tree at " TREE "; boot the host with "
				 "systemd.unified_cgroup_hierarchy=1");
	cgroups->has_cpuset = cgroup_file_has_word(tree, "cgroup.controllers", "cpuset");
	cgroups->has_io = cgroup_file_has_word(tree, "cgroup.controllers", "io");
	snprintf(cgroups->describe, sizeof(cgroups->describe), "systemd %s, " SLICE "%s%s", version,
		 cgroups->has_cpuset ? "" : "; no cpuset: zones cannot be kept to CPUs",
		 cgroups->has_io ? "" : "; no io: no limits of I/O");
	*out = steal_ptr(&cgroups);
	return 0;
}

static int systemd_make(struct cgroups *cgroups, const struct uuid *uuid,
			const struct launch_limits *limits, const dev_t *devices, unsigned n,
			int *dir, struct error *err)
{
	_cleanup_(close_fdp) int group = -1;
	struct error ignored = ERROR_NULL;
	struct zone_units units;
	/* Devices that nothing limits need not be found. */
	const struct properties p = {.units = &units,
				     .limits = limits,
				     .devices = devices,
				     .n_devices = cgroup_io_is_limited(&limits->io) ? n : 0,
				     .has_cpuset = cgroups->has_cpuset};
	int r;

	*dir = -1; /* a slice holds no processes: see systemd_enter() */
	name_units(uuid, &units);
	r = check_cpus(limits->cpus, err);
	if (r == 0)
		r = systemd_start(units.slice, append_slice, &p, err);
	if (r < 0)
		return r;
	group = open_group(uuid);
	r = group < 0 ? error_set_errno(err, group, "the cgroup of %s", units.slice)
		      : await_limit(group, limits->memory_bytes, err);
	if (r == 0 && n && cgroup_devices_save(group, devices, n) < 0)
		log_warning("group=%s its I/O limits cannot be changed later", units.slice);
	if (r < 0)
		systemd_stop(units.slice, &ignored);
	return r;
}

/* Puts the process from the scope's group into one in it that is ours. A group with controllers for
 * others has no processes itself, hence the order. */
static int settle(const struct zone_units *units, pid_t pid)
{
	_cleanup_(close_fdp) int scope = -1;
	_cleanup_(close_fdp) int own = -1;
	char text[256];
	int r;

	snprintf(text, sizeof(text), TREE "/" SLICE "/%s/%s", units->slice, units->scope);
	scope = open(text, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (scope < 0 || mkdirat(scope, OWN_GROUP, 0755) < 0)
		return -errno;
	own = openat(scope, OWN_GROUP, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (own < 0)
		return -errno;
	r = cgroup_file_add(own, pid);
	if (r == 0)
		r = cgroup_file_write(scope, "cgroup.subtree_control", "+memory");
	return r < 0 ? r : cgroup_file_write(own, "memory.oom.group", "1");
}

static int systemd_enter(struct cgroups *cgroups, const struct uuid *uuid, pid_t pid,
			 struct error *err)
{
	struct zone_units units;
	const struct properties p = {.units = &units, .pid = pid};
	int r;

	(void)cgroups;
	name_units(uuid, &units);
	r = systemd_start(units.scope, append_scope, &p, err);
	if (r < 0)
		return r;
	r = settle(&units, pid);
	return r < 0 ? error_set_errno(err, r, "the cgroup of %s", units.scope) : 0;
}

static int systemd_join(struct cgroups *cgroups, const struct uuid *uuid, pid_t pid,
			struct error *err)
{
	struct zone_units units;
	char text[256];
	_cleanup_(close_fdp) int own = -1;
	int r;

	(void)cgroups;
	name_units(uuid, &units);
	snprintf(text, sizeof(text), TREE "/" SLICE "/%s/%s/" OWN_GROUP, units.slice, units.scope);
	own = open(text, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	r = own < 0 ? -errno : cgroup_file_add(own, pid);
	return r < 0 ? error_set_errno(err, r, "the cgroup of %s", units.scope) : 0;
}

static int systemd_update(struct cgroups *cgroups, const struct uuid *uuid,
			  const struct launch_limits *limits, struct error *err)
{
	_cleanup_(close_fdp) int group = open_group(uuid);
	dev_t devices[CGROUP_DEVICES_MAX];
	struct zone_units units;
	struct properties p = {.units = &units,
			       .limits = limits,
			       .devices = devices,
			       .has_cpuset = cgroups->has_cpuset};
	int n, r;

	if (group < 0)
		return error_set_errno(err, group, "the zone's cgroup");
	n = cgroup_devices_load(group, devices);
	if (n <= 0 && cgroup_io_is_limited(&limits->io))
		return error_set(err, -ENOTSUP, CGROUP_NO_DEVICES);
	p.n_devices = n > 0 && cgroups->has_io ? (unsigned)n : 0;
	name_units(uuid, &units);
	r = check_cpus(limits->cpus, err);
	if (r == 0)
		r = systemd_set(units.slice, append_limits, &p, err);
	return r < 0 ? r : await_limit(group, limits->memory_bytes, err);
}

static void systemd_path(const struct cgroups *cgroups, const struct uuid *uuid, char *out,
			 size_t size)
{
	struct zone_units units;

	(void)cgroups;
	name_units(uuid, &units);
	snprintf(out, size, SLICE "/%s", units.slice);
}

static int systemd_kill(struct cgroups *cgroups, const struct uuid *uuid)
{
	_cleanup_(close_fdp) int group = open_group(uuid);

	(void)cgroups;
	return group < 0 ? group : cgroup_file_write(group, "cgroup.kill", "1");
}

static void systemd_report(struct cgroups *cgroups, const struct uuid *uuid,
			   struct cgroup_report *out)
{
	_cleanup_(close_fdp) int group = open_group(uuid);

	(void)cgroups;
	if (group >= 0)
		cgroup_file_report(group, out);
}

static int systemd_remove(struct cgroups *cgroups, const struct uuid *uuid)
{
	_cleanup_(close_fdp) int group = open_group(uuid);
	struct error err = ERROR_NULL;
	struct zone_units units;
	uint64_t populated;
	int r;

	(void)cgroups;
	if (group == -ENOENT)
		return 0;
	r = group < 0 ? group : cgroup_file_field(group, "cgroup.events", "populated", &populated);
	if (r < 0)
		return r;
	if (populated)
		return -EBUSY; /* stopping the slice would end what lives in it */
	name_units(uuid, &units);
	r = systemd_stop(units.slice, &err);
	if (r < 0 && r != -ENOENT)
		log_warning("unit=%s err=\"%s\"", units.slice, err.text);
	return r == -ENOENT ? 0 : r;
}

const struct cgroup_driver cgroup_systemd = {
	.open = systemd_open,
	.close = systemd_close,
	.make = systemd_make,
	.enter = systemd_enter,
	.join = systemd_join,
	.update = systemd_update,
	.path = systemd_path,
	.kill = systemd_kill,
	.report = systemd_report,
	.remove = systemd_remove,
};
