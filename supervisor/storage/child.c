// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "supervisor/storage/helper.h"

static int helper_socket = -1; /* set before the first thread, then only read */

void child_use_helper(int socket)
{
	helper_socket = socket;
}

static int add_fd(posix_spawn_file_actions_t *actions, int fd, int as)
{
	if (fd >= 0)
		return posix_spawn_file_actions_adddup2(actions, fd, as);
	return posix_spawn_file_actions_addopen(actions, as, "/dev/null", O_RDWR, 0);
}

/* The daemon ignores SIGPIPE and blocks SIGTERM; a helper program must do neither. */
static int set_signals(posix_spawnattr_t *attr)
{
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(attr, &none);
	posix_spawnattr_setsigdefault(attr, &all);
	return posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

static int spawn(struct child *child, const char *const argv[], int in_fd, int out_fd, int err_fd)
{
	/* A fixed environment: SOURCE_DATE_EPOCH and the like would change what mksquashfs writes.
	 */
	static const char *const environment[] = {"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C",
						  NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	r = set_signals(&attr);
	if (r == 0)
		r = add_fd(&actions, in_fd, 0);
	if (r == 0)
		r = add_fd(&actions, out_fd, 1);
	if (r == 0)
		r = add_fd(&actions, err_fd, 2);
	if (r == 0)
		r = posix_spawnp(&child->pid, argv[0], &actions, &attr,
				 (char *const *)(uintptr_t)argv,
				 (char *const *)(uintptr_t)environment);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* Returns the packet's length, 0 if it has no room. */
static size_t write_request(struct helper_request *request, const char *const argv[])
{
	size_t used = 0;

	request->n_args = 0;
	for (; argv[request->n_args]; request->n_args++) {
		size_t len = strlen(argv[request->n_args]) + 1;

		if (request->n_args == HELPER_ARGS_MAX || len > sizeof(request->args) - used)
			return 0;
		memcpy(request->args + used, argv[request->n_args], len);
		used += len;
	}
	return offsetof(struct helper_request, args) + used;
}

/* #syscalls storage: openat socketpair(AF_UNIX) sendmsg close */
static int ask(struct child *child, const char *const argv[], int in_fd, int out_fd, int err_fd)
{
	_cleanup_(close_fdp) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_(close_fdp) int ours = -1;
	_cleanup_(close_fdp) int theirs = -1;
	struct helper_request request;
	size_t len = write_request(&request, argv);
	int ends[2];
	ssize_t n;

	if (len == 0)
		return -E2BIG;
	if (null < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	ours = ends[0];
	theirs = ends[1];
	n = io_send_fds(helper_socket, &request, len,
			(const int[]){in_fd < 0 ? null : in_fd, out_fd < 0 ? null : out_fd,
				      err_fd < 0 ? null : err_fd, theirs},
			4, MSG_NOSIGNAL);
	if (n < 0)
		return (int)n;
	child->answer = steal_fd(&ours);
	return 0;
}

int child_start(struct child *child, const char *const argv[], int in_fd, int out_fd, int err_fd,
		struct error *err)
{
	int r;

	*child = (struct child){.pid = -1, .answer = -1};
	r = helper_socket < 0 ? spawn(child, argv, in_fd, out_fd, err_fd)
			      : ask(child, argv, in_fd, out_fd, err_fd);

	return r < 0 ? error_set_errno(err, r, "cannot run %s", argv[0]) : 0;
}

/* #syscalls storage: recvfrom */
static int hear(struct child *child)
{
	int32_t status = CHILD_NOT_RUN;
	ssize_t n;

	do
		n = recv(child->answer, &status, sizeof(status), 0);
	while (n < 0 && errno == EINTR);
	close_fdp(&child->answer);
	return n == (ssize_t)sizeof(status) && status >= 0 ? status : CHILD_NOT_RUN;
}

int child_wait(struct child *child)
{
	int status = 0;

	if (child->pid < 0)
		return hear(child);
	while (waitpid(child->pid, &status, 0) < 0)
		if (errno != EINTR)
			return CHILD_NOT_RUN;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* The keeper of a helper's child kills it when nobody waits any more, and then says so. */
void child_kill(struct child *child)
{
	if (child->pid < 0)
		shutdown(child->answer, SHUT_WR);
	else
		kill(child->pid, SIGKILL);
	child_wait(child);
}

int child_output(const char *const argv[], size_t max, char **out, size_t *len, struct error *err)
{
	_cleanup_(close_fdp) int from = -1;
	_cleanup_(close_fdp) int to = -1;
	struct child child;
	int pipe_fds[2], r;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return error_set_errno(err, -errno, "cannot make a pipe");
	from = pipe_fds[0];
	to = pipe_fds[1];
	r = child_start(&child, argv, -1, to, -1, err);
	if (r < 0)
		return r;
	close_fdp(&to);
	r = io_read_fd(from, max, out, len);
	if (r < 0) {
		child_kill(&child);
		return error_set_errno(err, r, "cannot read the output of %s", argv[0]);
	}
	return child_wait(&child);
}
