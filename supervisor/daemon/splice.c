// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/splice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static enum splice_side side_of(const struct splice_end *end)
{
	return end == &end->splice->ends[SPLICE_CLIENT] ? SPLICE_CLIENT : SPLICE_AGENT;
}

static enum splice_side other(enum splice_side side)
{
	return side == SPLICE_CLIENT ? SPLICE_AGENT : SPLICE_CLIENT;
}

static void buffer_clear(struct splice_buffer *buffer)
{
	free(buffer->bytes);
	*buffer = (struct splice_buffer){0};
}

/* Returns false without memory. */
static bool buffer_add(struct splice_buffer *buffer, const void *data, size_t len)
{
	if (buffer->start && buffer->start + buffer->len + len > buffer->size) {
		memmove(buffer->bytes, buffer->bytes + buffer->start, buffer->len);
		buffer->start = 0;
	}
	if (buffer->len + len > buffer->size) {
		uint8_t *bytes = realloc(buffer->bytes, buffer->len + len);

		if (!bytes)
			return false;
		buffer->bytes = bytes;
		buffer->size = buffer->len + len;
	}
	memcpy(buffer->bytes + buffer->start + buffer->len, data, len);
	buffer->len += len;
	return true;
}

static void send_end(struct splice_end *end)
{
	struct idm_stream *stream = end->stream;

	if (!stream || end->ended)
		return;
	end->ended = true;
	if (end->peer_ended)
		end->stream = NULL;
	idm_stream_end(stream);
}

/* Gives credit for bytes that came from this side and have gone. */
static void give_credit(struct splice *splice, enum splice_side from, size_t n)
{
	size_t old = from == SPLICE_AGENT && n > splice->replayed ? splice->replayed
		     : from == SPLICE_AGENT			  ? n
								  : 0;

	if (from == SPLICE_AGENT)
		splice->replayed -= old;
	if (n > old && splice->ends[from].stream)
		idm_stream_consumed(splice->ends[from].stream, n - old);
}

/* Gives the other side what waits for it. */
static void deliver(struct splice *splice, enum splice_side from)
{
	struct splice_buffer *buffer = &splice->from[from];
	struct splice_end *to = &splice->ends[other(from)];
	struct splice_end *source = &splice->ends[from];

	if (buffer->len && to->stream && !to->ended) {
		size_t n = idm_stream_write(to->stream, buffer->bytes + buffer->start, buffer->len);

		buffer->start += n;
		buffer->len -= n;
		give_credit(splice, from, n);
	}
	if (buffer->len == 0) {
		buffer_clear(buffer);
		if (source->peer_ended || source->finished)
			send_end(to);
	}
}

static void tell(struct splice *splice)
{
	if (splice->changed)
		splice->changed(splice->user, splice);
}

static void got_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	struct splice_end *end = user;
	struct splice *splice = end->splice;
	enum splice_side from = side_of(end);
	struct splice_end *to = &splice->ends[other(from)];
	size_t taken = 0;

	if (from == SPLICE_AGENT && splice->tap)
		splice->tap(splice->user, data, len);
	if (from == SPLICE_AGENT && !(to->stream && !to->ended) && splice->may_take &&
	    !splice->may_take(splice->user, len)) {
		splice->owed += len;
		return;
	}
	if (to->ended || (from == SPLICE_AGENT && !to->stream))
		taken = len;
	else if (to->stream && splice->from[from].len == 0)
		taken = idm_stream_write(to->stream, data, len);
	if (taken)
		idm_stream_consumed(stream, taken);
	if (taken == len)
		return;
	if (!buffer_add(&splice->from[from], (const uint8_t *)data + taken, len - taken)) {
		end->stream = NULL;
		idm_stream_reset(stream, -ENOMEM);
		tell(splice);
		return;
	}
	/* A write of 0 bytes would not ask for room: this one tells the session that we wait. */
	deliver(splice, from);
}

static void got_room(void *user, struct idm_stream *stream)
{
	struct splice_end *end = user;
	enum splice_side from = other(side_of(end));

	(void)stream;
	deliver(end->splice, from);
	if (splice_drained(end->splice, from))
		tell(end->splice);
}

