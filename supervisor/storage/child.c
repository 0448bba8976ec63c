// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

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

pid_t child_start(const char *const argv[], int in_fd, int out_fd, int err_fd, struct error *err)
{
	/* A fixed environment: SOURCE_DATE_EPOCH and the like would change what mksquashfs writes.
	 */
	static const char *const environment[] = {"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C",
						  NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	pid_t pid = -1;
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
		r = posix_spawnp(&pid, argv[0], &actions, &attr, (char *const *)(uintptr_t)argv,
				 (char *const *)(uintptr_t)environment);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	if (r)
		return error_set_errno(err, -r, "cannot run %s; install squashfs-tools", argv[0]);
	return pid;
}

int child_wait(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 127;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void child_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	child_wait(pid);
}

int child_output(const char *const argv[], size_t max, char **out, size_t *len, struct error *err)
{
	_cleanup_(close_fdp) int from = -1;
	_cleanup_(close_fdp) int to = -1;
	int pipe_fds[2], r;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return error_set_errno(err, -errno, "cannot make a pipe");
	from = pipe_fds[0];
	to = pipe_fds[1];
	pid = child_start(argv, -1, to, -1, err);
	if (pid < 0)
		return pid;
	close_fdp(&to);
	r = io_read_fd(from, max, out, len);
	if (r < 0) {
		child_kill(pid);
		return error_set_errno(err, r, "cannot read the output of %s", argv[0]);
	}
	return child_wait(pid);
}
