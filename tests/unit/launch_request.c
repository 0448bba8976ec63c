// SPDX-License-Identifier: Apache-2.0
/*
 * Requests to protect-launch: bad ones are refused whole, good ones start a runner (here a shell
 * script that tells what it finds), and what is started can be signalled and reaped. Runs as any
 * user; the change of ids is tested when that is root.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "supervisor/launch/launch.h"
#include "supervisor/launch/runners.h"

UNIT_SUITE(launch_request);

#define N_FDS 5u

struct fixture {
	struct runners runners;
	char dir[32], runner[64], socket[64], log[64], exit[64];
};

static void setup(struct fixture *f, const char *script)
{
	struct runners_config config = {.runner = f->runner,
					.kvm = "/dev/null",
					.null = open("/dev/null", O_RDWR | O_CLOEXEC),
					.change_ids = geteuid() == 0,
					/* Tests run side by side. */
					.uid_base = 400000u + 16u * ((uid_t)getpid() % 10000u),
					.uid_count = 4};
	int fd;

	memset(f, 0, sizeof(*f));
	strcpy(f->dir, "/tmp/launch-test-XXXXXX");
	cr_assert_not_null(mkdtemp(f->dir));
	cr_assert_eq(chmod(f->dir, 0755), 0);
	snprintf(f->runner, sizeof(f->runner), "%s/runner", f->dir);
	snprintf(f->socket, sizeof(f->socket), "%s/socket", f->dir);
	snprintf(f->log, sizeof(f->log), "%s/log", f->dir);
	snprintf(f->exit, sizeof(f->exit), "%s/exit", f->dir);
	fd = open(f->runner, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	cr_assert_eq(io_write_full(fd, script, strlen(script)), 0);
	close(fd);
	cr_assert_eq(runners_init(&f->runners, &config), 0);
}

static void teardown(struct fixture *f)
{
	close(f->runners.config.null);
	runners_deinit(&f->runners);
	unlink(f->runner);
	unlink(f->socket);
	unlink(f->log);
	unlink(f->exit);
	rmdir(f->dir);
}

static struct launch_request good_request(void)
{
	struct launch_request request = {.version = LAUNCH_VERSION,
					 .op = LAUNCH_SPAWN,
					 .limits.memory_bytes = 256 * MIB,
					 .slot = 1,
					 .limits.cpu_weight = 100,
					 .n_fds = N_FDS};

	uuid_generate(&request.uuid);
	return request;
}

