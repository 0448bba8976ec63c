// SPDX-License-Identifier: Apache-2.0
#include "protect/shim/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"

#define RETRY_FIRST_NS (100 * NS_PER_MS)
#define RETRY_MAX_NS   (5 * NS_PER_S)
#define ANSWER_MAX     (16u * 1024 * 1024)

static void drop_parts(struct link *link)
{
	free(link->parts);
	link->parts = NULL;
	link->parts_len = 0;
}

static void add_part(struct link *link, const Protect__Control__ReplyPart *part)
{
	uint8_t *longer;

	if (part->data.len > ANSWER_MAX - link->parts_len)
		return; /* what is left cannot be read, and that is found there */
	longer = realloc(link->parts, link->parts_len + part->data.len + 1);
	if (!longer)
		return;
	if (part->data.len)
		memcpy(longer + link->parts_len, part->data.data, part->data.len);
	link->parts = longer;
	link->parts_len += part->data.len;
}

static void on_event(void *user, struct idm *idm, uint32_t kind, const void *data, size_t len)
{
	Protect__Control__ReplyPart *part;

	(void)idm;
	if (kind != PROTECT__CONTROL__EVENT_KIND__EVENT_REPLY_PART)
		return;
	part = protect__control__reply_part__unpack(NULL, len, data);
	if (part)
		add_part(user, part);
	protect__control__reply_part__free_unpacked(part, NULL);
}

uint8_t *link_answer(struct link *link, const void *payload, size_t len, size_t *total)
{
	uint8_t *whole = realloc(link->parts, link->parts_len + len + 1);

	if (!whole)
		return NULL;
	if (len)
		memcpy(whole + link->parts_len, payload, len);
	*total = link->parts_len + len;
	link->parts = NULL;
	link->parts_len = 0;
	return whole;
}

static void connect_now(void *user);

static void connect_later(struct link *link)
{
	alarm_set(link->poller, &link->retry, clock_now_ns() + link->retry_ns, connect_now, link);
	if (link->retry_ns < RETRY_MAX_NS)
		link->retry_ns *= 2;
}

/* Calls and streams end within idm_free(), whose callbacks already find that there is no
 * connection. */
static void lose(struct link *link, int error)
{
	struct idm *idm = link->idm;

	log_warning("what=\"the connection to protect-daemon\" err=%d lost", -error);
	link->idm = NULL;
	poller_watch(link->poller, &link->source, 0);
	close_fdp(&link->source.fd);
	alarm_stop(link->poller, &link->deadline);
	drop_parts(link);
	idm_free(idm);
	connect_later(link);
}

static void ready(void *user, uint32_t events)
{
	struct link *link = user;
	int r = idm_pump_run(&link->pump, clock_now_ns());

	(void)events;
	if (r < 0)
		lose(link, r);
}

static int make_session(struct link *link, int fd)
{
	static const struct idm_handler handler = {.event = on_event};
	int r;

	link->idm = idm_new(IDM_CLIENT, &handler, link);
	if (!link->idm)
		return -ENOMEM;
	link->source = (struct source){.fd = fd, .ready = ready, .user = link};
	r = idm_pump_init(&link->pump, fd, link->idm);
	if (r == 0)
		r = poller_watch(link->poller, &link->source, EPOLLIN);
	if (r < 0)
		link->idm = idm_free(link->idm);
	return r;
}

static void connect_now(void *user)
{
	struct link *link = user;
	const char *path = getenv("PROTECT_SOCKET");
	_cleanup_(close_fdp) int fd =
		io_unix_connect(path && *path ? path : LINK_DEFAULT_SOCKET, SOCK_STREAM);
	int r = fd < 0 ? fd : make_session(link, fd);

	if (r < 0) {
		log_warning("what=protect-daemon err=%d cannot be reached", -r);
		connect_later(link);
		return;
	}
	steal_fd(&fd);
	link->retry_ns = RETRY_FIRST_NS;
	link->up(link->user);
}

void link_init(struct link *link, struct poller *poller, void (*up)(void *user), void *user)
{
	*link = (struct link){.poller = poller,
			      .source.fd = -1,
			      .retry_ns = RETRY_FIRST_NS,
			      .up = up,
			      .user = user};
	connect_now(link);
}

void link_deinit(struct link *link)
{
	alarm_stop(link->poller, &link->retry);
	alarm_stop(link->poller, &link->deadline);
	if (link->idm) {
		poller_watch(link->poller, &link->source, 0);
		link->idm = idm_free(link->idm);
	}
	close_fdp(&link->source.fd);
	drop_parts(link);
}

int link_call(struct link *link, uint32_t method, const ProtobufCMessage *message,
	      idm_reply_fn *reply, void *user, uint64_t *id)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	_cleanup_(freep) uint8_t *data = malloc(len + 1);

	if (!link->idm)
		return -ECONNRESET;
	if (!data)
		return -ENOMEM;
	protobuf_c_message_pack(message, data);
	return idm_call(link->idm, method, data, len, 0, reply, user, id);
}

int link_call_fds(struct link *link, uint32_t method, const ProtobufCMessage *message,
		  const int *fds, unsigned n_fds, idm_reply_fn *reply, void *user)
{
	uint64_t id;
	int r = link_call(link, method, message, reply, user, &id);

	if (r == 0 && n_fds) {
		r = idm_pump_flush_fds(&link->pump, fds, n_fds);
		if (r < 0)
			idm_call_forget(link->idm, id);
	}
	return r;
}

static void ignore(void *user, int error, const char *text, const void *payload, size_t len)
{
	(void)user;
	(void)error;
	(void)text;
	(void)payload;
	(void)len;
}

int link_tell(struct link *link, uint32_t method, const ProtobufCMessage *message)
{
	return link_call(link, method, message, ignore, NULL, NULL);
}

static void tick(void *user)
{
	struct link *link = user;

	if (link->idm)
		idm_tick(link->idm, clock_now_ns());
}

void link_settle(struct link *link)
{
	uint64_t deadline_ns;
	int r;

	if (!link->idm)
		return;
	r = idm_pump_flush(&link->pump);
	if (r < 0) {
		lose(link, r);
		return;
	}
	poller_watch(link->poller, &link->source, (uint32_t)idm_pump_events(&link->pump));
	deadline_ns = idm_next_deadline(link->idm);
	if (deadline_ns && deadline_ns != link->deadline.deadline_ns)
		alarm_set(link->poller, &link->deadline, deadline_ns, tick, link);
}
