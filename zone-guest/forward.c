// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "zone-guest/agent.h"

#define WINDOW	   (64u * 1024)
#define CHUNK	   (32u * 1024)
#define TURN_READS 4u

struct buffer {
	uint8_t bytes[WINDOW];
	size_t start, end;
};

struct forward {
	struct zone *zone;
	struct idm_stream *stream;
	struct reactor_watch watch; /* fd is owned */
	uint64_t request;	    /* not answered yet; 0 = it is */
	bool peer_ended;	    /* the host sends no more */
	bool shut;		    /* nor do we, to the socket */
	bool eof;		    /* the socket sends no more */
	bool ended;		    /* nor do we, to the host */
	struct buffer in;	    /* from the host */
	struct buffer out;	    /* to it; start > 0 only while it does not take more */
};

static void forward_free(struct forward *forward)
{
	int fd = forward->watch.fd;

	reactor_unwatch(&forward->zone->reactor, &forward->watch);
	close_fdp(&fd);
	forward->zone->n_forwards--;
	free(forward);
}

/* Neither way goes on. */
static void give_up(struct forward *forward, int error)
{
	char text[80];

	if (forward->request) {
		snprintf(text, sizeof(text), "no connection in the zone: %s", strerror(-error));
		agent_reply_error(forward->zone, forward->request, error, text);
	}
	if (forward->stream)
		idm_stream_reset(forward->stream, error);
	forward_free(forward);
}

/* Returns 0 or a negative errno: the socket is of no use any more. */
static int to_socket(struct forward *forward)
{
	struct buffer *in = &forward->in;

	while (in->start < in->end) {
		ssize_t n = send(forward->watch.fd, in->bytes + in->start, in->end - in->start,
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		in->start += (size_t)n;
		if (forward->stream)
			idm_stream_consumed(forward->stream, (size_t)n);
	}
	in->start = in->end = 0;
	if (forward->peer_ended && !forward->shut) {
		forward->shut = true;
		shutdown(forward->watch.fd, SHUT_WR);
	}
	return 0;
}

/* Writes what was read. Returns whether all of it was taken. */
static bool to_stream(struct forward *forward)
{
	struct buffer *out = &forward->out;

	out->start +=
		idm_stream_write(forward->stream, out->bytes + out->start, out->end - out->start);
	if (out->start < out->end)
		return false;
	out->start = out->end = 0;
	return true;
}

static void end_stream(struct forward *forward)
{
	struct idm_stream *stream = forward->stream;

	forward->ended = true;
	if (forward->peer_ended)
		forward->stream = NULL; /* both have ended: the session frees it */
	idm_stream_end(stream);
}

static int from_socket(struct forward *forward)
{
	for (unsigned i = 0; i < TURN_READS && !forward->eof && to_stream(forward); i++) {
		ssize_t n = recv(forward->watch.fd, forward->out.bytes, CHUNK, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		forward->eof = n == 0;
		forward->out.end = (size_t)n;
	}
	if (to_stream(forward) && forward->eof && !forward->ended)
		end_stream(forward);
	return 0;
}

/* Moves what can move. forward may be gone after it. */
static void pump(struct forward *forward)
{
	uint32_t events = 0;
	int r = to_socket(forward);

	if (r == 0 && !forward->ended)
		r = from_socket(forward);
	if (r < 0) {
		give_up(forward, r);
		return;
	}
	if (forward->ended && forward->shut) {
		forward_free(forward);
		return;
	}
	if (!forward->eof && forward->out.start == forward->out.end)
		events |= EPOLLIN;
	if (forward->in.start < forward->in.end)
		events |= EPOLLOUT;
	reactor_rewatch(&forward->zone->reactor, &forward->watch, events);
}

static void on_ready(struct reactor_watch *watch, uint32_t events)
{
	struct forward *forward = container_of(watch, struct forward, watch);
	socklen_t len = sizeof(int);
	int error = 0;

	(void)events;
	if (forward->request) {
		if (getsockopt(watch->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
			error = errno;
		if (error) {
			give_up(forward, -error);
			return;
		}
		agent_reply(forward->zone, forward->request, NULL);
		forward->request = 0;
	}
	pump(forward);
}

static void on_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	struct forward *forward = user;
	struct buffer *in = &forward->in;

	(void)stream;
	if (in->end + len > sizeof(in->bytes)) {
		memmove(in->bytes, in->bytes + in->start, in->end - in->start);
		in->end -= in->start;
		in->start = 0;
	}
	memcpy(in->bytes + in->end, data, len); /* fits: no more than the window is unconsumed */
	in->end += len;
	if (!forward->request)
		reactor_rewatch(&forward->zone->reactor, &forward->watch,
				forward->watch.events | EPOLLOUT);
}

static void on_writable(void *user, struct idm_stream *stream)
{
	struct forward *forward = user;

	(void)stream;
	if (!forward->request)
		pump(forward);
}

static void on_closed(void *user, struct idm_stream *stream, int error)
{
	struct forward *forward = user;

	(void)stream;
	if (error || forward->ended)
		forward->stream = NULL;
	forward->peer_ended = true;
	if (error)
		give_up(forward, error);
	else if (!forward->request)
		pump(forward);
}

static const struct idm_stream_ops ops = {
	.data = on_data, .writable = on_writable, .closed = on_closed};

/* The socket, on its way to be connected. Returns a negative errno. */
static int connect_to(uint32_t port)
{
	const struct sockaddr_in address = {.sin_family = AF_INET,
					    .sin_port = htons((uint16_t)port),
					    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	_cleanup_(close_fdp) int fd =
		socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	return steal_fd(&fd);
}

static int begin(struct forward *forward, const Protect__Agent__Forward *message)
{
	struct idm *idm = agent_session(forward->zone);
	int fd = connect_to(message->port), r;

	if (fd < 0)
		return fd;
	/* It can be written to once it is connected, or not to be had. */
	r = reactor_watch(&forward->zone->reactor, &forward->watch, fd, EPOLLOUT);
	if (r < 0) {
		close(fd);
		return r;
	}
	return idm_stream_accept(idm, message->stream, WINDOW, &ops, forward, &forward->stream);
}

void forward_start(struct zone *zone, uint64_t id, const Protect__Agent__Forward *message)
{
	struct forward *forward;
	int r;

	if (message->port < 1 || message->port > UINT16_MAX) {
		agent_reply_error(zone, id, -EINVAL, "a port is 1 to 65535");
		return;
	}
	if (zone->n_forwards >= FORWARDS_MAX) {
		agent_reply_error(zone, id, -EAGAIN,
				  "the zone has as many forwarded connections "
				  "as it can; end one");
		return;
	}
	forward = calloc(1, sizeof(*forward));
	if (!forward) {
		agent_reply_error(zone, id, -ENOMEM, NULL);
		return;
	}
	zone->n_forwards++;
	forward->zone = zone;
	forward->watch.fd = -1;
	forward->watch.ready = on_ready;
	forward->request = id;
	r = begin(forward, message);
	if (r < 0)
		give_up(forward, r);
}
