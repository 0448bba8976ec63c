// SPDX-License-Identifier: Apache-2.0
/*
 * Two sessions back to back against a model. The input is a list of steps, an opcode and two
 * numbers each: what either end does, and how many bytes move between them. The model knows what
 * was said; the sessions must tell it, whole, in order and once: bytes of streams within their
 * windows, ends behind the last byte, answers to their calls, events.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "idm-vsock/session.h"

#define WINDOW	    700u
#define STREAMS_MAX 24u
#define CALLS_MAX   200u
#define STEP_MAX    3u /* bytes of a step */
#define CHUNK_MAX   4096u

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

struct side;

struct end {
	struct side *side;
	struct end *peer;
	struct idm_stream *stream; /* NULL: not there (any more) */
	uint64_t number, sent, received, unconsumed;
	bool ended, was_reset, peer_ended;
};

struct call {
	struct side *asker;
	uint8_t len;
	bool answered, may_time_out;
	uint64_t id; /* as the other side knows it, while it has not answered */
	bool held;
};

struct side {
	struct side *peer;
	struct idm *idm;
	uint64_t events_sent, events_seen;
	struct call calls[CALLS_MAX];
	unsigned n_calls;
};

struct model {
	struct side sides[2];
	struct end ends[STREAMS_MAX][2];
	unsigned n_streams;
	uint64_t now_ns;
};

/* Byte `at` of what an end sends. */
static uint8_t byte_of(const struct end *end, uint64_t at)
{
	return (uint8_t)(end->number * 31 + at * 7 + (end < end->peer));
}

/* A request names its call, so that the answer to it is known: echoed, an error, or later. */
static void answer(struct side *side, uint64_t id, const struct call *call, uint32_t method)
{
	uint8_t payload[256];

	memset(payload, (int)method, sizeof(payload));
	if (method % 3 == 0)
		assert(!idm_reply(side->idm, id, -ENOENT, "no", NULL, 0));
	else
		assert(!idm_reply(side->idm, id, 0, NULL, payload, call->len));
}

static void on_request(void *user, struct idm *idm, uint64_t id, uint32_t method, const void *data,
		       size_t len)
{
	struct side *side = user;
	struct call *call = &side->peer->calls[method];

	assert(idm == side->idm && method < side->peer->n_calls && !call->held);
	assert(len == call->len && (!len || *(const uint8_t *)data == (uint8_t)method));
	call->id = id;
	call->held = method % 4 == 0;
	if (!call->held)
		answer(side, id, call, method);
}

static void on_reply(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct call *call = user;
	size_t method = (size_t)(call - call->asker->calls);

	assert(!call->answered);
	call->answered = true;
	if (error == -ETIMEDOUT) {
		assert(call->may_time_out);
	} else if (method % 3 == 0) {
		assert(error == -ENOENT && strcmp(text, "no") == 0);
	} else {
		assert(!error && len == call->len);
		assert(!len || *(const uint8_t *)payload == (uint8_t)method);
	}
}

static void on_event(void *user, struct idm *idm, uint32_t kind, const void *data, size_t len)
{
	struct side *side = user;

	(void)idm;
	assert(kind == (uint32_t)side->events_seen++ && len == sizeof(kind));
	assert(memcmp(data, &kind, sizeof(kind)) == 0);
	assert(side->events_seen <= side->peer->events_sent);
}

static void on_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	struct end *end = user;

	assert(end->stream == stream && !end->peer_ended && len);
	assert(end->received + len <= end->peer->sent && end->unconsumed + len <= WINDOW);
	for (size_t i = 0; i < len; i++)
		assert(((const uint8_t *)data)[i] == byte_of(end->peer, end->received + i));
	end->received += len;
	end->unconsumed += len;
}

static void on_writable(void *user, struct idm_stream *stream)
{
	struct end *end = user;

	assert(end->stream == stream && !end->ended && idm_stream_room(stream));
}

static void on_closed(void *user, struct idm_stream *stream, int error)
{
	struct end *end = user;

	assert(end->stream == stream);
	if (error) {
		assert(end->peer->was_reset);
	} else {
		assert(!end->peer_ended && end->peer->ended && end->received == end->peer->sent);
		end->peer_ended = true;
	}
	if (error || end->ended)
		end->stream = NULL;
}

static const struct idm_stream_ops ops = {on_data, on_writable, on_closed};

static void open_stream(struct model *model, unsigned from)
{
	struct end *pair = model->ends[model->n_streams], *own = &pair[from], *other = &pair[!from];

	if (model->n_streams == STREAMS_MAX)
		return;
	*own = (struct end){.side = &model->sides[from], .peer = other};
	*other = (struct end){.side = &model->sides[!from], .peer = own};
	assert(!idm_stream_open(own->side->idm, WINDOW, &ops, own, &own->stream));
	own->number = other->number = idm_stream_number(own->stream);
	model->n_streams++;
}

/* The end that did not open it takes it, or refuses. */
static void accept_stream(struct end *end, bool take)
{
	if (end->stream || end->was_reset || end->received || end->ended || !end->number)
		return;
	if (!take) {
		/* Of what has not arrived there is nothing to refuse. */
		int r = idm_stream_accept(end->side->idm, end->number, WINDOW, &ops, end,
					  &end->stream);

		if (r)
			return;
		end->was_reset = true;
		idm_stream_reset(end->stream, -EPERM);
		end->stream = NULL;
		return;
	}
	if (idm_stream_accept(end->side->idm, end->number, WINDOW, &ops, end, &end->stream) < 0)
		end->stream = NULL;
}

