// SPDX-License-Identifier: Apache-2.0
#include "runner/runner_server.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/util.h"
#include "runner/console_hub.h"

#define HELLO_TIMEOUT_NS (5 * NS_PER_S)
#define ACCEPT_PAUSE_NS	 (100 * NS_PER_MS)
#define EVICT_PAUSE_NS	 NS_PER_MS
#define HELLO_GRACE_NS	 (100 * NS_PER_MS)
#define FRAME_HEAD	 sizeof(uint32_t)
#define FRAME_ROOM	 (FRAME_HEAD + 4096u) /* requests are small */

static void control_ready(struct loop_op *op, int res, uint32_t cqe_flags);

static struct loop *loop_of(const struct runner_client *client)
{
	return client->server->host.loop;
}

static void close_fds(struct runner_client *client)
{
	while (client->n_fds)
		close_fdp(&client->fds[--client->n_fds]);
}

/* The place is free again once nothing of it is under way. */
static void drop(struct runner_client *client)
{
	client->state = CLIENT_CLOSING;
	if (client->waiting)
		loop_cancel(loop_of(client), &client->op);
	if (client->timing)
		loop_cancel(loop_of(client), &client->timer.op);
	if (client->waiting || client->timing || client->busy)
		return;
	loop_slot_remove(loop_of(client), client->slot);
	/* Up to Linux 6.12 a ring keeps removed files open for a second or so; the peer must
	 * not wait. */
	if (client->fd >= 0)
		shutdown(client->fd, SHUT_RDWR);
	close_fdp(&client->fd);
	close_fds(client);
	free(client->frame);
	client->frame = NULL;
	client->state = CLIENT_FREE;
}

static void wait_readable(struct runner_client *client)
{
	if (client->state == CLIENT_CLOSING || client->waiting || client->busy)
		return;
	client->waiting = loop_poll(loop_of(client), &client->op, client->slot, POLLIN) == 0;
	if (!client->waiting)
		drop(client);
}

static void start_control(struct runner_client *client)
{
	client->frame = malloc(FRAME_ROOM);
	client->received = 0;
	client->state = client->frame ? CLIENT_CONTROL : CLIENT_CLOSING;
	client->op.done = control_ready;
	if (client->frame)
		wait_readable(client);
	else
		drop(client);
}

/* The descriptor goes to another owner; the client's place is given up. */
static int hand_over(struct runner_client *client)
{
	int fd = steal_fd(&client->fd);

	io_set_nonblock(fd, 0); /* io_uring waits by itself where the file does */
	drop(client);
	return fd;
}

/* What it says it is, 0 without the magic. */
static uint32_t kind_of(const struct runner_client *client)
{
	const struct runner_hello *hello = &client->hello.hello;

	return hello->magic == RUNNER_MAGIC ? hello->kind : 0;
}

static void start_kind(struct runner_client *client)
{
	const struct runner_host *host = &client->server->host;

	switch (kind_of(client)) {
	case RUNNER_CONTROL:
		start_control(client);
		break;
	case RUNNER_IDM:
		host->idm(host->user, hand_over(client));
		break;
	case RUNNER_CONSOLE:
		console_hub_add(host->console, hand_over(client), true);
		break;
	case RUNNER_VSOCK:
		host->connect(host->user, client->hello.port, hand_over(client));
		break;
	case RUNNER_SERVE:
		host->serve(host->user, client->hello.port, hand_over(client));
		break;
	default:
		drop(client);
		break;
	}
}

static bool names_port(const struct runner_client *client)
{
	return kind_of(client) == RUNNER_VSOCK || kind_of(client) == RUNNER_SERVE;
}

/* How much of the hello is missing: the kind tells its length. */
static uint32_t hello_missing(const struct runner_client *client)
{
	size_t len = sizeof(client->hello.hello);

	if (client->received >= len && names_port(client))
		len = sizeof(client->hello);
	return (uint32_t)len - client->received;
}

static void receive_hello(struct runner_client *client)
{
	uint8_t *to = (uint8_t *)&client->hello + client->received;

	client->waiting = loop_recv(loop_of(client), &client->op, client->slot, to,
				    hello_missing(client), MSG_WAITALL) == 0;
	if (!client->waiting)
		drop(client);
}

