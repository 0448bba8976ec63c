// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/pcall.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"

struct pcall {
	struct hub *hub;
	struct watch *watch;
	struct timer timeout;
	uint64_t timeout_ns;
	pcall_fn *fn;
	void *user;
	int fd;
};

struct pcall *pcall_cancel(struct pcall *call)
{
	if (!call)
		return NULL;
	timer_stop(&call->timeout);
	call->watch = watch_free(call->watch);
	close_fdp(&call->fd);
	free(call);
	return NULL;
}

static void timed_out(void *user)
{
	struct pcall *call = user;

	call->fn(call->user, -ETIMEDOUT, NULL, 0, NULL, 0);
	pcall_cancel(call);
}

static void set_timeout(struct pcall *call)
{
	if (call->timeout_ns)
		timer_set(call->hub, &call->timeout, clock_now_ns() + call->timeout_ns, timed_out,
			  call);
}

static void readable(void *user, uint32_t events)
{
	_cleanup_(freep) uint8_t *packet = malloc(PCALL_PACKET_MAX);
	struct pcall *call = user;
	int fds[IO_FDS_MAX];
	unsigned n_fds = IO_FDS_MAX;
	ssize_t n = -ENOMEM;
	bool more = false;

	(void)events;
	if (packet)
		n = io_recv_fds(call->fd, packet, PCALL_PACKET_MAX, fds, &n_fds, MSG_DONTWAIT);
	if (n == -EAGAIN)
		return;
	if (n <= 0)
		call->fn(call->user, n < 0 ? (int)n : -ECONNRESET, NULL, 0, NULL, 0);
	else
		more = call->fn(call->user, 0, packet, (size_t)n, fds, n_fds);
	if (more)
		set_timeout(call);
	else
		pcall_cancel(call);
}

int pcall_start(struct hub *hub, const char *socket, const void *request, size_t len,
		const int *fds, unsigned n_fds, uint64_t timeout_ns, pcall_fn *fn, void *user,
		struct pcall **out)
{
	_cleanup_(close_fdp) int fd = io_unix_connect(socket, SOCK_SEQPACKET | SOCK_NONBLOCK);
	struct pcall *call;
	ssize_t n;
	int r;

	if (fd < 0)
		return fd;
	n = io_send_fds(fd, request, len, fds, n_fds, 0);
	if (n != (ssize_t)len)
		return n < 0 ? (int)n : -EIO;
	call = calloc(1, sizeof(*call));
	if (!call)
		return -ENOMEM;
	call->hub = hub;
	call->timeout_ns = timeout_ns;
	call->fn = fn;
	call->user = user;
	r = watch_new(hub, fd, readable, call, &call->watch);
	if (r < 0) {
		free(call);
		return r;
	}
	call->fd = steal_fd(&fd);
	watch_set(call->watch, POLLIN);
	set_timeout(call);
	*out = call;
	return 0;
}
