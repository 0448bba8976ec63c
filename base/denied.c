// SPDX-License-Identifier: Apache-2.0
#include "base/denied.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* of <asm-generic/siginfo.h>; glibc has no name for it */
#endif

/* What the handler works with; set once, before there is a filter. A handler has no context. */
static const char *service_name;
static int record_fd = -1;

/* Nothing that could allocate or lock: the signal comes in the middle of anything. */
static size_t append(char *line, size_t len, size_t size, const char *text)
{
	while (*text && len < size)
		line[len++] = *text++;
	return len;
}

static size_t append_number(char *line, size_t len, size_t size, unsigned n)
{
	char digits[12] = "";
	size_t at = sizeof(digits) - 1;

	do
		digits[--at] = (char)('0' + n % 10);
	while ((n /= 10));
	return append(line, len, size, digits + at);
}

static void say(unsigned call)
{
	char line[160];
	size_t len = append(line, 0, sizeof(line), "error service=");

	len = append(line, len, sizeof(line), service_name);
	len = append(line, len, sizeof(line), " syscall=");
	len = append_number(line, len, sizeof(line), call);
	len = append(line, len, sizeof(line),
		     " err=\"its filter denies this call; the process is killed\"\n");
	(void)!write(STDERR_FILENO, line, len);
	len = append_number(line, 0, sizeof(line), call);
	len = append(line, len, sizeof(line), "\n");
	(void)!write(record_fd, line, len);
}

/*
 * #syscalls denied: write getpid gettid
 *
 * Whether a filter sent it or somebody else: the last call, which every filter denies, is the end.
 */
static void got_sigsys(int signal_number, siginfo_t *info, void *context)
{
	(void)context;
	if (info->si_code == SYS_SECCOMP)
		say((unsigned)info->si_syscall);
	syscall(SYS_tgkill, getpid(), gettid(), signal_number);
	_exit(128 + signal_number);
}

void denied_path(const char *beside, char *out, unsigned long size)
{
	const char *slash = strrchr(beside, '/');

	snprintf(out, size, "%.*s" DENIED_FILE, slash ? (int)(slash - beside) + 1 : 0, beside);
}

void denied_watch(const char *service, const char *beside)
{
	struct sigaction action = {.sa_sigaction = got_sigsys,
				   .sa_flags = SA_SIGINFO | (int)SA_RESETHAND | SA_NODEFER};
	char path[256];
	struct stat st;

	service_name = service;
	denied_path(beside, path, sizeof(path));
	record_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (record_fd >= 0) {
		/* The daemon reads it, whatever the umask. */
		(void)!fchmod(record_fd, 0644);
		if (fstat(record_fd, &st) == 0 && st.st_size > (off_t)DENIED_BYTES_MAX / 2)
			(void)!ftruncate(record_fd, 0);
	}
	sigemptyset(&action.sa_mask);
	sigaction(SIGSYS, &action, NULL);
}
