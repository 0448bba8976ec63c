// SPDX-License-Identifier: Apache-2.0
/* Streams: numbers, windows, ends. A stream is in the table from its opening until destroy(). */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/util.h"
#include "idm-vsock/internal.h"

#define GRANT_BATCH (64u * 1024)
#define FORM(name)  PROTECT__IDM__FORM__FORM_##name

static struct idm_stream *find(const struct idm *idm, uint64_t number)
{
	struct table_node *node = table_find(&idm->streams, number);

	return node ? container_of(node, struct idm_stream, node) : NULL;
}

/* The client's numbers are odd. */
static bool number_is_own(const struct idm *idm, uint64_t number)
{
	return (number & 1) == (idm->role == IDM_CLIENT);
}

static struct idm_stream *create(struct idm *idm, uint64_t number)
{
	struct idm_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->node.key = number;
	stream->idm = idm;
	table_add(&idm->streams, &stream->node);
	if (number_is_own(idm, number))
		idm->streams_own++;
	else
		idm->streams_peer++;
	return stream;
}

static void unready(struct idm_stream *stream)
{
	struct idm *idm = stream->idm;
	struct idm_stream **at = &idm->ready_first;

	if (!stream->ready)
		return;
	while (*at != stream)
		at = &(*at)->ready_next;
	*at = stream->ready_next;
	if (idm->ready_tail == &stream->ready_next)
		idm->ready_tail = at;
	stream->ready_next = NULL;
	stream->ready = false;
}

/* The memory goes when no callback of the stream is running any more. */
static void destroy(struct idm_stream *stream)
{
	struct idm *idm = stream->idm;

	if (!stream->doomed) {
		unready(stream);
		table_remove(&idm->streams, &stream->node);
		if (number_is_own(idm, stream->node.key))
			idm->streams_own--;
		else
			idm->streams_peer--;
	}
	stream->doomed = true;
	if (!stream->busy)
		free(stream);
}

static void leave(struct idm_stream *stream)
{
	stream->busy--;
	if (stream->doomed && !stream->busy)
		free(stream);
}

static void make_ready(struct idm_stream *stream)
{
	if (stream->ready || stream->doomed)
		return;
	stream->ready = true;
	*stream->idm->ready_tail = stream;
	stream->idm->ready_tail = &stream->ready_next;
}

static void make_ready_if_writable(struct idm_stream *stream)
{
	if (stream->want_write && stream->ops && idm_stream_room(stream))
		make_ready(stream);
}

static int queue_control(struct idm *idm, uint32_t form, uint64_t number, uint64_t value)
{
	struct wire_packet packet = {.id = value, .channel = number, .form = form};

	return idm->dead ? 0 : idm_queue_packet(idm, &packet, 0);
}

int idm_stream_open(struct idm *idm, uint32_t window, const struct idm_stream_ops *ops, void *user,
		    struct idm_stream **out)
{
	struct idm_stream *stream;

	assert(window <= IDM_WINDOW_MAX);
	if (idm->dead)
		return -ECONNRESET;
	if (idm->streams_own >= IDM_STREAMS_MAX)
		return -EAGAIN;
	stream = create(idm, idm->next_stream);
	if (!stream)
		return -ENOMEM;
	if (queue_control(idm, FORM(STREAM_OPEN), idm->next_stream, window) < 0) {
		destroy(stream);
		return -ENOMEM;
	}
	idm->next_stream += 2;
	stream->ops = ops;
	stream->user = user;
	stream->window = window;
	stream->granted = window;
	*out = stream;
	return 0;
}

int idm_stream_accept(struct idm *idm, uint64_t number, uint32_t window,
		      const struct idm_stream_ops *ops, void *user, struct idm_stream **out)
{
	struct idm_stream *stream = find(idm, number);

	assert(window <= IDM_WINDOW_MAX);
	if (!stream || stream->ops || idm->dead)
		return -ENOENT;
	if (window && queue_control(idm, FORM(STREAM_WINDOW), number, window) < 0)
		return -ENOMEM;
	stream->ops = ops;
	stream->user = user;
	stream->window = window;
	stream->granted = window;
	if (stream->peer_ended) {
		stream->close_pending = true;
		make_ready(stream);
	}
	*out = stream;
	return 0;
}

