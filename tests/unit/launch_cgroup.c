// SPDX-License-Identifier: Apache-2.0
/*
 * Cgroups of zones on whatever tree this host has: limits are what was asked, change, and are
 * refused where they cannot be set; a process that is put in counts, is killed with the group, and
 * its end by the memory limit is reported. Needs root and a writable tree.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/cpu_list.h"
#include "base/io.h"
#include "base/util.h"
#include "supervisor/launch/cgroup.h"
#include "supervisor/launch/devices.h"

UNIT_SUITE(launch_cgroup);

static const char trees[] = "/sys/fs/cgroup";

struct fixture {
	struct cgroups *cgroups;
	struct uuid uuid;
	char root[64], path[128];
	bool v2;
};

/* Skips the test where there is nothing to test with. */
static void setup(struct fixture *f)
{
	struct cgroup_config config = {.kind = CGROUP_AUTO, .root = f->root};
	struct error err = ERROR_NULL;

	memset(f, 0, sizeof(*f));
	if (geteuid() != 0)
		cr_skip_test("needs root");
	snprintf(f->root, sizeof(f->root), "%s/protect-test-%d", trees, (int)getpid());
	f->v2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
	if (cgroups_open(&f->cgroups, &config, &err) == -ENOTSUP)
		cr_skip_test("%s", err.text);
	cr_assert_not_null(f->cgroups, "%s", err.text);
	uuid_generate(&f->uuid);
	cgroups_path(f->cgroups, &f->uuid, f->path, sizeof(f->path));
	cr_log_info("%s", cgroups_describe(f->cgroups));
}

static void teardown(struct fixture *f)
{
	static const char *const names[] = {"",	       "memory/", "cpu/",     "cpuacct/",
					    "cpuset/", "pids/",	  "freezer/", "blkio/"};
	char path[128];

	cr_expect_eq(cgroups_remove(f->cgroups, &f->uuid), 0);
	f->cgroups = cgroups_close(f->cgroups);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s%s", trees, names[i], strrchr(f->root, '/') + 1);
		rmdir(path);
	}
}

static struct launch_limits good_limits(void)
{
	return (struct launch_limits){.memory_bytes = 64 * MIB,
				      .memory_high_bytes = 60 * MIB,
				      .cpu_quota_us = 150000,
				      .cpu_weight = 300,
				      .cpus = "0"};
}

/* What a file of the group holds: v1's name with its hierarchy, v2's. */
static const char *value(const struct fixture *f, const char *v1, const char *v2)
{
	static char text[256];
	_cleanup_(freep) char *content = NULL;
	char path[300], tree[32];
	size_t len;

	snprintf(tree, sizeof(tree), "%.*s/", (int)strcspn(v1, "."), v1);
	snprintf(path, sizeof(path), "%s/%s%s/%s", trees, f->v2 ? "" : tree, f->path,
		 f->v2 ? v2 : v1);
	cr_assert_eq(io_read_file(AT_FDCWD, path, sizeof(text) - 1, &content, &len), 0, "%s", path);
	content[strcspn(content, "\n")] = '\0';
	snprintf(text, sizeof(text), "%s", content);
	return text;
}

static void make(struct fixture *f, const struct launch_limits *limits)
{
	struct error err = ERROR_NULL;
	int dir;

	cr_assert_eq(cgroups_make(f->cgroups, &f->uuid, limits, NULL, 0, &dir, &err), 0, "%s",
		     err.text);
	cr_expect_eq(dir >= 0, f->v2);
	close_fdp(&dir);
}

static pid_t start(struct fixture *f, void (*body)(void))
{
	struct error err = ERROR_NULL;
	int gate[2];
	pid_t pid;
	char byte;

	cr_assert_eq(pipe(gate), 0);
	pid = fork();
	if (pid == 0) {
		close(gate[1]);
		if (read(gate[0], &byte, 1) == 0)
			body();
		_exit(1);
	}
	cr_assert_eq(cgroups_enter(f->cgroups, &f->uuid, pid, &err), 0, "%s", err.text);
	close(gate[0]);
	close(gate[1]);
	return pid;
}

