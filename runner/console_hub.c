// SPDX-License-Identifier: Apache-2.0
#include "runner/console_hub.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "virtio/console.h"

#define RING_SIZE ((uint64_t)RUNNER_CONSOLE_BACKLOG)

static void send_more(struct console_reader *reader);

/* The reader's place is free again once none of its operations is under way. */
static void finish(struct console_reader *reader)
{
	reader->closing = true;
	if (reader->watching)
		loop_cancel(reader->hub->loop, &reader->watch_op);
	if (reader->sending || reader->watching)
		return;
	loop_slot_remove(reader->hub->loop, reader->slot);
	free(reader->chunk);
	memset(reader, 0, sizeof(*reader));
}

static void sent(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct console_reader *reader = container_of(op, struct console_reader, send_op);

	(void)cqe_flags;
	reader->sending = false;
	if (res <= 0 || reader->closing) {
		finish(reader);
		return;
	}
	reader->chunk_start += (uint32_t)res;
	send_more(reader);
}

static void fill_chunk(struct console_reader *reader)
{
	const struct console_hub *hub = reader->hub;
	uint64_t oldest = hub->written > RING_SIZE ? hub->written - RING_SIZE : 0;
	size_t at, len, first;

	if (reader->pos < oldest)
		reader->pos = oldest;
	len = hub->written - reader->pos < CONSOLE_CHUNK ? hub->written - reader->pos
							 : CONSOLE_CHUNK;
	at = reader->pos % RING_SIZE;
	first = len < RING_SIZE - at ? len : RING_SIZE - at;
	memcpy(reader->chunk, hub->ring + at, first);
	memcpy(reader->chunk + first, hub->ring, len - first);
	reader->pos += len;
	reader->chunk_start = 0;
	reader->chunk_end = (uint32_t)len;
}

static void send_more(struct console_reader *reader)
{
	struct loop *loop = reader->hub->loop;
	uint32_t len;
	int r;

	if (reader->sending || reader->closing)
		return;
	if (reader->chunk_start == reader->chunk_end)
		fill_chunk(reader);
	len = reader->chunk_end - reader->chunk_start;
	if (len == 0)
		return;
	if (reader->socket)
		r = loop_send(loop, &reader->send_op, reader->slot,
			      reader->chunk + reader->chunk_start, len, MSG_NOSIGNAL);
	else
		r = loop_write(loop, &reader->send_op, reader->slot,
			       reader->chunk + reader->chunk_start, len, (uint64_t)-1);
	if (r < 0)
		finish(reader);
	else
		reader->sending = true;
}

/* Readers send nothing: whatever arrives, or the end, ends them. */
static void hung_up(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct console_reader *reader = container_of(op, struct console_reader, watch_op);

	(void)res;
	(void)cqe_flags;
	reader->watching = false;
	if (reader->sending && !reader->closing)
		loop_cancel(reader->hub->loop, &reader->send_op);
	finish(reader);
}

void console_hub_init(struct console_hub *hub, struct loop *loop)
{
	hub->loop = loop;
	hub->written = 0;
	hub->in_line = false;
	hub->line_len = 0;
	memset(hub->readers, 0, sizeof(hub->readers));
}

static void put(struct console_hub *hub, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	if (len)
		hub->in_line = bytes[len - 1] != '\n';
	while (len) {
		size_t at = hub->written % RING_SIZE;
		size_t part = len < RING_SIZE - at ? len : RING_SIZE - at;

		memcpy(hub->ring + at, bytes, part);
		hub->written += part;
		bytes += part;
		len -= part;
	}
}

static void send_to_all(struct console_hub *hub)
{
	for (unsigned i = 0; i < CONSOLE_READERS_MAX; i++)
		if (hub->readers[i].hub)
			send_more(&hub->readers[i]);
}

void console_hub_write(void *user, const void *data, size_t len)
{
	put(user, data, len);
	send_to_all(user);
}

/* The kernel may be in the middle of a line of its own. */
static void put_agent_line(struct console_hub *hub)
{
	if (hub->in_line)
		put(hub, "\r\n", 2);
	put(hub, CONSOLE_AGENT_MARK, strlen(CONSOLE_AGENT_MARK));
	put(hub, hub->line, hub->line_len);
	put(hub, "\r\n", 2);
	hub->line_len = 0;
}

void console_hub_port_write(void *user, unsigned port, const void *data, size_t len)
{
	struct console_hub *hub = user;
	const char *text = data;

	if (port == CONSOLE_PORT_KERNEL) {
		console_hub_write(hub, data, len);
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (text[i] != '\n')
			hub->line[hub->line_len++] = text[i];
		if (text[i] == '\n' || hub->line_len == CONSOLE_LINE_MAX)
			put_agent_line(hub);
	}
	send_to_all(hub);
}

static struct console_reader *free_reader(struct console_hub *hub)
{
	for (unsigned i = 0; i < CONSOLE_READERS_MAX; i++)
		if (!hub->readers[i].hub)
			return &hub->readers[i];
	return NULL;
}

static void end_reader(struct console_reader *reader)
{
	if (reader->sending)
		loop_cancel(reader->hub->loop, &reader->send_op);
	finish(reader);
}

/* Ends the connection that is furthest behind, but for the latest: a place is kept free, so that
 * those who do not read cannot keep out who does. */
static void evict(struct console_hub *hub, const struct console_reader *latest)
{
	struct console_reader *worst = NULL;

	for (unsigned i = 0; i < CONSOLE_READERS_MAX; i++) {
		struct console_reader *reader = &hub->readers[i];

		if (reader->closing)
			return;
		if (reader->socket && reader != latest && (!worst || reader->pos < worst->pos))
			worst = reader;
	}
	if (worst)
		end_reader(worst);
}

int console_hub_add(struct console_hub *hub, int fd_owned, bool socket)
{
	_cleanup_(close_fdp) int fd = fd_owned;
	struct console_reader *reader = free_reader(hub);
	int slot;

	if (!reader)
		return -EUSERS;
	slot = loop_slot_add(hub->loop, fd);
	if (slot < 0)
		return slot;
	*reader = (struct console_reader){.hub = hub,
					  .slot = slot,
					  .socket = socket,
					  .send_op.done = sent,
					  .watch_op.done = hung_up,
					  .chunk = malloc(CONSOLE_CHUNK)};
	if (!reader->chunk) {
		finish(reader);
		return -ENOMEM;
	}
	if (socket)
		reader->watching = loop_recv(hub->loop, &reader->watch_op, slot,
					     &reader->watch_byte, 1, 0) == 0;
	send_more(reader);
	if (!free_reader(hub))
		evict(hub, reader);
	return 0;
}

bool console_hub_is_idle(const struct console_hub *hub)
{
	for (unsigned i = 0; i < CONSOLE_READERS_MAX; i++)
		if (hub->readers[i].hub &&
		    (hub->readers[i].sending || hub->readers[i].pos < hub->written))
			return false;
	return true;
}

void console_hub_close(struct console_hub *hub)
{
	for (unsigned i = 0; i < CONSOLE_READERS_MAX; i++) {
		struct console_reader *reader = &hub->readers[i];

		if (reader->hub)
			end_reader(reader);
	}
}

bool console_hub_is_closed(const struct console_hub *hub)
{
	for (unsigned i = 0; i < CONSOLE_READERS_MAX; i++)
		if (hub->readers[i].hub)
			return false;
	return true;
}