static void open_fds(struct fixture *f, int fds[static N_FDS])
{
	fds[LAUNCH_PLACE_SPEC] = memfd_create("spec", MFD_CLOEXEC);
	fds[LAUNCH_PLACE_SOCKET] = io_unix_listen(f->socket, SOCK_STREAM, 0600);
	fds[LAUNCH_PLACE_EXIT] = open(f->exit, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	fds[LAUNCH_PLACE_LOG] = open(f->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	fds[LAUNCH_PLACE_FILES] = memfd_create("kernel", MFD_CLOEXEC);
}

static struct launch_reply ask(struct fixture *f, const struct launch_request *request, int *fds)
{
	struct launch_reply reply;
	int pidfd;

	runners_request(&f->runners, request, sizeof(*request), fds, request->n_fds, &reply,
			&pidfd);
	cr_expect_eq(pidfd >= 0, request->op == LAUNCH_SPAWN && reply.error == 0);
	if (pidfd >= 0)
		close(pidfd);
	return reply;
}

static struct launch_reply spawn(struct fixture *f, const struct launch_request *request)
{
	int fds[N_FDS];

	open_fds(f, fds);
	return ask(f, request, fds);
}

static struct launch_reply reap(struct fixture *f, const struct uuid *uuid)
{
	struct launch_request request = {
		.version = LAUNCH_VERSION, .op = LAUNCH_REAP, .uuid = *uuid};
	struct launch_reply reply;

	for (unsigned i = 0; i < 500; i++) {
		reply = ask(f, &request, NULL);
		if (reply.error != -EBUSY)
			break;
		usleep(10000);
	}
	return reply;
}

static const char sleeping[] = "#!/bin/sh\nexec sleep 1000\n";
/* The numbers above 8 that may stand here are the shell's own. */
static const char telling[] =
	"#!/bin/sh\n"
	"id -u; id -g; id -G; env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= | wc -l\n"
	"for n in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$n ] && echo fd $n; done\n"
	"grep -e CapEff -e CapPrm -e CapBnd -e CapAmb -e NoNewPrivs /proc/$$/status\n"
	"echo \"$@\"; exit 7\n";

Test(launch_request, refuses_what_is_out_of_range)
{
	struct fixture f;
	struct launch_request good, bad;
	struct launch_reply reply;
	int pidfd;

	setup(&f, sleeping);
	good = good_request();
	bad = good, bad.version = 9;
	cr_expect_eq(spawn(&f, &bad).error, -EPROTO);
	bad = good, bad.op = 99;
	cr_expect_eq(spawn(&f, &bad).error, -EINVAL);
	bad = good, bad.slot = 4;
	cr_expect_eq(spawn(&f, &bad).error, -EINVAL);
	bad = good, bad.limits.memory_bytes = 1;
	cr_expect_eq(spawn(&f, &bad).error, -EINVAL);
	bad = good, bad.limits.memory_bytes = UINT64_MAX;
	cr_expect_eq(spawn(&f, &bad).error, -EINVAL);
	bad = good, bad.limits.cpu_weight = 0;
	cr_expect_eq(spawn(&f, &bad).error, -EINVAL);
	bad = good, bad.limits.cpu_quota_us = 1;
	cr_expect_eq(spawn(&f, &bad).error, -EINVAL);
	bad = good, bad.op = LAUNCH_SIGNAL, bad.n_fds = 0, bad.signal = SIGSTOP;
	cr_expect_eq(ask(&f, &bad, NULL).error, -EINVAL);
	bad.signal = SIGKILL;
	cr_expect_eq(ask(&f, &bad, NULL).error, -ENOENT);
	cr_expect_eq(reap(&f, &good.uuid).error, -ENOENT);
	runners_request(&f.runners, &good, sizeof(good) - 1, NULL, 0, &reply, &pidfd);
	cr_expect_eq(reply.error, -EMSGSIZE);
	cr_expect_neq(reply.text[0], '\0');
	teardown(&f);
}

Test(launch_request, refuses_wrong_descriptors)
{
	struct launch_request request;
	struct fixture f;

	setup(&f, sleeping);
	request = good_request();
	for (unsigned place = 0; place < N_FDS; place++) {
		int fds[N_FDS];

		open_fds(&f, fds);
		close(fds[place]);
		fds[place] = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		cr_expect_eq(ask(&f, &request, fds).error, -EINVAL, "place %u", place);
	}
	teardown(&f);
}

Test(launch_request, runner_finds_what_the_contract_says)
{
	_cleanup_(freep) char *log = NULL;
	struct launch_request request;
	struct launch_reply reply;
	struct fixture f;
	size_t len;

	setup(&f, telling);
	request = good_request();
	reply = spawn(&f, &request);
	cr_assert_eq(reply.error, 0, "%s", reply.text);
	reply = reap(&f, &request.uuid);
	cr_assert_eq(reply.error, 0, "%s", reply.text);
	cr_expect(WIFEXITED(reply.wait_status) && WEXITSTATUS(reply.wait_status) == 7);
	cr_assert_eq(io_read_file(AT_FDCWD, f.log, 4096, &log, &len), 0);
	cr_expect_not_null(strstr(log, "fd 3\nfd 4\nfd 5\nfd 6\nfd 7\n"), "%s", log);
	cr_expect_null(strstr(log, "fd 8"), "%s", log);
	cr_expect_not_null(strstr(log, "--kvm-fd 3 --spec-fd 4\n"), "%s", log);
	cr_expect_not_null(strstr(log, "NoNewPrivs:\t1"), "%s", log);
	cr_expect_not_null(strstr(log, "CapEff:\t0000000000000000"), "%s", log);
	if (geteuid() == 0) {
		char ids[64];
		unsigned id = f.runners.config.uid_base + 1;

		snprintf(ids, sizeof(ids), "%u\n%u\n%u\n0\n", id, id, id);
		cr_expect_eq(strncmp(log, ids, strlen(ids)), 0, "%s", log);
		cr_expect_not_null(strstr(log, "CapBnd:\t0000000000000000"), "%s", log);
	}
	teardown(&f);
}

Test(launch_request, one_uid_is_one_zone)
{
	struct launch_request first, second;
	struct launch_reply reply;
	struct fixture f;

	setup(&f, sleeping);
	first = good_request();
	second = good_request();
	cr_assert_eq(spawn(&f, &first).error, 0);
	cr_expect_eq(spawn(&f, &first).error, -EEXIST);
	cr_expect_eq(spawn(&f, &second).error, -EBUSY);
	second.slot = 2;
	cr_expect_eq(spawn(&f, &second).error, 0);
	first.op = second.op = LAUNCH_SIGNAL;
	first.n_fds = second.n_fds = 0;
	first.signal = second.signal = SIGKILL;
	cr_expect_eq(ask(&f, &first, NULL).error, 0);
	cr_expect_eq(ask(&f, &second, NULL).error, 0);
	reply = reap(&f, &first.uuid);
	cr_expect(reply.error == 0 && WIFSIGNALED(reply.wait_status) &&
		  WTERMSIG(reply.wait_status) == SIGKILL);
	cr_expect_eq(reap(&f, &second.uuid).error, 0);
	first.op = LAUNCH_LIST;
	cr_expect_eq(ask(&f, &first, NULL).error, -ENOENT);
	teardown(&f);
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
	setup(&f, sleeping);
	request = good_request();
	pid = fork();
	if (pid == 0) {
		if (setresuid(f.runners.config.uid_base + request.slot, (uid_t)-1, (uid_t)-1) == 0)
			pause();
		_exit(1);
	}
	do {
		reply = spawn(&f, &request);
		if (reply.error == 0) { /* it had not come so far */
			struct launch_request end = {.version = LAUNCH_VERSION,
						     .op = LAUNCH_SIGNAL,
						     .uuid = request.uuid,
						     .signal = SIGKILL};

			cr_assert_eq(ask(&f, &end, NULL).error, 0);
			cr_assert_eq(reap(&f, &request.uuid).error, 0);
		}
	} while (reply.error == 0);
	cr_expect_eq(reply.error, -EBUSY);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	cr_expect_eq(spawn(&f, &request).error, 0);
	request.op = LAUNCH_SIGNAL;
	request.n_fds = 0;
	request.signal = SIGKILL;
	cr_expect_eq(ask(&f, &request, NULL).error, 0);
	cr_expect_eq(reap(&f, &request.uuid).error, 0);
	teardown(&f);
}

Test(launch_request, failing_exec_and_missing_kvm_leave_nothing)
{
	struct launch_request request, list = {.version = LAUNCH_VERSION, .op = LAUNCH_LIST};
	struct launch_reply reply;
	struct fixture f;

	setup(&f, "not a program");
	request = good_request();
	reply = spawn(&f, &request);
	cr_expect_eq(reply.error, -ENOEXEC);
	cr_expect_not_null(strstr(reply.text, f.runner));
	f.runners.config.kvm = "/nonexistent/kvm";
	reply = spawn(&f, &request);
	cr_expect_eq(reply.error, -ENOENT);
	cr_expect_not_null(strstr(reply.text, "/nonexistent/kvm"));
	cr_expect_eq(ask(&f, &list, NULL).error, -ENOENT);
	teardown(&f);
}
