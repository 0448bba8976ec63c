// SPDX-License-Identifier: Apache-2.0
/*
 * The sandbox that protect-launch puts a runner into, looked at from inside (launch_probe.c) and
 * from outside, as root and as a plain user.
 */
#include "launch_fixture.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/isolate.h"
#include "base/util.h"

#define NOBODY 65534

UNIT_SUITE(launch_sandbox);

/* Whether the log has this line. */
static void expect_line(const char *log, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void expect_line(const char *log, const char *format, ...)
{
	char line[128] = "\n";
	va_list args;
	size_t len;

	va_start(args, format);
	len = 1 + (size_t)vsnprintf(line + 1, sizeof(line) - 2, format, args);
	va_end(args);
	cr_assert_lt(len, sizeof(line) - 1);
	memcpy(line + len, "\n", 2);
	cr_expect_not_null(strstr(log, line), "no '%s' in\n%s", line + 1, log);
}

static void expect_sandbox(const char *log, uid_t uid, gid_t gid)
{
	static const char *const denied[] = {"setuid_0=22", "setgroups=1", "remount=1",
					     "umount=1",    "unshare=1",   "create=30",
					     "mkdir=30",    "proc=2",	   "up=2"};
	static const char *const none[] = {"environment=0", "capabilities=0", "bounding=0",
					   "ambient=0",	    "capget=0",	      "parent=0",
					   "lo_is_up=0",    "groups=0"};

	expect_line(log, "argument=--kvm-fd\nargument=3\nargument=--spec-fd\nargument=4");
	expect_line(log, "uids=%u,%u,%u", uid, uid, uid);
	expect_line(log, "gids=%u,%u,%u", gid, gid, gid);
	expect_line(log, "pid=1");
	expect_line(log, "leads_session=1");
	expect_line(log, "umask=%d", 077);
	expect_line(log, "host=" ISOLATE_HOST_NAME);
	expect_line(log, "fd=0\nfd=1\nfd=2\nfd=3\nfd=4\nfd=5\nfd=6\nfd=7\nroot_entries=2");
	expect_line(log, "securebits=%d", ISOLATE_SECUREBITS);
	expect_line(log, "no_new_privs=1");
	expect_line(log, "interfaces=1");
	expect_line(log, "limit_core=0,0");
	expect_line(log, "limit_nofile=%u,%u", ISOLATE_FILES_MAX, ISOLATE_FILES_MAX);
	expect_line(log, "limit_nproc=%u,%u", ISOLATE_TASKS_MAX, ISOLATE_TASKS_MAX);
	expect_line(log, "limit_msgqueue=0,0");
	expect_line(log, "said=1");
	for (unsigned i = 0; i < ARRAY_SIZE(denied); i++)
		expect_line(log, "%s", denied[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(none); i++)
		expect_line(log, "%s", none[i]);
}

static void tell_and_look(uid_t uid, gid_t gid)
{
	_cleanup_(freep) char *log = NULL;
	struct launch_request request;
	struct launch_reply reply;
	struct fixture f;

	fixture_init(&f, "tell");
	request = fixture_request();
	reply = fixture_spawn(&f, &request);
	cr_assert_eq(reply.error, 0, "%s", reply.text);
	reply = fixture_reap(&f, &request.uuid);
	cr_assert_eq(reply.error, 0, "%s", reply.text);
	cr_expect(WIFEXITED(reply.wait_status) && WEXITSTATUS(reply.wait_status) == TELL_STATUS,
		  "%#x", (unsigned)reply.wait_status);
	log = fixture_log(&f);
	if (f.runners.config.change_ids)
		uid = gid = f.runners.config.uid_base + request.slot;
	expect_sandbox(log, uid, gid);
	fixture_deinit(&f);
}

Test(launch_sandbox, runner_finds_what_the_contract_says)
{
	tell_and_look(geteuid(), getegid());
}

static void become_nobody(void)
{
	if (geteuid() != 0)
		cr_skip_test("needs root");
	cr_assert_eq(setgroups(0, NULL), 0);
	cr_assert_eq(isolate_become(NOBODY, NOBODY), 0);
	/* As a process is that was started by nobody and has not only become it. */
	cr_assert_eq(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
}

Test(launch_sandbox, a_plain_user_gives_its_own_ids)
{
	become_nobody();
	tell_and_look(NOBODY, NOBODY);
}

Test(launch_sandbox, groups_do_not_come_along)
{
	static const gid_t groups[] = {NOBODY};
	struct launch_request request = fixture_request();
	struct launch_reply reply;
	struct fixture f;

	if (geteuid() != 0)
		cr_skip_test("needs root");
	fixture_init(&f, "sleep");
	cr_assert_eq(setgroups(1, groups), 0);
	reply = fixture_spawn(&f, &request);
	cr_expect_eq(reply.error, -EPERM);
	cr_expect_not_null(strstr(reply.text, "groups"), "%s", reply.text);
	fixture_deinit(&f);
}

static void read_namespace(pid_t pid, const char *name, char out[static 64])
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
	n = readlink(path, out, 63);
	cr_assert_gt(n, 0, "%s: %s", path, strerror(errno));
	out[n] = '\0';
}

Test(launch_sandbox, no_namespace_is_shared)
{
	static const char *const names[] = {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"};
	struct launch_request request[2] = {fixture_request(), fixture_request()};
	pid_t pids[2];
	struct fixture f;

	fixture_init(&f, "sleep");
	for (unsigned i = 0; i < 2; i++) {
		struct launch_reply reply;

		request[i].slot = i;
		reply = fixture_spawn(&f, &request[i]);
		cr_assert_eq(reply.error, 0, "%s", reply.text);
		pids[i] = reply.pid;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		char host[64], first[64], second[64];

		read_namespace(getpid(), names[i], host);
		read_namespace(pids[0], names[i], first);
		read_namespace(pids[1], names[i], second);
		cr_expect_str_neq(host, first, "%s", names[i]);
		cr_expect_str_neq(host, second, "%s", names[i]);
		cr_expect_str_neq(first, second, "%s", names[i]);
	}
	for (unsigned i = 0; i < 2; i++) {
		cr_expect_eq(fixture_signal(&f, &request[i].uuid, SIGKILL).error, 0);
		cr_expect_eq(fixture_reap(&f, &request[i].uuid).error, 0);
	}
	fixture_deinit(&f);
}

/* PID 1 of a namespace would not get it, were it not blocked before the runner runs. */
Test(launch_sandbox, sigterm_arrives_however_early)
{
	struct launch_request request = fixture_request();
	struct launch_reply reply;
	struct fixture f;

	fixture_init(&f, "listen");
	reply = fixture_spawn(&f, &request);
	cr_assert_eq(reply.error, 0, "%s", reply.text);
	cr_expect_eq(fixture_signal(&f, &request.uuid, SIGTERM).error, 0);
	reply = fixture_reap(&f, &request.uuid);
	cr_assert_eq(reply.error, 0, "%s", reply.text);
	cr_expect(WIFEXITED(reply.wait_status) && WEXITSTATUS(reply.wait_status) == HEARD_STATUS,
		  "%#x", (unsigned)reply.wait_status);
	fixture_deinit(&f);
}