static void write_stream(struct end *end, uint8_t n)
{
	uint8_t bytes[512];

	if (!end->stream || end->ended)
		return;
	for (size_t i = 0; i < 2u * n; i++)
		bytes[i] = byte_of(end, end->sent + i);
	end->sent += 2u * n; /* before: what counts is that no more arrives than was said */
	end->sent -= 2u * n - idm_stream_write(end->stream, bytes, 2u * n);
}

static void consume(struct end *end, uint64_t n)
{
	if (n > end->unconsumed)
		n = end->unconsumed;
	end->unconsumed -= n;
	if (end->stream && n)
		idm_stream_consumed(end->stream, n);
}

static void end_stream(struct end *end)
{
	struct idm_stream *stream = end->stream;

	if (!stream || end->ended)
		return;
	end->ended = true;
	if (end->peer_ended)
		end->stream = NULL;
	idm_stream_end(stream);
}

static void reset_stream(struct end *end)
{
	if (!end->stream)
		return;
	end->was_reset = true;
	idm_stream_reset(end->stream, -ECANCELED);
	end->stream = NULL;
}

static void call(struct model *model, struct side *side, uint8_t len, uint8_t deadline)
{
	struct call *call = &side->calls[side->n_calls];
	uint8_t payload[256];

	if (side->n_calls == CALLS_MAX)
		return;
	*call = (struct call){.asker = side, .len = len, .may_time_out = deadline > 200};
	memset(payload, (int)side->n_calls, sizeof(payload));
	assert(!idm_call(side->idm, side->n_calls, payload, len,
			 deadline > 200 ? model->now_ns + deadline : 0, on_reply, call, NULL));
	side->n_calls++;
}

static void answer_held(struct side *side, unsigned n)
{
	struct call *call = &side->peer->calls[n % CALLS_MAX];

	if (n % CALLS_MAX >= side->peer->n_calls || !call->held)
		return;
	call->held = false;
	answer(side, call->id, call, n % CALLS_MAX);
}

static void tell(struct side *side)
{
	uint32_t kind = (uint32_t)side->events_sent++;

	assert(!idm_event(side->idm, kind, &kind, sizeof(kind)));
}

/* Bytes from a side to the other, and what then comes due. Returns whether anything happened. */
static bool move(struct model *model, struct side *from, size_t max)
{
	uint8_t bytes[CHUNK_MAX];
	size_t n = idm_output(from->idm, bytes, max);
	bool due = idm_next_deadline(from->idm) == 1;

	assert(n <= max);
	if (n)
		assert(!idm_feed(from->peer->idm, bytes, n, model->now_ns));
	if (due)
		idm_tick(from->idm, model->now_ns);
	return n || due;
}

static void step(struct model *model, uint8_t op, uint8_t what, uint8_t n)
{
	struct side *side = &model->sides[op / 16 % 2];
	struct end *end = &model->ends[what % STREAMS_MAX][op / 16 % 2];

	switch (op % 12) {
	case 0:
	case 1:
		move(model, side, 1 + (size_t)what * n % CHUNK_MAX);
		break;
	case 2:
		open_stream(model, op / 16 % 2);
		break;
	case 3:
		accept_stream(end, n % 8);
		break;
	case 4:
	case 5:
		write_stream(end, n);
		break;
	case 6:
		consume(end, n * 4u);
		break;
	case 7:
		end_stream(end);
		break;
	case 8:
		if (n % 4 == 0)
			reset_stream(end);
		break;
	case 9:
		call(model, side, n, what);
		break;
	case 10:
		answer_held(side, what);
		break;
	default:
		tell(side);
		model->now_ns += n;
		idm_tick(side->idm, model->now_ns);
	}
}

/* All that is still on its way arrives. */
static void settle(struct model *model)
{
	bool busy = true;

	while (busy) {
		busy = false;
		for (unsigned i = 0; i < STREAMS_MAX; i++)
			for (unsigned s = 0; s < 2; s++)
				consume(&model->ends[i][s], UINT64_MAX);
		for (unsigned s = 0; s < 2; s++) {
			for (unsigned i = 0; i < CALLS_MAX; i++)
				answer_held(&model->sides[s], i);
			busy |= move(model, &model->sides[s], CHUNK_MAX);
		}
	}
}

static void check(const struct model *model)
{
	for (unsigned s = 0; s < 2; s++) {
		const struct side *side = &model->sides[s];

		assert(side->events_seen == side->peer->events_sent);
		for (unsigned i = 0; i < side->n_calls; i++)
			assert(side->calls[i].answered);
	}
	for (unsigned i = 0; i < model->n_streams; i++)
		for (unsigned s = 0; s < 2; s++) {
			const struct end *end = &model->ends[i][s];

			if (end->was_reset || end->peer->was_reset)
				assert(!end->stream);
			else
				assert(end->received == end->peer->sent &&
				       (end->peer_ended == end->peer->ended || !end->stream));
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
	static const struct idm_handler handler = {on_request, on_event, NULL};
	struct model *model = calloc(1, sizeof(*model));

	assert(model);
	for (unsigned s = 0; s < 2; s++) {
		model->sides[s].peer = &model->sides[!s];
		model->sides[s].idm =
			idm_new(s ? IDM_SERVER : IDM_CLIENT, &handler, &model->sides[s]);
		assert(model->sides[s].idm);
	}
	model->now_ns = 1000;
	for (; len >= STEP_MAX; input += STEP_MAX, len -= STEP_MAX)
		step(model, input[0], input[1], input[2]);
	settle(model);
	check(model);
	for (unsigned i = 0; i < model->n_streams; i++)
		for (unsigned s = 0; s < 2; s++)
			reset_stream(&model->ends[i][s]);
	for (unsigned s = 0; s < 2; s++)
		idm_free(model->sides[s].idm);
	free(model);
	return 0;
}
