// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/storage/child.h"
#include "supervisor/storage/filters.h"

/*
 * Where the program lies open when it is executed, and as many descriptors as it may then have: so
 * this number is never again one of a file, and execveat(2), which the filter allows for this
 * number alone, is over with the first.
 */
#define PROGRAM_FD 256
#define SOCKET_FD  3
#define N_FDS	   4u
#define ANSWER	   3u

static const char *const programs[] = {"mksquashfs", "unsquashfs"};
static const char *const folders[] = {"/usr/bin", "/bin", "/usr/sbin", "/sbin"};

static int open_program(const char *name)
{
	char path[64];
	int fd = -ENOENT;

	if (strchr(name, '/')) {
		fd = open(name, O_RDONLY | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(folders) && fd < 0; i++) {
		snprintf(path, sizeof(path), "%s/%s", folders[i], name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

/* Default signals, none blocked, three descriptors and no more than PROGRAM_FD. */
static int prepare_program(const int *fds, int program)
{
	const struct rlimit files = {.rlim_cur = PROGRAM_FD, .rlim_max = PROGRAM_FD};
	sigset_t none;

	sigemptyset(&none);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	if (sigprocmask(SIG_SETMASK, &none, NULL) < 0 || dup3(program, PROGRAM_FD, O_CLOEXEC) < 0 ||
	    setrlimit(RLIMIT_NOFILE, &files) < 0)
		return -errno;
	for (int i = 0; i < (int)ANSWER; i++)
		if (dup2(fds[i], i) < 0)
			return -errno;
	return syscall(SYS_close_range, ANSWER, (unsigned)PROGRAM_FD - 1, 0) < 0 ? -errno : 0;
}

_Noreturn static void become_program(char *const argv[], const int *fds, int program)
{
	/* Fixed: SOURCE_DATE_EPOCH and the like would change what mksquashfs writes. */
	static char path[] = "PATH=/usr/bin:/bin:/usr/sbin:/sbin", locale[] = "LC_ALL=C";
	char *const environment[] = {path, locale, NULL};

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && prepare_program(fds, program) == 0 &&
	    filters_confine_program() == 0)
		syscall(SYS_execveat, PROGRAM_FD, "", argv, environment, AT_EMPTY_PATH);
	_exit(CHILD_NOT_RUN);
}

/* Waits until the program or the caller's interest has ended. */
static int32_t mind(pid_t pid, int answer)
{
	_cleanup_(close_fdp) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd polls[] = {{.fd = pidfd, .events = POLLIN}, {.fd = answer, .events = POLLIN}};
	int status = 0;

	if (pidfd >= 0)
		while (poll(polls, ARRAY_SIZE(polls), -1) < 0 && errno == EINTR)
			;
	if (pidfd < 0 || !polls[0].revents)
		kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* #syscalls helper: openat dup2 dup3 prlimit64 close_range close pidfd_open poll wait4
 *	kill(_, SIGKILL) execveat(256, _, _, _, AT_EMPTY_PATH) prctl(PR_SET_PDEATHSIG, SIGKILL) */
_Noreturn static void keep_program(char *const argv[], const int *fds)
{
	_cleanup_(close_fdp) int program = open_program(argv[0]);
	int32_t status = program;
	pid_t pid;

	signal(SIGCHLD, SIG_DFL);
	if (program >= 0) {
		pid = fork();
		if (pid == 0)
			become_program(argv, fds, program);
		status = pid < 0 ? -errno : 0;
		for (unsigned i = 0; i < ANSWER; i++)
			close(fds[i]);
		if (pid > 0)
			status = mind(pid, fds[ANSWER]);
	}
	(void)!send(fds[ANSWER], &status, sizeof(status), MSG_NOSIGNAL);
	_exit(0);
}

static bool split(struct helper_request *request, size_t len, const char *mkfs, char **argv)
{
	char *at = request->args, *end = request->args + len;

	if (request->n_args == 0 || request->n_args > HELPER_ARGS_MAX)
		return false;
	for (uint32_t i = 0; i < request->n_args; i++) {
		char *nul = memchr(at, '\0', (size_t)(end - at));

		if (!nul)
			return false;
		argv[i] = at;
		at = nul + 1;
	}
	argv[request->n_args] = NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(programs); i++)
		if (strcmp(argv[0], programs[i]) == 0)
			return true;
	return strcmp(argv[0], mkfs) == 0;
}

/* #syscalls helper: recvmsg sendto(_, _, _, MSG_NOSIGNAL, 0, 0) close
 *	clone(CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD) */
static bool serve(int socket, const char *mkfs)
{
	struct helper_request request;
	char *argv[HELPER_ARGS_MAX + 1];
	int fds[IO_FDS_MAX];
	unsigned n_fds = IO_FDS_MAX;
	ssize_t n = io_recv_fds(socket, &request, sizeof(request), fds, &n_fds, 0);
	const size_t head = offsetof(struct helper_request, args);

	if (n <= 0)
		return n == -EINTR;
	/* One that is not understood gets no answer but the end of its socket. */
	if ((size_t)n > head && n_fds == N_FDS && split(&request, (size_t)n - head, mkfs, argv) &&
	    fork() == 0) {
		close(socket);
		keep_program(argv, fds);
	}
	while (n_fds)
		close(fds[--n_fds]);
	return true;
}

_Noreturn static void run(int socket, const char *mkfs)
{
	int r;

	prctl(PR_SET_NAME, "storage-helper");
	/* SIGTERM and SIGINT stay blocked: its end is that of its socket. What else is open, as
	 * systemd's listener, is not for it. */
	if (dup2(socket, SOCKET_FD) < 0 || syscall(SYS_close_range, SOCKET_FD + 1, ~0u, 0) < 0)
		_exit(EXIT_FAILURE);
	socket = SOCKET_FD;
	signal(SIGCHLD, SIG_IGN); /* keepers are nobody's to wait for */
	r = filters_confine_helper();
	if (r < 0)
		log_error("storage: no filter for the helper err=\"%s\"", strerror(-r));
	else
		while (serve(socket, mkfs))
			;
	_exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

int helper_start(const char *mkfs)
{
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		run(ends[1], mkfs);
	}
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return -ENOMEM;
	}
	return ends[0];
}
