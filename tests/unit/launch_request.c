// SPDX-License-Identifier: Apache-2.0
/*
 * Requests to protect-launch: bad ones are refused whole, good ones start a runner, and what is
 * started can be signalled and reaped. Runs as any user; the change of ids is tested when that is
 * root.
 */
#include "launch_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

UNIT_SUITE(launch_request);

Test(launch_request, refuses_what_is_out_of_range)
{
	struct fixture f;
	struct launch_request good, bad;
	struct launch_reply reply;
	int pidfd;

	fixture_init(&f, "sleep");
	good = fixture_request();
	bad = good, bad.version = 9;
	cr_expect_eq(fixture_spawn(&f, &bad).error, -EPROTO);
	bad = good, bad.op = 99;
	cr_expect_eq(fixture_spawn(&f, &bad).error, -EINVAL);
	bad = good, bad.slot = 4;
	cr_expect_eq(fixture_spawn(&f, &bad).error, -EINVAL);
	bad = good, bad.limits.memory_bytes = 1;
	cr_expect_eq(fixture_spawn(&f, &bad).error, -EINVAL);
	bad = good, bad.limits.memory_bytes = UINT64_MAX;
	cr_expect_eq(fixture_spawn(&f, &bad).error, -EINVAL);
	bad = good, bad.limits.cpu_weight = 0;
	cr_expect_eq(fixture_spawn(&f, &bad).error, -EINVAL);
	bad = good, bad.limits.cpu_quota_us = 1;
	cr_expect_eq(fixture_spawn(&f, &bad).error, -EINVAL);
	bad = good, bad.op = LAUNCH_SIGNAL, bad.n_fds = 0, bad.signal = SIGSTOP;
	cr_expect_eq(fixture_ask(&f, &bad, NULL).error, -EINVAL);
	bad.signal = SIGKILL;
	cr_expect_eq(fixture_ask(&f, &bad, NULL).error, -ENOENT);
	cr_expect_eq(fixture_reap(&f, &good.uuid).error, -ENOENT);
	runners_request(&f.runners, &good, sizeof(good) - 1, NULL, 0, &reply, &pidfd);
	cr_expect_eq(reply.error, -EMSGSIZE);
	cr_expect_neq(reply.text[0], '\0');
	fixture_deinit(&f);
}

Test(launch_request, limits_are_checked_and_need_cgroups)
{
	static const char *const lists[] = {"3-1", "0,", "0;1", "../0", " 0"};
	struct launch_request good, bad;
	struct launch_reply reply;
	struct fixture f;

	fixture_init(&f, "sleep");
	good = fixture_request();
	bad = good, bad.limits.memory_high_bytes = bad.limits.memory_bytes + 1;
	cr_expect_eq(fixture_spawn(&f, &bad).error, -EINVAL);
	bad = good, memset(bad.limits.cpus, '1', sizeof(bad.limits.cpus));
	cr_expect_eq(fixture_spawn(&f, &bad).error, -EINVAL);
	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		bad = good;
		snprintf(bad.limits.cpus, sizeof(bad.limits.cpus), "%s", lists[i]);
		cr_expect_eq(fixture_spawn(&f, &bad).error, -EINVAL, "%s", lists[i]);
	}
	bad = good;
	snprintf(bad.limits.cpus, sizeof(bad.limits.cpus), "0");
	cr_expect_eq(fixture_spawn(&f, &bad).error, -ENOTSUP);
	good.op = LAUNCH_UPDATE;
	good.n_fds = 0;
	cr_expect_eq(fixture_ask(&f, &good, NULL).error, -ENOTSUP);
	bad = good, bad.limits.cpu_weight = 10001;
	cr_expect_eq(fixture_ask(&f, &bad, NULL).error, -EINVAL);
	good.op = LAUNCH_STATUS;
	reply = fixture_ask(&f, &good, NULL);
	cr_expect_eq(reply.error, 0);
	cr_expect_not_null(strstr(reply.text, "no limits"), "%s", reply.text);
	fixture_deinit(&f);
}

/* Whatever cgroups this host has. */
Test(launch_request, a_runner_lives_in_its_zones_group)
{
	struct cgroup_config config = {.kind = CGROUP_AUTO,
				       .root = "/sys/fs/cgroup/protect-unit-request"};
	_cleanup_(freep) char *text = NULL;
	struct cgroups *cgroups = NULL;
	struct launch_request request;
	struct launch_reply reply;
	struct fixture f;
	char path[64];
	size_t len;

	if (geteuid() != 0 || cgroups_open(&cgroups, &config, NULL) < 0)
		cr_skip_test("needs root and a cgroup tree");
	fixture_init(&f, "sleep");
	f.runners.config.cgroups = cgroups;
	request = fixture_request();
	reply = fixture_spawn(&f, &request);
	cr_assert_eq(reply.error, 0, "%s", reply.text);
	snprintf(path, sizeof(path), "/proc/%d/cgroup", reply.pid);
	cr_assert_eq(io_read_file(AT_FDCWD, path, 4096, &text, &len), 0);
	cr_expect_not_null(strstr(text, reply.cgroup), "%s in %s", reply.cgroup, text);
	cr_expect_eq(strncmp(reply.cgroup, "protect-unit-request/zone-", 26), 0);
	request.op = LAUNCH_UPDATE;
	request.n_fds = 0;
	request.limits.cpu_weight = 200;
	reply = fixture_ask(&f, &request, NULL);
	cr_expect_eq(reply.error, 0, "%s", reply.text);
	uuid_generate(&request.uuid);
	cr_expect_eq(fixture_ask(&f, &request, NULL).error, -ENOENT);
	request.op = LAUNCH_LIST;
	cr_assert_eq(fixture_ask(&f, &request, NULL).error, 0);
	request.uuid = fixture_ask(&f, &request, NULL).uuid;
	cr_expect_eq(fixture_signal(&f, &request.uuid, SIGKILL).error, 0);
	reply = fixture_reap(&f, &request.uuid);
	cr_expect_eq(reply.error, 0, "%s", reply.text);
	cr_expect_eq(reply.oom_kills, 0);
	cr_expect_eq(cgroups_kill(cgroups, &request.uuid), -ENOENT);
	cgroups_close(cgroups);
	cr_expect_eq(system("rmdir /sys/fs/cgroup/protect-unit-request "
			    "/sys/fs/cgroup/*/protect-unit-request 2>/dev/null || true"),
		     0);
	fixture_deinit(&f);
}

