// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/runner_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/runner.h"
#include "base/util.h"

#define PREFIX	   4u
#define TIMEOUT_NS (60 * NS_PER_S)

struct request {
	struct request *next;
	runner_fn *fn;
	void *user;
	int fd;
	size_t len, sent;
	uint8_t frame[];
};

struct runner_client {
	struct hub *hub;
	struct watch *watch;
	int fd;
	struct request *first, **tail; /* the first one is under way */
	struct timer timeout;	       /* of the first one */
	uint64_t timeout_ns;
	char *socket; /* of a lane: where it connects again; else NULL */
	runner_gone_fn *gone;
	void *user;
	size_t have;
	uint8_t in[PREFIX + RUNNER_FRAME_MAX];
};

int runner_connect(const char *socket, uint32_t kind)
{
	const struct runner_hello hello = {.magic = RUNNER_MAGIC, .kind = kind};
	_cleanup_(close_fdp) int fd = io_unix_connect(socket, SOCK_STREAM | SOCK_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = io_send_fds(fd, &hello, sizeof(hello), NULL, 0, 0);
	if (n != (ssize_t)sizeof(hello))
		return n < 0 ? (int)n : -EIO;
	return steal_fd(&fd);
}

static struct request *take_first(struct runner_client *client)
{
	struct request *request = client->first;

	client->first = request->next;
	if (!client->first)
		client->tail = &client->first;
	return request;
}

static void request_free(struct request *request)
{
	close_fdp(&request->fd);
	free(request);
}

struct runner_client *runner_close(struct runner_client *client)
{
	if (!client)
		return NULL;
	while (client->first)
		request_free(take_first(client));
	timer_stop(&client->timeout);
	client->watch = watch_free(client->watch);
	close_fdp(&client->fd);
	free(client->socket);
	free(client);
	return NULL;
}

/* The connection is of no use any more: tells all who wait, then the owner, which closes. */
static void fail(struct runner_client *client, int error)
{
	if (client->watch)
		watch_set(client->watch, 0);
	timer_stop(&client->timeout);
	while (client->first) {
		struct request *request = take_first(client);

		if (request->fn)
			request->fn(request->user, error,
				    "the zone's runner does not answer any more", NULL);
		request_free(request);
	}
	client->gone(client->user, error);
}

static void timed_out(void *user);

/* The first request has its whole time from now on. */
static void restart_timeout(struct runner_client *client)
{
	if (client->first)
		timer_set(client->hub, &client->timeout, clock_now_ns() + client->timeout_ns,
			  timed_out, client);
	else
		timer_stop(&client->timeout);
}

static void ready(void *user, uint32_t events);

/* Takes the descriptor over, also when it fails. */
static int use_connection(struct runner_client *client, int fd)
{
	int r = watch_new(client->hub, fd, ready, client, &client->watch);

	client->fd = fd;
	client->have = 0;
	if (r == 0)
		watch_set(client->watch, client->first ? POLLIN | POLLOUT : POLLIN);
	return r;
}

/* Only the first request was sent, so nothing is done twice. Its reply would come over the old
 * connection. */
static int connect_again(struct runner_client *client)
{
	int fd = runner_connect(client->socket, RUNNER_CONTROL);

	if (fd < 0)
		return fd;
	client->watch = watch_free(client->watch);
	close_fdp(&client->fd);
	return use_connection(client, fd);
}

static void timed_out(void *user)
{
	struct runner_client *client = user;
	struct request *request;
	int r;

	if (!client->socket) {
		fail(client, -ETIMEDOUT);
		return;
	}
	request = take_first(client);
	r = connect_again(client);
	if (request->fn)
		request->fn(request->user, -ETIMEDOUT, "the zone's runner did not answer in time",
			    NULL);
	request_free(request);
	if (r < 0)
		fail(client, r);
	else
		restart_timeout(client);
}

/* Sends as much of the first request as goes; the next one waits for its reply. */
static int send_some(struct runner_client *client)
{
	struct request *request = client->first;

	while (request && request->sent < request->len) {
		ssize_t n = io_send_fds(client->fd, request->frame + request->sent,
					request->len - request->sent, &request->fd,
					request->sent == 0 && request->fd >= 0, MSG_DONTWAIT);

		if (n == -EAGAIN)
			break;
		if (n < 0)
			return (int)n;
		request->sent += (size_t)n;
	}
	watch_set(client->watch,
		  request && request->sent < request->len ? POLLIN | POLLOUT : POLLIN);
	return 0;
}

static int take_reply(struct runner_client *client, const uint8_t *data, size_t len)
{
	Protect__Runner__Reply *reply;
	struct request *request;

	if (!client->first || client->first->sent < client->first->len)
		return -EPROTO;
	reply = protect__runner__reply__unpack(NULL, len, data);
	if (!reply)
		return -EPROTO;
	request = take_first(client);
	restart_timeout(client);
	if (request->fn)
		request->fn(request->user,
			    reply->error && reply->error < 4096 ? -(int)reply->error : 0,
			    reply->text, reply);
	request_free(request);
	protect__runner__reply__free_unpacked(reply, NULL);
	return send_some(client);
}

/* One frame, if it is there as a whole. Returns 1, 0 when more must come, or a negative errno. */
static int take_frame(struct runner_client *client)
{
	size_t len = 0;
	int r;

	if (client->have < PREFIX)
		return 0;
	for (unsigned i = 0; i < PREFIX; i++)
		len |= (size_t)client->in[i] << 8 * i;
	/* A reply that says nothing but "done" packs to no bytes at all. */
	if (len > RUNNER_FRAME_MAX)
		return -EPROTO;
	if (client->have < PREFIX + len)
		return 0;
	r = take_reply(client, client->in + PREFIX, len);
	if (r < 0)
		return r;
	client->have -= PREFIX + len;
	memmove(client->in, client->in + PREFIX + len, client->have);
	return 1;
}

static int receive(struct runner_client *client)
{
	ssize_t n = recv(client->fd, client->in + client->have, sizeof(client->in) - client->have,
			 MSG_DONTWAIT);
	int r;

	if (n == 0)
		return -ECONNRESET;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	client->have += (size_t)n;
	while ((r = take_frame(client)) > 0)
		;
	return r;
}

static void ready(void *user, uint32_t events)
{
	struct runner_client *client = user;
	int r = 0;

	if (events & ~(uint32_t)POLLOUT)
		r = receive(client);
	if (r == 0)
		r = send_some(client);
	if (r < 0)
		fail(client, r);
}

/* #syscalls daemon: recvfrom sendto(_, _, _, MSG_NOSIGNAL, 0, 0) shutdown close */
int runner_open(struct hub *hub, const char *socket, runner_gone_fn *gone, void *user,
		struct runner_client **out)
{
	_cleanup_(close_fdp) int fd = runner_connect(socket, RUNNER_CONTROL);
	struct runner_client *client;
	int r;

	if (fd < 0)
		return fd;
	client = calloc(1, sizeof(*client));
	if (!client)
		return -ENOMEM;
	client->hub = hub;
	client->gone = gone;
	client->user = user;
	client->tail = &client->first;
	client->timeout_ns = TIMEOUT_NS;
	r = use_connection(client, steal_fd(&fd));
	if (r < 0) {
		runner_close(client);
		return r;
	}
	*out = client;
	return 0;
}

int runner_open_lane(struct hub *hub, const char *socket, uint64_t timeout_ns, runner_gone_fn *gone,
		     void *user, struct runner_client **out)
{
	struct runner_client *client = NULL;
	int r = runner_open(hub, socket, gone, user, &client);

	if (r < 0)
		return r;
	client->timeout_ns = timeout_ns;
	client->socket = strdup(socket);
	if (!client->socket) {
		runner_close(client);
		return -ENOMEM;
	}
	*out = client;
	return 0;
}

int runner_request(struct runner_client *client, const Protect__Runner__Request *request, int fd,
		   runner_fn *fn, void *user)
{
	size_t len = protect__runner__request__get_packed_size(request);
	struct request *queued;

	if (len < 1 || len > RUNNER_FRAME_MAX)
		return -EMSGSIZE;
	if (!client->watch) /* connecting again failed; the owner is about to hear of it */
		return -ENOTCONN;
	queued = calloc(1, sizeof(*queued) + PREFIX + len);
	if (!queued)
		return -ENOMEM;
	*queued = (struct request){.fn = fn, .user = user, .len = PREFIX + len, .fd = -1};
	if (fd >= 0) {
		queued->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (queued->fd < 0) {
			int r = -errno;

			free(queued);
			return r;
		}
	}
	for (unsigned i = 0; i < PREFIX; i++)
		queued->frame[i] = (uint8_t)(len >> 8 * i);
	protect__runner__request__pack(request, queued->frame + PREFIX);
	*client->tail = queued;
	client->tail = &queued->next;
	/* A connection that broke meanwhile is found by the watch. */
	if (client->first == queued) {
		watch_set(client->watch, POLLIN | POLLOUT);
		restart_timeout(client);
	}
	return 0;
}

void runner_forget(struct runner_client *client, const void *user)
{
	if (!client)
		return;
	for (struct request *r = client->first; r; r = r->next)
		if (r->user == user)
			r->fn = NULL;
}
