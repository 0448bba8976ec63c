// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/follow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/daemon/log_view.h"
#include "supervisor/daemon/server.h"

struct follower {
	struct follower *next, **place; /* place is NULL once it has left the list */
	struct daemon *daemon;
	const struct ring *ring;
	struct ring_cursor cursor;
	struct log_view view;
	char prefix[LOG_VIEW_PREFIX]; /* of the next piece, and how much of it was handed over */
	size_t prefix_done;
	bool has_prefix;
	uint64_t until; /* a reader that does not follow stops here */
	bool follow, producer_ended;
	struct ticket ticket;
	struct idm_stream *out, *err; /* NULL once closed */
	bool out_closed, err_closed;  /* the client sends no more */
};

static void leave_list(struct follower *f)
{
	if (!f->place)
		return;
	*f->place = f->next;
	if (f->next)
		f->next->place = f->place;
	f->place = NULL;
}

static void free_if_closed(struct follower *f)
{
	if (!f->place && !f->out && !f->err)
		free(f);
}

static void end_stream(struct idm_stream **stream, bool peer_closed)
{
	struct idm_stream *s = *stream;

	if (!s)
		return;
	if (peer_closed)
		*stream = NULL;
	idm_stream_end(s);
}

/* All was handed over. f may be gone after it. */
static void finish(struct follower *f)
{
	leave_list(f);
	end_stream(&f->out, f->out_closed);
	end_stream(&f->err, f->err_closed);
	server_reply_empty(f->daemon, f->ticket);
	free_if_closed(f);
}

static bool is_done(struct follower *f)
{
	const void *data;
	unsigned tag;
	size_t len;

	if (!f->follow && f->cursor.record >= f->until)
		return true;
	return f->producer_ended && !ring_peek(f->ring, &f->cursor, &tag, &data, &len);
}

/* Hands over what the reader's stream takes of the next piece. Returns whether it took all. */
static bool push_piece(struct follower *f, struct idm_stream *stream, unsigned tag,
		       const void *data, size_t len)
{
	char prefix[LOG_VIEW_PREFIX];
	size_t n, took, prefix_len;

	log_view_next(&f->view, tag, ring_time_ms(f->ring, &f->cursor), data, len, prefix, &n);
	if (!f->has_prefix) {
		memcpy(f->prefix, prefix, sizeof(prefix));
		f->prefix_done = 0;
		f->has_prefix = true;
	}
	prefix_len = strlen(f->prefix);
	f->prefix_done +=
		idm_stream_write(stream, f->prefix + f->prefix_done, prefix_len - f->prefix_done);
	if (f->prefix_done < prefix_len)
		return false;
	took = idm_stream_write(stream, data, n);
	if (took) {
		f->has_prefix = false;
		log_view_shown(&f->view, tag, data, took);
		ring_advance(f->ring, &f->cursor, took);
	}
	return took == n;
}

/* f may be gone after it. */
static void push(struct follower *f)
{
	const void *data;
	unsigned tag;
	size_t len;

	while (!is_done(f) && ring_peek(f->ring, &f->cursor, &tag, &data, &len)) {
		struct idm_stream *stream = tag == FOLLOW_TAG_ERR && f->err ? f->err : f->out;

		if (!stream)
			ring_advance(f->ring, &f->cursor, len);
		else if (!push_piece(f, stream, tag, data, len))
			return;
	}
	if (is_done(f))
		finish(f);
}

static void got_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	(void)user;
	(void)data;
	idm_stream_consumed(stream, len);
}

static void got_room(void *user, struct idm_stream *stream)
{
	struct follower *f = user;

	(void)stream;
	if (f->place)
		push(f);
}

static void got_end(void *user, struct idm_stream *stream, int error)
{
	struct follower *f = user;
	bool is_out = stream == f->out;

	if (error == 0 && f->place) {
		*(is_out ? &f->out_closed : &f->err_closed) = true;
		return;
	}
	*(is_out ? &f->out : &f->err) = NULL;
	if (f->place)
		finish(f);
	else
		free_if_closed(f);
}

static const struct idm_stream_ops ops = {
	.data = got_data, .writable = got_room, .closed = got_end};

static int accept_streams(struct follower *f, struct idm *idm,
			  const Protect__Control__Logs *request)
{
	int r = idm_stream_accept(idm, request->stream, 0, &ops, f, &f->out);

	if (r == 0 && request->stderr_stream)
		r = idm_stream_accept(idm, request->stderr_stream, 0, &ops, f, &f->err);
	if (r < 0 && f->out)
		idm_stream_reset(f->out, r);
	return r;
}

void follow_start(struct daemon *d, struct followers *followers, const struct ring *ring,
		  bool ended, struct ticket ticket, const Protect__Control__Logs *request)
{
	struct idm *idm = server_session(d, ticket.client);
	struct follower *f = calloc(1, sizeof(*f));
	int r;

	if (!f || !idm) {
		free(f);
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	*f = (struct follower){.daemon = d,
			       .ring = ring,
			       .cursor = log_view_start(ring, request->since_unix_ms,
							request->set_tail, request->tail_lines),
			       .view = {.timestamps = request->timestamps},
			       .until = ring_end(ring),
			       .follow = request->follow,
			       .producer_ended = ended,
			       .ticket = ticket};
	r = accept_streams(f, idm, request);
	if (r < 0) {
		free(f);
		server_fail(d, ticket, r, "the request names no stream of this connection");
		return;
	}
	f->next = followers->first;
	if (f->next)
		f->next->place = &f->next;
	f->place = &followers->first;
	followers->first = f;
	push(f);
}

void followers_push(struct followers *followers)
{
	for (struct follower *f = followers->first, *next; f; f = next) {
		next = f->next;
		push(f);
	}
}

void followers_end(struct followers *followers)
{
	for (struct follower *f = followers->first; f; f = f->next)
		f->producer_ended = true;
	followers_push(followers);
}

void followers_drop(struct followers *followers)
{
	while (followers->first)
		finish(followers->first);
}
