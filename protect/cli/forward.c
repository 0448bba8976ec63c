// SPDX-License-Identifier: Apache-2.0
/* protect zone forward: a port of this host that leads into a zone, without a network. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/output.h"

#define TUNNELS_MAX (CONNECTION_POLLS_MAX - 1)
#define CHUNK	    (32u * 1024)
#define PORT_MAX    65535u

struct target {
	struct sockaddr_storage address;
	socklen_t len;
	uint32_t port; /* in the zone */
};

/* A connection and its stream; each way ends apart. */
struct tunnel {
	int fd; /* -1: free */
	struct idm_stream *stream;
	struct reply reply; /* to the request that it began with */
	bool told;	    /* that it failed */
	bool eof;	    /* the socket sends no more, and the stream was ended */
	bool peer_ended, shut;
	uint8_t *buf; /* IDM_WINDOW bytes from the zone */
	size_t start, end;
};

struct forwarder {
	struct connection *connection;
	const char *zone;
	uint32_t port;
	int listener;
	struct tunnel tunnels[TUNNELS_MAX];
};

static void on_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	struct tunnel *tunnel = user;

	(void)stream;
	if (tunnel->end + len > IDM_WINDOW) {
		memmove(tunnel->buf, tunnel->buf + tunnel->start, tunnel->end - tunnel->start);
		tunnel->end -= tunnel->start;
		tunnel->start = 0;
	}
	memcpy(tunnel->buf + tunnel->end, data,
	       len); /* fits: no more than the window is unconsumed */
	tunnel->end += len;
}

static void on_closed(void *user, struct idm_stream *stream, int error)
{
	struct tunnel *tunnel = user;

	(void)stream;
	tunnel->peer_ended = true;
	if (error || tunnel->eof)
		tunnel->stream = NULL;
	/* Neither way goes on: what came before it is still delivered. */
	if (error)
		tunnel->eof = true;
}

static const struct idm_stream_ops ops = {on_data, NULL, on_closed};

static void tunnel_close(struct tunnel *tunnel)
{
	if (tunnel->stream)
		idm_stream_reset(tunnel->stream, -ECANCELED);
	tunnel->stream = NULL;
	close_fdp(&tunnel->fd);
	free(tunnel->buf);
	tunnel->buf = NULL;
}

/* A reply that is still to come must find its place: until then the tunnel's is not used again. */
static bool is_free(const struct tunnel *tunnel)
{
	return tunnel->fd < 0 && tunnel->reply.done;
}

static struct tunnel *find_free(struct forwarder *f)
{
	for (unsigned i = 0; i < TUNNELS_MAX; i++)
		if (is_free(&f->tunnels[i]))
			return &f->tunnels[i];
	return NULL;
}

static void accept_one(struct forwarder *f)
{
	Protect__Control__Forward request = PROTECT__CONTROL__FORWARD__INIT;
	int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct tunnel *tunnel = find_free(f);

	if (fd < 0)
		return;
	reply_deinit(&tunnel->reply);
	*tunnel = (struct tunnel){.fd = fd, .reply.done = true, .buf = malloc(IDM_WINDOW)};
	if (!tunnel->buf ||
	    idm_stream_open(f->connection->idm, IDM_WINDOW, &ops, tunnel, &tunnel->stream) < 0) {
		output_error("out of memory");
		tunnel_close(tunnel);
		return;
	}
	request.ref = (char *)(uintptr_t)f->zone;
	request.port = f->port;
	request.stream = idm_stream_number(tunnel->stream);
	tunnel->reply.done = false;
	if (connection_start(f->connection, METHOD(ZONE_FORWARD), &request.base, &tunnel->reply,
			     NULL) == 0)
		return;
	tunnel->reply.done = true;
	tunnel_close(tunnel);
}

static void end_stream(struct tunnel *tunnel)
{
	struct idm_stream *stream = tunnel->stream;

	tunnel->eof = true;
	if (tunnel->peer_ended)
		tunnel->stream = NULL;
	idm_stream_end(stream);
}

/* Returns false when the socket is of no use any more. */
static bool from_socket(struct tunnel *tunnel)
{
	uint8_t buf[CHUNK];
	size_t room = idm_stream_room(tunnel->stream);
	ssize_t n = room ? recv(tunnel->fd, buf, MIN(room, sizeof(buf)), 0) : -1;

	if (!room)
		return true;
	if (n > 0)
		idm_stream_write(tunnel->stream, buf, (size_t)n);
	else if (n == 0)
		end_stream(tunnel);
	return n >= 0 || errno == EAGAIN || errno == EINTR;
}