static void wait_for_ever(void)
{
	pause();
}

static void use_much_memory(void)
{
	char *memory =
		mmap(NULL, 128 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory != MAP_FAILED)
		memset(memory, 1, 128 * MIB);
	_exit(0);
}

Test(launch_cgroup, limits_are_what_was_asked)
{
	struct launch_limits limits = good_limits();
	struct error err = ERROR_NULL;
	struct fixture f;
	int dir;

	setup(&f);
	make(&f, &limits);
	cr_expect_str_eq(value(&f, "memory.limit_in_bytes", "memory.max"), "67108864");
	cr_expect_str_eq(value(&f, "cpuset.cpus", "cpuset.cpus"), "0");
	cr_expect_str_eq(value(&f, "pids.max", "pids.max"), "1024");
	cr_expect_str_eq(value(&f, "cpu.shares", "cpu.weight"), f.v2 ? "300" : "3072");
	cr_expect_str_eq(value(&f, "cpu.cfs_quota_us", "cpu.max"),
			 f.v2 ? "150000 100000" : "150000");
	if (f.v2) {
		cr_expect_str_eq(value(&f, "", "memory.high"), "62914560");
		cr_expect_str_eq(value(&f, "", "memory.oom.group"), "1");
	}
	cr_expect_eq(cgroups_make(f.cgroups, &f.uuid, &limits, NULL, 0, &dir, &err), -EEXIST);
	teardown(&f);
}

Test(launch_cgroup, limits_change)
{
	static const uint64_t sizes[] = {256 * MIB, 32 * MIB};
	struct launch_limits limits = good_limits();
	struct error err = ERROR_NULL;
	struct fixture f;
	pid_t pid;

	setup(&f);
	cr_expect_eq(cgroups_update(f.cgroups, &f.uuid, &limits, NULL), -ENOENT);
	make(&f, &limits);
	pid = start(&f, wait_for_ever);
	limits.cpu_quota_us = 0;
	limits.cpu_weight = 1;
	limits.cpus[0] = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		char wanted[32];

		snprintf(wanted, sizeof(wanted), "%llu", (unsigned long long)sizes[i]);
		limits.memory_bytes = sizes[i];
		limits.memory_high_bytes = 0;
		cr_expect_eq(cgroups_update(f.cgroups, &f.uuid, &limits, &err), 0, "%s", err.text);
		cr_expect_str_eq(value(&f, "memory.limit_in_bytes", "memory.max"), wanted);
	}
	cr_expect_str_eq(value(&f, "cpu.shares", "cpu.weight"), f.v2 ? "1" : "10");
	cr_expect_str_eq(value(&f, "cpu.cfs_quota_us", "cpu.max"), f.v2 ? "max 100000" : "-1");
	cr_expect_str_neq(value(&f, "cpuset.effective_cpus", "cpuset.cpus.effective"), "0");
	/* No device was given: nothing that I/O could be limited on, and nobody is told that it is.
	 */
	limits.io.read_bytes_per_s = MIB;
	cr_expect_eq(cgroups_update(f.cgroups, &f.uuid, &limits, &err), -ENOTSUP);
	cr_expect_eq(cgroups_kill(f.cgroups, &f.uuid), 0);
	cr_expect_eq(waitpid(pid, NULL, 0), pid);
	teardown(&f);
}

Test(launch_cgroup, what_cannot_be_set_leaves_nothing)
{
	struct launch_limits limits = good_limits();
	struct error err = ERROR_NULL;
	struct fixture f;
	int dir;

	setup(&f);
	strcpy(limits.cpus, "4000");
	cr_expect_lt(cgroups_make(f.cgroups, &f.uuid, &limits, NULL, 0, &dir, &err), 0);
	cr_expect_not_null(strstr(err.text, "4000"), "%s", err.text);
	limits = good_limits();
	limits.io.write_ops_per_s = 10;
	cr_expect_eq(cgroups_make(f.cgroups, &f.uuid, &limits, NULL, 0, &dir, NULL), -ENOTSUP);
	cr_expect_eq(cgroups_kill(f.cgroups, &f.uuid), -ENOENT);
	teardown(&f);
}