static void hello_came(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct runner_client *client = container_of(op, struct runner_client, op);

	(void)cqe_flags;
	client->waiting = false;
	if (res != (int)hello_missing(client) || client->state != CLIENT_HELLO) {
		drop(client);
		return;
	}
	client->received += (uint32_t)res;
	if (hello_missing(client))
		receive_hello(client);
	else
		loop_cancel(loop_of(client), &client->timer.op);
}

/* Also the end of a hello that came in time: the timer was cancelled, and nothing of the client is
 * under way any more. */
static void hello_time_over(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct runner_client *client = container_of(op, struct runner_client, timer.op);

	(void)res;
	(void)cqe_flags;
	client->timing = false;
	if (client->state != CLIENT_HELLO || client->waiting)
		drop(client);
	else
		start_kind(client);
}

static void control_reply(struct runner_client *client, const Protect__Runner__Reply *reply)
{
	uint32_t len = (uint32_t)protect__runner__reply__get_packed_size(reply);
	_cleanup_(freep) uint8_t *frame = len <= RUNNER_FRAME_MAX ? malloc(FRAME_HEAD + len) : NULL;

	if (!frame) {
		drop(client);
		return;
	}
	memcpy(frame, &len, FRAME_HEAD);
	protect__runner__reply__pack(reply, frame + FRAME_HEAD);
	/* Replies are bounded and one at a time: a socket that has no room for one belongs to
	 * nobody who reads. */
	if (io_send_fds(client->fd, frame, FRAME_HEAD + len, NULL, 0, MSG_DONTWAIT) !=
	    (ssize_t)(FRAME_HEAD + len))
		drop(client);
}

static void control_answered(void *user, const Protect__Runner__Reply *reply)
{
	struct runner_client *client = user;

	client->busy = false;
	close_fds(client);
	if (client->state == CLIENT_CLOSING) {
		drop(client);
		return;
	}
	control_reply(client, reply);
	if (client->state == CLIENT_CONTROL) /* or its place may be free already */
		wait_readable(client);
}

/* The length of the frame that has come whole, 0 if more is missing, negative if it can never be.
 */
static int whole_frame(const struct runner_client *client)
{
	uint32_t len;

	if (client->received < FRAME_HEAD)
		return 0;
	memcpy(&len, client->frame, FRAME_HEAD);
	if (len == 0 || len > FRAME_ROOM - FRAME_HEAD)
		return -EBADMSG;
	return client->received >= FRAME_HEAD + len ? (int)len : 0;
}

static int receive(struct runner_client *client)
{
	int fds[RUNNER_FDS_MAX];
	unsigned n_fds = RUNNER_FDS_MAX;
	ssize_t n = io_recv_fds(client->fd, client->frame + client->received,
				FRAME_ROOM - client->received, fds, &n_fds, MSG_DONTWAIT);

	if (n <= 0)
		return n == 0 ? -ECONNRESET : (int)n;
	if (n_fds) {
		close_fds(client);
		memcpy(client->fds, fds, n_fds * sizeof(fds[0]));
		client->n_fds = n_fds;
	}
	client->received += (uint32_t)n;
	client->heard_ns = clock_now_ns();
	return 0;
}

static void control_ready(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct runner_client *client = container_of(op, struct runner_client, op);
	const struct runner_host *host = &client->server->host;
	int r = res, len;

	(void)cqe_flags;
	client->waiting = false;
	if (r >= 0 && client->state == CLIENT_CONTROL)
		r = receive(client);
	if (client->state != CLIENT_CONTROL || (r < 0 && r != -EAGAIN)) {
		drop(client);
		return;
	}
	len = whole_frame(client);
	if (len < 0 || (len > 0 && client->received > FRAME_HEAD + (uint32_t)len)) {
		drop(client); /* one request at a time: bytes behind it break the protocol */
		return;
	}
	if (len == 0) {
		wait_readable(client);
		return;
	}
	client->received = 0;
	client->busy = true;
	host->control(host->user, client->frame + FRAME_HEAD, (size_t)len, client->fds,
		      client->n_fds, control_answered, client);
}

static struct runner_client *free_client(struct runner_server *server)
{
	for (unsigned i = 0; i < RUNNER_CLIENTS_MAX; i++)
		if (server->clients[i].state == CLIENT_FREE)
			return &server->clients[i];
	return NULL;
}

