// SPDX-License-Identifier: Apache-2.0
#include "virtio/vsock_line.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void remove_at(struct vsock_line *line, unsigned at)
{
	line->n--;
	memmove(&line->waiting[at], &line->waiting[at + 1],
		(line->n - at) * sizeof(line->waiting[0]));
}

/* #syscalls loop: sendto(_, _, _, MSG_NOSIGNAL|MSG_DONTWAIT, 0, 0) close */
/* Sending nothing fails once the other end is closed, but not when that only sends no more. */
static bool is_gone(int fd)
{
	return send(fd, "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN;
}

static void drop_gone(struct vsock_line *line)
{
	for (unsigned i = line->n; i-- > 0;)
		if (is_gone(line->waiting[i].fd)) {
			close(line->waiting[i].fd);
			remove_at(line, i);
		}
}

int vsock_line_add(struct vsock_line *line, uint32_t port, int fd)
{
	if (line->n == VSOCK_LINE_MAX)
		drop_gone(line);
	if (line->n == VSOCK_LINE_MAX)
		return -EUSERS;
	line->waiting[line->n].port = port;
	line->waiting[line->n].fd = fd;
	line->n++;
	return 0;
}

bool vsock_line_has(struct vsock_line *line, uint32_t port)
{
	drop_gone(line);
	for (unsigned i = 0; i < line->n; i++)
		if (line->waiting[i].port == port)
			return true;
	return false;
}

int vsock_line_take(struct vsock_line *line, uint32_t port)
{
	drop_gone(line);
	for (unsigned i = 0; i < line->n; i++) {
		int fd = line->waiting[i].fd;

		if (line->waiting[i].port != port)
			continue;
		remove_at(line, i);
		return fd;
	}
	return -1;
}

void vsock_line_close(struct vsock_line *line)
{
	while (line->n > 0)
		close(line->waiting[--line->n].fd);
}