Test(launch_cgroup, kills_all_of_it)
{
	struct launch_limits limits = good_limits();
	struct fixture f;
	int status;
	pid_t pid;

	setup(&f);
	make(&f, &limits);
	pid = start(&f, wait_for_ever);
	cr_expect_eq(cgroups_remove(f.cgroups, &f.uuid), -EBUSY);
	cr_expect_eq(cgroups_kill(f.cgroups, &f.uuid), 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	teardown(&f);
}

Test(launch_cgroup, a_hog_is_killed_and_reported)
{
	struct launch_limits limits = good_limits();
	struct cgroup_report report;
	struct fixture f;
	int status;
	pid_t pid;

	setup(&f);
	make(&f, &limits);
	cgroups_report(f.cgroups, &f.uuid, &report);
	cr_expect_eq(report.oom_kills, 0);
	pid = start(&f, use_much_memory);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	cgroups_report(f.cgroups, &f.uuid, &report);
	/* v2 counts the first one twice when it kills the whole group. */
	cr_expect(report.oom_kills >= 1 && report.oom_kills <= 2, "%u", report.oom_kills);
	cr_expect(report.memory_peak_bytes == 0 ||
		  (report.memory_peak_bytes > 32 * MIB && report.memory_peak_bytes <= 64 * MIB));
	teardown(&f);
}

/* Whatever disk the build folder lies on. */
Test(launch_cgroup, io_is_limited_on_the_disk_of_a_file)
{
	struct launch_limits limits = good_limits();
	struct error err = ERROR_NULL;
	struct fixture f;
	dev_t devices[2];
	int fds[2], dir;
	unsigned n;

	setup(&f);
	fds[0] = fds[1] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	n = devices_of(fds, 2, devices, 2);
	close(fds[0]);
	limits.io.read_bytes_per_s = 5 * MIB;
	limits.io.write_ops_per_s = 77;
	if (n == 0) {
		teardown(&f);
		cr_skip_test("the tests lie on no block device");
	}
	cr_expect_eq(n, 1);
	cr_assert_eq(cgroups_make(f.cgroups, &f.uuid, &limits, devices, n, &dir, &err), 0, "%s",
		     err.text);
	close_fdp(&dir);
	cr_expect_not_null(
		strstr(value(&f, "blkio.throttle.read_bps_device", "io.max"), "5242880"));
	cr_expect_not_null(strstr(value(&f, "blkio.throttle.write_iops_device", "io.max"), "77"));
	limits.io.read_bytes_per_s = MIB;
	limits.io.write_ops_per_s = 0;
	cr_expect_eq(cgroups_update(f.cgroups, &f.uuid, &limits, &err), 0, "%s", err.text);
	cr_expect_not_null(
		strstr(value(&f, "blkio.throttle.read_bps_device", "io.max"), "1048576"));
	cr_expect_null(strstr(value(&f, "blkio.throttle.write_iops_device", "io.max"), "77"));
	teardown(&f);
}

Test(launch_cgroup, lists_of_cpus)
{
	static const char *const good[] = {"0", "0-3", "0-3,8", "7,5,1-1", "8191"};
	static const char *const bad[] = {"",	 "-",	"1-",	"3-1",	"0,",	 ",0", "0 1",
					  "0\n", "0x1", "1--2", "8192", "00000", "a",  "1,2-"};

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++)
		cr_expect(cpu_list_valid(good[i]), "%s", good[i]);
	cr_expect(cpu_list_within("1-2,7", "0-3,7"));
	cr_expect(cpu_list_within("0", "0"));
	cr_expect_not(cpu_list_within("1-4", "0-3,7"));
	cr_expect_not(cpu_list_within("0,8191", "0-3,7"));
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_not(cpu_list_valid(bad[i]), "%s", bad[i]);
}
