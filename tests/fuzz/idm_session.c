// SPDX-License-Identifier: Apache-2.0
/*
 * A session against a hostile peer. The input is a list of steps, an opcode and a count each: bytes
 * of the peer (raw, or as one packet with the right length), and what this side does meanwhile.
 * Beside the sanitizers it checks the promises of session.h: no more data than granted, no callback
 * after the end, each call answered once.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "idm-vsock/session.h"

#define WINDOW	  300u
#define ENDS_MAX  64u
#define CALLS_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

struct end {
	struct idm_stream *stream; /* NULL once it is gone */
	uint64_t may_come;
	bool ended, peer_ended;
};

struct model {
	struct idm *idm;
	struct end ends[ENDS_MAX];
	unsigned n_ends;
	uint8_t answered[CALLS_MAX];
	unsigned calls;
};

static void on_request(void *user, struct idm *idm, uint64_t id, uint32_t method, const void *data,
		       size_t len)
{
	(void)user;
	if (method % 3 == 0)
		idm_reply(idm, id, 0, NULL, data, len);
	else if (method % 3 == 1)
		idm_reply(idm, id, -(int)(method % 200) - 1, NULL, NULL, 0);
}

static void on_event(void *user, struct idm *idm, uint32_t kind, const void *data, size_t len)
{
	(void)user;
	idm_event(idm, kind, data, len);
}

static void on_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	struct end *end = user;

	assert(end->stream == stream && len && len <= end->may_come && !end->peer_ended);
	end->may_come -= len;
	if (*(const uint8_t *)data % 4 == 0) {
		idm_stream_reset(stream, -EIO);
		end->stream = NULL;
	} else if (*(const uint8_t *)data % 4 < 3) {
		end->may_come += len;
		idm_stream_consumed(stream, len);
	}
}

static void on_writable(void *user, struct idm_stream *stream)
{
	struct end *end = user;

	assert(end->stream == stream && !end->ended && idm_stream_room(stream));
	idm_stream_write(stream, "again and again", 15);
}

static void on_closed(void *user, struct idm_stream *stream, int error)
{
	struct end *end = user;

	assert(end->stream == stream && error <= 0 && (error || !end->peer_ended));
	end->peer_ended = true;
	if (error || end->ended)
		end->stream = NULL;
}

static const struct idm_stream_ops ops = {on_data, on_writable, on_closed};

static void on_reply(void *user, int error, const char *text, const void *payload, size_t len)
{
	assert(!(*(uint8_t *)user)++ && error <= 0 && strlen(text) < 4096 && (payload || !len));
}

static void add_stream(struct model *model, uint64_t number)
{
	struct end *end = &model->ends[model->n_ends];
	int r;

	if (model->n_ends == ENDS_MAX)
		return;
	*end = (struct end){.may_come = WINDOW};
	r = number ? idm_stream_accept(model->idm, number, WINDOW, &ops, end, &end->stream)
		   : idm_stream_open(model->idm, WINDOW, &ops, end, &end->stream);
	if (!r)
		model->n_ends++;
}

static void use_stream(struct model *model, uint8_t what, uint8_t n)
{
	struct end *end = &model->ends[n % ENDS_MAX];
	static const uint8_t bytes[512];

	if (!end->stream)
		return;
	if (what == 0) {
		idm_stream_write(end->stream, bytes, n * 2u);
	} else if (what == 1 && !end->ended) {
		end->ended = true;
		struct idm_stream *stream = end->stream;

		if (end->peer_ended)
			end->stream = NULL;
		idm_stream_end(stream);
	} else if (what == 2) {
		idm_stream_reset(end->stream, -ECANCELED);
		end->stream = NULL;
	}
}

static int feed_packet(struct model *model, const uint8_t *at, uint8_t len)
{
	uint8_t prefix[4] = {len, 0, 0, 0};
	int r = idm_feed(model->idm, prefix, 4, 1);

	return r ? r : idm_feed(model->idm, at, len, 1);
}

/* One step; at has n bytes that a step may use. */
static int step(struct model *model, uint8_t op, uint8_t count, const uint8_t *at, uint8_t n)
{
	uint8_t out[256];

	switch (op % 10) {
	case 0:
		return idm_feed(model->idm, at, n, 1);
	case 1:
		return n ? feed_packet(model, at, n) : 0;
	case 2:
		idm_output(model->idm, out, count);
		return 0;
	case 3:
		add_stream(model, count);
		return 0;
	case 4:
	case 5:
	case 6:
		use_stream(model, op % 10 - 4, count);
		return 0;
	case 7:
		if (model->calls < CALLS_MAX && !idm_call(model->idm, count, at, n, count, on_reply,
							  &model->answered[model->calls], NULL))
			model->calls++;
		return 0;
	case 8:
		idm_tick(model->idm, count);
		return 0;
	default:
		idm_stream_refuse(model->idm, count, -EPERM);
		return 0;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
	static const struct idm_handler handler = {on_request, on_event, NULL};
	struct model *model = calloc(1, sizeof(*model));
	int r = 0;

	assert(model);
	model->idm = idm_new(len % 2 ? IDM_CLIENT : IDM_SERVER, &handler, model);
	assert(model->idm);
	for (size_t at = 0; !r && at + 2 <= len;) {
		uint8_t op = input[at], count = input[at + 1], n = 0;

		at += 2;
		if (op % 10 < 2 || op % 10 == 7) {
			n = len - at < count ? (uint8_t)(len - at) : count;
			at += n;
		}
		r = step(model, op, count, input + at - n, n);
		assert(!r || r == -EBADMSG || r == -ENOMEM);
	}
	idm_free(model->idm);
	for (unsigned i = 0; i < model->calls; i++)
		assert(model->answered[i] == 1);
	for (unsigned i = 0; i < model->n_ends; i++)
		assert(!model->ends[i].stream);
	free(model);
	return 0;
}