static bool to_socket(struct tunnel *tunnel)
{
	ssize_t n;

	if (tunnel->start < tunnel->end) {
		n = send(tunnel->fd, tunnel->buf + tunnel->start, tunnel->end - tunnel->start,
			 MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		tunnel->start += (size_t)n;
		if (tunnel->stream)
			idm_stream_consumed(tunnel->stream, (size_t)n);
	}
	if (tunnel->start < tunnel->end)
		return true;
	tunnel->start = tunnel->end = 0;
	if (tunnel->peer_ended && !tunnel->shut) {
		tunnel->shut = true;
		shutdown(tunnel->fd, SHUT_WR);
	}
	return true;
}

static struct pollfd poll_of(const struct tunnel *tunnel)
{
	struct pollfd p = {.fd = -1};

	if (tunnel->fd < 0)
		return p;
	if (!tunnel->eof && tunnel->stream && idm_stream_room(tunnel->stream))
		p.events |= POLLIN;
	if (tunnel->start < tunnel->end)
		p.events |= POLLOUT;
	p.fd = p.events ? tunnel->fd : -1;
	return p;
}

static void serve(struct forwarder *f, struct tunnel *tunnel, short events)
{
	bool good = true;

	if (tunnel->fd < 0)
		return;
	if (tunnel->reply.done && tunnel->reply.error && !tunnel->told) {
		tunnel->told = true;
		output_error("zone '%s', port %u: %s", f->zone, f->port, tunnel->reply.text);
		tunnel_close(tunnel);
		return;
	}
	if (events & (POLLIN | POLLHUP | POLLERR) && !tunnel->eof && tunnel->stream)
		good = from_socket(tunnel);
	if (good)
		good = to_socket(tunnel);
	if (!good || (tunnel->eof && tunnel->shut))
		tunnel_close(tunnel);
}

static int run(struct forwarder *f)
{
	struct pollfd polls[TUNNELS_MAX + 1];
	int r = 0;

	while (r == 0) {
		polls[TUNNELS_MAX] =
			(struct pollfd){.fd = find_free(f) ? f->listener : -1, .events = POLLIN};
		for (unsigned i = 0; i < TUNNELS_MAX; i++)
			polls[i] = poll_of(&f->tunnels[i]);
		r = connection_turn(f->connection, polls, TUNNELS_MAX + 1, -1);
		for (unsigned i = 0; r == 0 && i < TUNNELS_MAX; i++)
			serve(f, &f->tunnels[i], polls[i].revents);
		if (r == 0 && polls[TUNNELS_MAX].revents)
			accept_one(f);
	}
	output_error("the daemon closed the connection");
	return CLI_ERROR;
}

/* "[ADDRESS:]LOCAL:PORT"; text is changed. */
static int parse_target(const struct args *args, char *text, struct target *out)
{
	struct sockaddr_in *four = (struct sockaddr_in *)(void *)&out->address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)&out->address;
	char *port = strrchr(text, ':'), *local = NULL, *address = NULL;
	uint64_t zone_port, local_port;
	size_t len;

	if (port)
		*port++ = '\0';
	local = port ? strrchr(text, ':') : NULL;
	address = local ? text : NULL;
	if (local)
		*local++ = '\0';
	else
		local = text;
	if (!port || args_number(port, 1, PORT_MAX, &zone_port) < 0 ||
	    args_number(local, 0, PORT_MAX, &local_port) < 0)
		return args_usage_error(args, "the ports are not [ADDRESS:]LOCAL:PORT, from 1 to "
					      "65535; an IPv6 address stands in brackets");
	len = address ? strlen(address) : 0;
	if (len > 2 && address[0] == '[' && address[len - 1] == ']') {
		address[len - 1] = '\0';
		address++;
	}
	out->port = (uint32_t)zone_port;
	if (inet_pton(AF_INET, address ? address : "127.0.0.1", &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons((uint16_t)local_port);
		out->len = sizeof(*four);
	} else if (inet_pton(AF_INET6, address, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((uint16_t)local_port);
		out->len = sizeof(*six);
	} else {
		return args_usage_error(args, "'%s' is no address", address);
	}
	return CLI_OK;
}

static int open_listener(const struct target *target)
{
	const struct sockaddr *address = (const struct sockaddr *)&target->address;
	_cleanup_(close_fdp) int fd =
		socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, address, target->len) < 0 || listen(fd, SOMAXCONN) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* Tells where it listens, as a program that waits for it wants to know. */
static int print_place(int listener)
{
	struct sockaddr_in6 at = {0}; /* the larger of the two that it may be */
	const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)&at;
	socklen_t len = sizeof(at);
	char text[INET6_ADDRSTRLEN];

	if (getsockname(listener, (struct sockaddr *)&at, &len) < 0)
		return CLI_ERROR;
	if (at.sin6_family == AF_INET)
		printf("%s:%u\n", inet_ntop(AF_INET, &four->sin_addr, text, sizeof(text)),
		       ntohs(four->sin_port));
	else
		printf("[%s]:%u\n", inet_ntop(AF_INET6, &at.sin6_addr, text, sizeof(text)),
		       ntohs(at.sin6_port));
	return output_flush();
}

/* A zone that is not there is said at once, not with the first connection. */
static int check_zone(const char *ref)
{
	Protect__Control__Ref request = PROTECT__CONTROL__REF__INIT;
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;

	request.ref = (char *)(uintptr_t)ref;
	message = connection_ask(METHOD(ZONE_RESOLVE), &request.base,
				 &protect__control__zone__descriptor);
	return message ? CLI_OK : CLI_ERROR;
}

int zone_forward_run(const struct args *args, void *values)
{
	_cleanup_(freep) char *text = strdup(args->operands[1]);
	struct forwarder f = {.zone = args->operands[0], .listener = -1};
	struct target target = {0};
	int status = text ? parse_target(args, text, &target) : CLI_ERROR;

	(void)values;
	if (!status)
		status = check_zone(f.zone);
	if (status)
		return status;
	for (unsigned i = 0; i < TUNNELS_MAX; i++)
		f.tunnels[i] = (struct tunnel){.fd = -1, .reply.done = true};
	f.port = target.port;
	f.listener = open_listener(&target);
	if (f.listener < 0) {
		output_error("cannot listen there: %s", strerror(-f.listener));
		return CLI_ERROR;
	}
	f.connection = connection_new();
	status = f.connection ? print_place(f.listener) : CLI_ERROR;
	if (!status)
		status = run(&f);
	connection_free(f.connection);
	for (unsigned i = 0; i < TUNNELS_MAX; i++) {
		tunnel_close(&f.tunnels[i]);
		reply_deinit(&f.tunnels[i].reply);
	}
	close_fdp(&f.listener);
	return status;
}