/*
 * When all places are taken, whoever was silent for longest gives way: first one who has not said
 * hello for a while, then any without a request under way. So nobody can lock the daemon out by
 * connecting. Returns whether a place will be free soon.
 */
static bool evict(struct runner_server *server)
{
	struct runner_client *worst = NULL;
	bool lingers, worst_lingers = false;
	uint64_t now_ns = clock_now_ns();

	for (unsigned i = 0; i < RUNNER_CLIENTS_MAX; i++) {
		struct runner_client *client = &server->clients[i];

		if (client->state == CLIENT_CLOSING && !client->busy)
			return true;
		if (client->busy)
			continue;
		lingers =
			client->state == CLIENT_HELLO && now_ns - client->heard_ns > HELLO_GRACE_NS;
		if (!worst || lingers > worst_lingers ||
		    (lingers == worst_lingers && client->heard_ns < worst->heard_ns)) {
			worst = client;
			worst_lingers = lingers;
		}
	}
	if (worst)
		drop(worst);
	return worst;
}

static void take_client(struct runner_server *server, struct runner_client *client, int fd_owned)
{
	_cleanup_(close_fdp) int fd = fd_owned;
	struct loop *loop = server->host.loop;
	uint64_t now_ns = clock_now_ns();
	int slot;

	slot = loop_slot_add(loop, fd);
	if (slot < 0)
		return;
	*client = (struct runner_client){.server = server,
					 .state = CLIENT_HELLO,
					 .fd = steal_fd(&fd),
					 .slot = slot,
					 .heard_ns = now_ns,
					 .op.done = hello_came,
					 .timer.op.done = hello_time_over};
	client->timing = loop_timer_start(loop, &client->timer, now_ns + HELLO_TIMEOUT_NS) == 0;
	if (client->timing)
		receive_hello(client);
	else
		drop(client);
}

static void accept_ready(struct loop_op *op, int res, uint32_t cqe_flags);

/* Waits for the next connection, or, while there is no place or descriptor for it, for some time:
 * the socket would be ready again at once. */
static void wait_for_client(struct runner_server *server, uint64_t pause_ns)
{
	struct loop *loop = server->host.loop;
	int r;

	server->accept_timer.op.done = accept_ready;
	if (pause_ns)
		r = loop_timer_start(loop, &server->accept_timer, clock_now_ns() + pause_ns);
	else
		r = loop_poll(loop, &server->accept_timer.op, server->listen_slot, POLLIN);
	if (r < 0)
		loop_defer(loop, &server->accept_timer.op);
}

/* #syscalls loop: accept4(_, _, _, SOCK_CLOEXEC) shutdown close */
static void accept_ready(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct runner_server *server = container_of(op, struct runner_server, accept_timer.op);
	struct runner_client *client = free_client(server);
	int fd;

	(void)res;
	(void)cqe_flags;
	if (server->listen_fd < 0)
		return;
	if (!client) {
		wait_for_client(server, evict(server) ? EVICT_PAUSE_NS : ACCEPT_PAUSE_NS);
		return;
	}
	fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		take_client(server, client, fd);
	wait_for_client(server, fd >= 0 || errno == EAGAIN ? 0 : ACCEPT_PAUSE_NS);
}

int runner_server_init(struct runner_server *server, const struct runner_host *host, int listen_fd)
{
	memset(server, 0, sizeof(*server));
	server->host = *host;
	server->listen_fd = listen_fd;
	io_set_nonblock(listen_fd, 1);
	server->listen_slot = loop_slot_add(host->loop, listen_fd);
	if (server->listen_slot < 0)
		return server->listen_slot;
	wait_for_client(server, 0);
	return 0;
}

void runner_server_close(struct runner_server *server)
{
	if (!server->host.loop)
		return;
	close_fdp(&server->listen_fd);
	for (unsigned i = 0; i < RUNNER_CLIENTS_MAX; i++)
		if (server->clients[i].state != CLIENT_FREE)
			drop(&server->clients[i]);
}

bool runner_server_is_closed(const struct runner_server *server)
{
	for (unsigned i = 0; i < RUNNER_CLIENTS_MAX; i++)
		if (server->clients[i].state != CLIENT_FREE)
			return false;
	return true;
}