Test(launch_request, refuses_wrong_descriptors)
{
	struct launch_request request;
	struct fixture f;

	fixture_init(&f, "sleep");
	request = fixture_request();
	for (unsigned place = 0; place < N_FDS; place++) {
		int fds[N_FDS];

		fixture_open_fds(&f, fds);
		close(fds[place]);
		fds[place] = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		cr_expect_eq(fixture_ask(&f, &request, fds).error, -EINVAL, "place %u", place);
	}
	fixture_deinit(&f);
}

Test(launch_request, one_uid_is_one_zone)
{
	struct launch_request first, second;
	struct launch_reply reply;
	struct fixture f;

	fixture_init(&f, "sleep");
	first = fixture_request();
	second = fixture_request();
	cr_assert_eq(fixture_spawn(&f, &first).error, 0);
	cr_expect_eq(fixture_spawn(&f, &first).error, -EEXIST);
	cr_expect_eq(fixture_spawn(&f, &second).error, -EBUSY);
	second.slot = 2;
	cr_expect_eq(fixture_spawn(&f, &second).error, 0);
	cr_expect_eq(fixture_signal(&f, &first.uuid, SIGKILL).error, 0);
	cr_expect_eq(fixture_signal(&f, &second.uuid, SIGKILL).error, 0);
	reply = fixture_reap(&f, &first.uuid);
	cr_expect(reply.error == 0 && WIFSIGNALED(reply.wait_status) &&
		  WTERMSIG(reply.wait_status) == SIGKILL);
	cr_expect_eq(fixture_reap(&f, &second.uuid).error, 0);
	first.op = LAUNCH_LIST;
	first.n_fds = 0;
	cr_expect_eq(fixture_ask(&f, &first, NULL).error, -ENOENT);
	fixture_deinit(&f);
}

/* As after a restart of protect-launch, when runners are in no list. */
Test(launch_request, a_uid_with_processes_is_no_zones)
{
	struct launch_request request;
	struct launch_reply reply;
	struct fixture f;
	pid_t pid;

	if (geteuid() != 0)
		cr_skip_test("needs root");
	fixture_init(&f, "sleep");
	request = fixture_request();
	pid = fork();
	if (pid == 0) {
		if (setresuid(f.runners.config.uid_base + request.slot, (uid_t)-1, (uid_t)-1) == 0)
			pause();
		_exit(1);
	}
	do {
		reply = fixture_spawn(&f, &request);
		if (reply.error == 0) { /* it had not come so far */
			cr_assert_eq(fixture_signal(&f, &request.uuid, SIGKILL).error, 0);
			cr_assert_eq(fixture_reap(&f, &request.uuid).error, 0);
		}
	} while (reply.error == 0);
	cr_expect_eq(reply.error, -EBUSY);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	cr_expect_eq(fixture_spawn(&f, &request).error, 0);
	cr_expect_eq(fixture_signal(&f, &request.uuid, SIGKILL).error, 0);
	cr_expect_eq(fixture_reap(&f, &request.uuid).error, 0);
	fixture_deinit(&f);
}

Test(launch_request, failing_exec_and_missing_kvm_leave_nothing)
{
	struct launch_request request, list = {.version = LAUNCH_VERSION, .op = LAUNCH_LIST};
	struct launch_reply reply;
	struct fixture f;

	fixture_init(&f, "sleep");
	request = fixture_request();
	f.runners.config.runner = "/proc/version"; /* no program */
	reply = fixture_spawn(&f, &request);
	cr_expect_eq(reply.error, -ENOEXEC);
	cr_expect_not_null(strstr(reply.text, "/proc/version"));
	f.runners.config.runner = LAUNCH_PROBE;
	f.runners.config.kvm = "/nonexistent/kvm";
	reply = fixture_spawn(&f, &request);
	cr_expect_eq(reply.error, -ENOENT);
	cr_expect_not_null(strstr(reply.text, "/nonexistent/kvm"));
	cr_expect_eq(fixture_ask(&f, &list, NULL).error, -ENOENT);
	fixture_deinit(&f);
}