/* Credit for what nobody will take any more, so that the giving side is not held up for ever. */
static void drop_waiting(struct splice *splice, enum splice_side from)
{
	struct splice_buffer *buffer = &splice->from[from];
	size_t len = buffer->len;

	buffer_clear(buffer);
	give_credit(splice, from, len);
}

static void got_end(void *user, struct idm_stream *stream, int error)
{
	struct splice_end *end = user;
	struct splice *splice = end->splice;
	enum splice_side side = side_of(end);

	(void)stream;
	if (error || end->ended)
		end->stream = NULL;
	if (!error) {
		end->peer_ended = true;
		deliver(splice, side);
	} else if (side == SPLICE_CLIENT) {
		end->finished = !splice->keep_open;
		drop_waiting(splice, SPLICE_AGENT);
		deliver(splice, SPLICE_CLIENT);
	}
	tell(splice);
}

static const struct idm_stream_ops ops = {
	.data = got_data, .writable = got_room, .closed = got_end};

void splice_init(struct splice *splice, void *user)
{
	*splice = (struct splice){.user = user};
	splice->ends[SPLICE_CLIENT].splice = splice;
	splice->ends[SPLICE_AGENT].splice = splice;
}

static void reset_end(struct splice_end *end, int error)
{
	struct idm_stream *stream = end->stream;

	end->stream = NULL;
	if (stream)
		idm_stream_reset(stream, error);
}

void splice_deinit(struct splice *splice)
{
	reset_end(&splice->ends[SPLICE_CLIENT], -ECANCELED);
	reset_end(&splice->ends[SPLICE_AGENT], -ECANCELED);
	buffer_clear(&splice->from[SPLICE_CLIENT]);
	buffer_clear(&splice->from[SPLICE_AGENT]);
}

static void bind(struct splice *splice, enum splice_side side)
{
	splice->ends[side] = (struct splice_end){.splice = splice};
	/* What came over a lost stream needs no credit any more. */
	buffer_clear(&splice->from[side]);
	if (side == SPLICE_AGENT)
		splice->replayed = splice->owed = 0;
}

void splice_pay(struct splice *splice)
{
	struct idm_stream *stream = splice->ends[SPLICE_AGENT].stream;
	size_t n = splice->owed;

	splice->owed = 0;
	if (n && stream)
		idm_stream_consumed(stream, n);
}

void splice_replay(struct splice *splice, const void *data, size_t len)
{
	if (buffer_add(&splice->from[SPLICE_AGENT], data, len))
		splice->replayed += len;
}

int splice_open(struct splice *splice, enum splice_side side, struct idm *idm)
{
	int r;

	bind(splice, side);
	r = idm_stream_open(idm, IDM_WINDOW, &ops, &splice->ends[side], &splice->ends[side].stream);
	if (r == 0)
		deliver(splice, other(side));
	return r;
}

int splice_accept(struct splice *splice, enum splice_side side, struct idm *idm, uint64_t number)
{
	int r;

	bind(splice, side);
	r = idm_stream_accept(idm, number, IDM_WINDOW, &ops, &splice->ends[side],
			      &splice->ends[side].stream);
	if (r == 0 && side == SPLICE_CLIENT)
		splice_pay(splice);
	if (r == 0)
		deliver(splice, other(side));
	return r;
}

uint64_t splice_number(const struct splice *splice, enum splice_side side)
{
	return splice->ends[side].stream ? idm_stream_number(splice->ends[side].stream) : 0;
}

void splice_finish(struct splice *splice, enum splice_side from)
{
	splice->ends[from].finished = true;
	deliver(splice, from);
}

bool splice_drained(const struct splice *splice, enum splice_side from)
{
	const struct splice_end *to = &splice->ends[other(from)];

	return splice->from[from].len == 0 || !to->stream || to->ended;
}

void splice_reset_agent(struct splice *splice, int error)
{
	reset_end(&splice->ends[SPLICE_AGENT], error);
}
