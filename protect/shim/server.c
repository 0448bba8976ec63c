// SPDX-License-Identifier: Apache-2.0
#include "protect/shim/server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"

#define TEXT_MAX 1024u

struct server_connection {
	struct server_connection *next;
	struct server *server;
	uint64_t id;
	struct source source;
	struct ttrpc_buffer in, out;
	unsigned pending;
	bool ended;
};

static void connection_free(struct server_connection *c)
{
	poller_watch(c->server->poller, &c->source, 0);
	close_fdp(&c->source.fd);
	ttrpc_buffer_deinit(&c->in);
	ttrpc_buffer_deinit(&c->out);
	free(c);
}

static struct server_connection *find(const struct server *server, uint64_t id)
{
	for (struct server_connection *c = server->connections; c; c = c->next)
		if (c->id == id)
			return c;
	return NULL;
}

static void send_response(struct server *server, struct ticket ticket,
			  const Protect__Ttrpc__Response *response)
{
	struct server_connection *c = find(server, ticket.connection);
	int r;

	if (!c || c->ended)
		return;
	c->pending--;
	r = ttrpc_append(&c->out, ticket.stream, TTRPC_RESPONSE, &response->base);
	if (r < 0) {
		log_error("what=\"ttrpc answer\" err=%d connection dropped", -r);
		c->ended = true;
	}
}

void server_reply(struct server *server, struct ticket ticket, const ProtobufCMessage *message)
{
	Protect__Ttrpc__Response response = PROTECT__TTRPC__RESPONSE__INIT;
	size_t len = protobuf_c_message_get_packed_size(message);
	_cleanup_(freep) uint8_t *payload = malloc(len + 1);

	if (!payload) {
		server_fail(server, ticket, TTRPC_EXHAUSTED, "the shim is out of memory");
		return;
	}
	protobuf_c_message_pack(message, payload);
	response.payload.data = payload;
	response.payload.len = len;
	send_response(server, ticket, &response);
}

void server_fail(struct server *server, struct ticket ticket, enum ttrpc_code code,
		 const char *format, ...)
{
	Protect__Ttrpc__Response response = PROTECT__TTRPC__RESPONSE__INIT;
	Protect__Ttrpc__Status status = PROTECT__TTRPC__STATUS__INIT;
	char text[TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	status.code = (int32_t)code;
	status.message = text;
	response.status = &status;
	send_response(server, ticket, &response);
}

static void got_request(struct server_connection *c, const struct ttrpc_frame *frame)
{
	struct server *server = c->server;
	struct ticket ticket = {.connection = c->id, .stream = frame->stream};
	Protect__Ttrpc__Request *request =
		protect__ttrpc__request__unpack(NULL, frame->len, frame->message);

	if (c->pending >= SERVER_PENDING_MAX) {
		log_error("what=\"ttrpc requests\" unanswered=%u connection dropped", c->pending);
		c->ended = true;
	} else {
		c->pending++;
		if (request)
			server->request(server->user, ticket, request);
		else
			server_fail(server, ticket, TTRPC_INVALID, "the request cannot be read");
	}
	protect__ttrpc__request__free_unpacked(request, NULL);
}

/* Frames of other types belong to streaming calls, of which there are none here. */
static int handle_frames(struct server_connection *c)
{
	struct ttrpc_frame frame;
	int r;

	while (!c->ended && (r = ttrpc_next(&c->in, &frame)) != 0) {
		if (r < 0)
			return r;
		if (frame.type == TTRPC_REQUEST)
			got_request(c, &frame);
	}
	return 0;
}

static int receive(struct server_connection *c)
{
	int r = ttrpc_buffer_reserve(&c->in, TTRPC_INPUT_STEP);
	ssize_t n;

	if (r < 0)
		return r;
	n = recv(c->source.fd, c->in.data + c->in.end, c->in.size - c->in.end, 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	c->in.end += (size_t)n;
	return handle_frames(c);
}

static void ready(void *user, uint32_t events)
{
	struct server_connection *c = user;
	int r = 0;

	if (c->ended)
		return;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		r = receive(c);
	if (r < 0) {
		if (r != -ECONNRESET)
			log_error("what=\"ttrpc connection\" err=%d dropped", -r);
		c->ended = true;
	}
}

int server_add(struct server *server, int fd)
{
	bool full = server->n_connections >= SERVER_CONNECTIONS_MAX;
	struct server_connection *c = full ? NULL : calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close(fd);
		return full ? -EMFILE : -ENOMEM;
	}
	c->server = server;
	c->id = ++server->last_id;
	c->source = (struct source){.fd = fd, .ready = ready, .user = c};
	r = poller_watch(server->poller, &c->source, EPOLLIN);
	if (r < 0) {
		connection_free(c);
		return r;
	}
	c->next = server->connections;
	server->connections = c;
	server->n_connections++;
	return 0;
}

static void accept_one(void *user, uint32_t events)
{
	struct server *server = user;
	int fd = accept4(server->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int r = fd < 0 ? -errno : server_add(server, fd);

	(void)events;
	if (r < 0 && r != -EAGAIN)
		log_warning("what=\"ttrpc connection\" err=%d not taken", -r);
}

int server_init(struct server *server, struct poller *poller, int listener,
		void (*request)(void *user, struct ticket ticket,
				const Protect__Ttrpc__Request *request),
		void *user)
{
	*server = (struct server){.poller = poller, .request = request, .user = user};
	server->listener = (struct source){.fd = listener, .ready = accept_one, .user = server};
	return listener < 0 ? 0 : poller_watch(poller, &server->listener, EPOLLIN);
}

void server_deinit(struct server *server)
{
	for (struct server_connection *c = server->connections, *next; c; c = next) {
		next = c->next;
		connection_free(c);
	}
	server->connections = NULL;
	if (server->listener.events)
		poller_watch(server->poller, &server->listener, 0);
}

static void send_some(struct server_connection *c)
{
	ssize_t n = 1;

	while (n > 0 && c->out.start < c->out.end) {
		n = send(c->source.fd, c->out.data + c->out.start, c->out.end - c->out.start,
			 MSG_NOSIGNAL);
		if (n > 0)
			c->out.start += (size_t)n;
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		c->ended = true;
	if (c->out.start == c->out.end)
		c->out.start = c->out.end = 0;
}

void server_settle(struct server *server)
{
	struct server_connection **place = &server->connections, *c;

	while ((c = *place)) {
		if (!c->ended)
			send_some(c);
		if (c->ended) {
			*place = c->next;
			server->n_connections--;
			connection_free(c);
			continue;
		}
		poller_watch(server->poller, &c->source, c->out.end ? EPOLLIN | EPOLLOUT : EPOLLIN);
		place = &c->next;
	}
}
