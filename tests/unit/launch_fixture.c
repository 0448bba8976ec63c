// SPDX-License-Identifier: Apache-2.0
#include "launch_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/util.h"

#define LOG_MAX 65536

void fixture_init(struct fixture *f, const char *order)
{
	struct runners_config config = {.runner = LAUNCH_PROBE,
					.kvm = "/dev/null",
					.null = open("/dev/null", O_RDWR | O_CLOEXEC),
					.change_ids = geteuid() == 0,
					/* Tests run side by side. */
					.uid_base = 400000u + 16u * ((uid_t)getpid() % 10000u),
					.uid_count = 4};

	if (config.change_ids)
		cr_assert_eq(setgroups(0, NULL), 0); /* as protect-launch does */
	memset(f, 0, sizeof(*f));
	f->order = order;
	strcpy(f->dir, "/tmp/launch-test-XXXXXX");
	cr_assert_not_null(mkdtemp(f->dir));
	snprintf(f->socket, sizeof(f->socket), "%s/socket", f->dir);
	snprintf(f->log, sizeof(f->log), "%s/log", f->dir);
	snprintf(f->exit, sizeof(f->exit), "%s/exit", f->dir);
	cr_assert_eq(runners_init(&f->runners, &config), 0);
}

void fixture_deinit(struct fixture *f)
{
	close(f->runners.config.null);
	runners_deinit(&f->runners);
	unlink(f->socket);
	unlink(f->log);
	unlink(f->exit);
	rmdir(f->dir);
}

struct launch_request fixture_request(void)
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

void fixture_open_fds(struct fixture *f, int fds[static N_FDS])
{
	fds[LAUNCH_PLACE_SPEC] = memfd_create("spec", MFD_CLOEXEC);
	cr_assert_eq(io_write_full(fds[LAUNCH_PLACE_SPEC], f->order, strlen(f->order)), 0);
	fds[LAUNCH_PLACE_SOCKET] = io_unix_listen(f->socket, SOCK_STREAM, 0600);
	fds[LAUNCH_PLACE_EXIT] = open(f->exit, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	fds[LAUNCH_PLACE_LOG] = open(f->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	fds[LAUNCH_PLACE_FILES] = memfd_create("kernel", MFD_CLOEXEC);
}

struct launch_reply fixture_ask(struct fixture *f, const struct launch_request *request, int *fds)
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

struct launch_reply fixture_spawn(struct fixture *f, const struct launch_request *request)
{
	int fds[N_FDS];

	fixture_open_fds(f, fds);
	return fixture_ask(f, request, fds);
}

struct launch_reply fixture_signal(struct fixture *f, const struct uuid *uuid, unsigned signal)
{
	const struct launch_request request = {
		.version = LAUNCH_VERSION, .op = LAUNCH_SIGNAL, .uuid = *uuid, .signal = signal};

	return fixture_ask(f, &request, NULL);
}

struct launch_reply fixture_reap(struct fixture *f, const struct uuid *uuid)
{
	const struct launch_request request = {
		.version = LAUNCH_VERSION, .op = LAUNCH_REAP, .uuid = *uuid};
	struct launch_reply reply;

	for (unsigned i = 0; i < 500; i++) {
		reply = fixture_ask(f, &request, NULL);
		if (reply.error != -EBUSY)
			break;
		usleep(10000);
	}
	return reply;
}

char *fixture_log(const struct fixture *f)
{
	char *log;
	size_t len;

	cr_assert_eq(io_read_file(AT_FDCWD, f->log, LOG_MAX, &log, &len), 0);
	return log;
}
