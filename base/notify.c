// SPDX-License-Identifier: Apache-2.0
#include "base/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/util.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */

int notify_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_(close_fdp) int fd = -1;
	size_t len = path ? strlen(path) : 0;

	if (len < 2 || len >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
		return -1;
	memcpy(address.sun_path, path, len);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		return -1;
	return steal_fd(&fd);
}

/*
 * #syscalls loop: sendto(_, _, _, MSG_NOSIGNAL|MSG_DONTWAIT, 0, 0)
 * #syscalls notify: sendto(_, _, _, MSG_NOSIGNAL|MSG_DONTWAIT, 0, 0)
 */
void notify_send(int fd, const char *state)
{
	if (fd >= 0 && send(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return; /* nobody listens any more */
}

/* The value of a variable as a number, 0 for none. */
static uint64_t number(const char *name)
{
	const char *text = getenv(name);
	char *end;
	unsigned long long value;

	if (!text || text[0] < '0' || text[0] > '9')
		return 0;
	errno = 0;
	value = strtoull(text, &end, 10);
	return errno || *end ? 0 : value;
}

/* Whether what such a variable stands beside is for this process, and not for its parent. */
static bool is_for_us(const char *pid_name)
{
	return number(pid_name) == (uint64_t)getpid();
}

uint64_t notify_watchdog_ns(void)
{
	uint64_t ns;

	/* Without a process id it is for whoever reads it (sd_watchdog_enabled(3)). */
	if (getenv("WATCHDOG_PID") && !is_for_us("WATCHDOG_PID"))
		return 0;
	return checked_mul(number("WATCHDOG_USEC"), 500, &ns) ? ns : 0;
}

/* #syscalls notify.listener: getsockopt(_, SOL_SOCKET) fcntl(_, F_SETFD) */
static bool is_listener(int fd, int type)
{
	int listening = 0, domain = 0, actual = 0;
	socklen_t len = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening &&
	       getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &actual, &len) == 0 && actual == type;
}

int notify_listener(int type)
{
	uint64_t n = is_for_us("LISTEN_PID") ? number("LISTEN_FDS") : 0;

	if (n == 0)
		return -ENOENT;
	if (n != 1 || !is_listener(FIRST_FD, type) || fcntl(FIRST_FD, F_SETFD, FD_CLOEXEC) < 0)
		return -EINVAL;
	return FIRST_FD;
}