void idm_stream_refuse(struct idm *idm, uint64_t number, int error)
{
	struct idm_stream *stream = find(idm, number);

	if (!stream || stream->ops)
		return;
	queue_control(idm, FORM(STREAM_CLOSE), number, idm_errno_out(error));
	destroy(stream);
}

uint64_t idm_stream_number(const struct idm_stream *stream)
{
	return stream->node.key;
}

struct idm *idm_stream_session(const struct idm_stream *stream)
{
	return stream->idm;
}

/* With much waiting in the session there is still a little for each, so every stream moves on by
 * its own packets' leaving. */
static uint64_t queue_room(const struct idm_stream *stream)
{
	uint32_t max = stream->idm->stream_bytes < IDM_QUEUE_MAX ? IDM_STREAM_QUEUE_MAX
								 : IDM_STREAM_QUEUE_MIN;

	return stream->queued_bytes < max ? max - stream->queued_bytes : 0;
}

size_t idm_stream_room(const struct idm_stream *stream)
{
	uint64_t room = queue_room(stream);

	if (stream->local_ended || stream->doomed || stream->idm->dead ||
	    stream->queued_packets >= IDM_STREAM_PACKETS_MAX)
		return 0;
	return (size_t)(room < stream->credit ? room : stream->credit);
}

size_t idm_stream_write(struct idm_stream *stream, const void *data, size_t len)
{
	size_t done = 0, room;

	while (done < len && (room = idm_stream_room(stream))) {
		struct wire_packet packet = {0, stream->node.key, FORM(STREAM_DATA),
					     (const uint8_t *)data + done, len - done};

		if (packet.len > room)
			packet.len = room;
		if (packet.len > IDM_DATA_MAX)
			packet.len = IDM_DATA_MAX;
		if (idm_queue_packet(stream->idm, &packet, (uint32_t)packet.len) < 0)
			break;
		stream->credit -= packet.len;
		stream->queued_bytes += (uint32_t)packet.len;
		stream->idm->stream_bytes += packet.len;
		stream->queued_packets++;
		done += packet.len;
	}
	stream->want_write = done < len;
	return done;
}

void idm_stream_sent(struct idm *idm, uint64_t number, uint32_t stream_len)
{
	struct idm_stream *stream = find(idm, number);

	idm->stream_bytes -= stream_len;
	if (!stream)
		return;
	stream->queued_bytes -= stream_len;
	stream->queued_packets--;
	make_ready_if_writable(stream);
}

void idm_stream_consumed(struct idm_stream *stream, size_t len)
{
	uint64_t batch = stream->window / 2 < GRANT_BATCH ? stream->window / 2 : GRANT_BATCH;

	assert(len <= stream->unconsumed);
	stream->unconsumed -= len;
	stream->grant_pending += len;
	if (!stream->grant_pending || stream->grant_pending < batch || stream->peer_ended ||
	    stream->doomed)
		return;
	/* Without memory the grant waits for the next one. */
	if (queue_control(stream->idm, FORM(STREAM_WINDOW), stream->node.key,
			  stream->grant_pending) < 0)
		return;
	stream->granted += stream->grant_pending;
	stream->grant_pending = 0;
}

void idm_stream_end(struct idm_stream *stream)
{
	if (stream->local_ended || stream->doomed)
		return;
	stream->local_ended = true;
	stream->want_write = false;
	queue_control(stream->idm, FORM(STREAM_CLOSE), stream->node.key, 0);
	if (stream->peer_ended && !stream->close_pending)
		destroy(stream);
}

