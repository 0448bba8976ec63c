// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/pcall.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"

struct piece {
	struct piece *next;
	size_t len;
	uint8_t packet[];
};

struct pcall {
	struct hub *hub;
	struct watch *watch;
	struct timer timeout;
	uint64_t timeout_ns;
	pcall_fn *fn;
	void *user;
	int fd, error;
	bool sent;
	struct piece *pieces; /* that could not go yet */
};

struct pcall *pcall_cancel(struct pcall *call)
{
	if (!call)
		return NULL;
	timer_stop(&call->timeout);
	call->watch = watch_free(call->watch);
	close_fdp(&call->fd);
	while (call->pieces) {
		struct piece *piece = call->pieces;

		call->pieces = piece->next;
		free(piece);
	}
	free(call);
	return NULL;
}

static void failed(void *user)
{
	struct pcall *call = user;

	call->fn(call->user, call->error, NULL, 0, NULL, 0);
	pcall_cancel(call);
}

static void timed_out(void *user)
{
	struct pcall *call = user;

	call->error = -ETIMEDOUT;
	failed(call);
}

static void set_timeout(struct pcall *call)
{
	if (call->timeout_ns)
		timer_set(call->hub, &call->timeout, clock_now_ns() + call->timeout_ns, timed_out,
			  call);
}

/* An error shows again when the answer is read. */
static void send_pieces(struct pcall *call)
{
	while (call->pieces) {
		struct piece *piece = call->pieces;

		if (io_send_fds(call->fd, piece->packet, piece->len, NULL, 0, MSG_DONTWAIT) ==
		    -EAGAIN)
			break;
		call->pieces = piece->next;
		free(piece);
	}
	watch_set(call->watch, call->pieces ? POLLIN | POLLOUT : POLLIN);
}

int pcall_send_more(struct pcall *call, const void *packet, size_t len)
{
	struct piece **place = &call->pieces;

	if (call->error < 0)
		return 0; /* its owner is about to be told */
	if (len > PCALL_PACKET_MAX)
		return -EMSGSIZE;
	while (*place)
		place = &(*place)->next;
	*place = calloc(1, sizeof(**place) + len);
	if (!*place)
		return -ENOMEM;
	(*place)->len = len;
	memcpy((*place)->packet, packet, len);
	send_pieces(call);
	return 0;
}

static void readable(void *user, uint32_t events)
{
	_cleanup_(freep) uint8_t *packet = malloc(PCALL_PACKET_MAX);
	struct pcall *call = user;
	int fds[IO_FDS_MAX];
	unsigned n_fds = IO_FDS_MAX;
	ssize_t n = -ENOMEM;
	bool more = false;

	if (events == POLLOUT) {
		send_pieces(call);
		return;
	}
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

static int send_request(struct pcall *call, const char *socket, const void *request, size_t len,
			const int *fds, unsigned n_fds)
{
	ssize_t n;
	int r;

	if (len > PCALL_PACKET_MAX)
		return -EMSGSIZE;
	call->fd = io_unix_connect(socket, SOCK_SEQPACKET | SOCK_NONBLOCK);
	if (call->fd < 0)
		return call->fd;
	/* Before it is sent: what can fail here must not leave a request that is under way. */
	r = watch_new(call->hub, call->fd, readable, call, &call->watch);
	if (r < 0)
		return r;
	n = io_send_fds(call->fd, request, len, fds, n_fds, 0);
	call->sent = n >= 0;
	/* It answered before it was asked, that it cannot serve, or it is gone: reading tells. */
	if (n == -EPIPE)
		return 0;
	return n == (ssize_t)len ? 0 : n < 0 ? (int)n : -EIO;
}

struct pcall *pcall_start(struct hub *hub, const char *socket, const void *request, size_t len,
			  const int *fds, unsigned n_fds, uint64_t timeout_ns, pcall_fn *fn,
			  void *user)
{
	struct pcall *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	*call = (struct pcall){
		.hub = hub, .timeout_ns = timeout_ns, .fn = fn, .user = user, .fd = -1};
	call->error = send_request(call, socket, request, len, fds, n_fds);
	if (call->error < 0) {
		timer_set(hub, &call->timeout, clock_now_ns(), failed, call);
		return call;
	}
	watch_set(call->watch, POLLIN);
	set_timeout(call);
	return call;
}

bool pcall_was_sent(const struct pcall *call)
{
	return call->sent;
}

void pcall_describe(const char *name, const char *socket, int error, char *out, size_t size)
{
	if (error == -EACCES || error == -ENOENT || error == -ECONNREFUSED)
		snprintf(out, size, "%s does not answer at %s; is it running?", name, socket);
	else if (error == -ECONNRESET)
		snprintf(out, size, "%s ended while it was at work; see its log, and try again",
			 name);
	else if (error == -ETIMEDOUT)
		snprintf(out, size, "%s did not answer in time; see its log, and try again", name);
	else
		snprintf(out, size, "%s at %s: %s", name, socket, strerror(-error));
}