void idm_stream_reset(struct idm_stream *stream, int error)
{
	if (stream->doomed)
		return;
	queue_control(stream->idm, FORM(STREAM_CLOSE), stream->node.key, idm_errno_out(error));
	destroy(stream);
}

/* Tells the owner that the peer ended; that may end the stream as a whole. */
static void run_closed(struct idm_stream *stream)
{
	stream->close_pending = false;
	stream->busy++;
	stream->ops->closed(stream->user, stream, 0);
	if (stream->local_ended && !stream->doomed)
		destroy(stream);
	leave(stream);
}

static void run_ready(struct idm_stream *stream)
{
	if (stream->close_pending) {
		make_ready_if_writable(stream);
		run_closed(stream);
		return;
	}
	if (!stream->want_write || !idm_stream_room(stream))
		return;
	stream->want_write = false;
	if (!stream->ops->writable)
		return;
	stream->busy++;
	stream->ops->writable(stream->user, stream);
	leave(stream);
}

void idm_streams_run_ready(struct idm *idm)
{
	/* What becomes ready again meanwhile waits for the next turn. */
	for (unsigned left = idm->streams.count; left && idm->ready_first; left--) {
		struct idm_stream *stream = idm->ready_first;

		unready(stream);
		run_ready(stream);
	}
}

int idm_got_stream_open(struct idm *idm, const struct wire_packet *packet)
{
	struct idm_stream *stream;

	/* Numbers only grow: what still comes for a stream that is gone can never meet another one.
	 */
	if (!packet->channel || number_is_own(idm, packet->channel) ||
	    packet->channel <= idm->last_peer_stream || packet->id > IDM_WINDOW_MAX)
		return -EBADMSG;
	idm->last_peer_stream = packet->channel;
	if (idm->streams_peer >= IDM_STREAMS_MAX)
		return queue_control(idm, FORM(STREAM_CLOSE), packet->channel, EAGAIN);
	stream = create(idm, packet->channel);
	if (!stream)
		return -ENOMEM;
	stream->credit = packet->id;
	return 0;
}

int idm_got_stream_data(struct idm *idm, const struct wire_packet *packet)
{
	struct idm_stream *stream = find(idm, packet->channel);

	if (!packet->len || packet->len > IDM_DATA_MAX)
		return -EBADMSG;
	if (!stream) /* reset here while it was on its way */
		return 0;
	if (stream->peer_ended || packet->len > stream->granted)
		return -EBADMSG;
	stream->granted -= packet->len;
	stream->unconsumed += packet->len;
	stream->busy++;
	stream->ops->data(stream->user, stream, packet->data, packet->len);
	leave(stream);
	return 0;
}

int idm_got_stream_window(struct idm *idm, const struct wire_packet *packet)
{
	struct idm_stream *stream = find(idm, packet->channel);

	if (packet->id > IDM_WINDOW_MAX)
		return -EBADMSG;
	if (!stream)
		return 0;
	if (stream->credit + packet->id > IDM_WINDOW_MAX)
		return -EBADMSG;
	stream->credit += packet->id;
	make_ready_if_writable(stream);
	return 0;
}

int idm_got_stream_close(struct idm *idm, const struct wire_packet *packet)
{
	struct idm_stream *stream = find(idm, packet->channel);

	if (!stream)
		return 0;
	if (packet->id) {
		stream->busy++;
		destroy(stream);
		if (stream->ops)
			stream->ops->closed(stream->user, stream, idm_errno_in(packet->id));
		leave(stream);
		return 0;
	}
	if (stream->peer_ended)
		return -EBADMSG;
	stream->peer_ended = true;
	if (stream->ops)
		run_closed(stream);
	return 0;
}

void idm_streams_free(struct idm *idm)
{
	struct table_node *node;

	while ((node = table_any(&idm->streams))) {
		struct idm_stream *stream = container_of(node, struct idm_stream, node);

		stream->busy++;
		destroy(stream);
		if (stream->ops)
			stream->ops->closed(stream->user, stream, -ECONNRESET);
		leave(stream);
	}
}
