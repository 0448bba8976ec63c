// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/idm_pair.h"

#include <errno.h>
#include <string.h>

static void on_request(void *user, struct idm *idm, uint64_t id, uint32_t method, const void *data,
		       size_t len)
{
	static const uint8_t huge[IDM_PACKET_MAX];
	struct pair_end *end = user;

	end->requests++;
	end->last_request = id;
	switch (method) {
	case PAIR_ECHO:
		cr_assert_eq(idm_reply(idm, id, 0, NULL, data, len), 0);
		break;
	case PAIR_FAIL:
		cr_assert_eq(idm_reply(idm, id, -ENOENT, "no zone of that name", NULL, 0), 0);
		break;
	case PAIR_HUGE:
		cr_assert_eq(idm_reply(idm, id, 0, NULL, huge, sizeof(huge)), -EMSGSIZE);
		break;
	case PAIR_NEVER:
	case PAIR_LATER:
		break;
	default:
		cr_assert_eq(idm_reply(idm, id, -ENOSYS, NULL, NULL, 0), 0);
	}
}

static void on_event(void *user, struct idm *idm, uint32_t kind, const void *data, size_t len)
{
	struct pair_end *end = user;

	(void)idm;
	end->events++;
	end->last_event = kind;
	snprintf(end->last_text, sizeof(end->last_text), "%.*s", (int)len, (const char *)data);
}

static void on_snoop(void *user, enum idm_direction direction, const void *packet, size_t len)
{
	struct pair_end *end = user;

	cr_assert_not_null(packet);
	cr_assert_leq(len, IDM_PACKET_MAX);
	if (direction == IDM_IN)
		end->snooped_in++;
	else
		end->snooped_out++;
}

void pair_init(struct pair *pair)
{
	static const struct idm_handler handler = {on_request, on_event, on_snoop};

	*pair = (struct pair){.now_ns = 1000};
	pair->client.idm = idm_new(IDM_CLIENT, &handler, &pair->client);
	pair->server.idm = idm_new(IDM_SERVER, &handler, &pair->server);
	cr_assert_not_null(pair->client.idm);
	cr_assert_not_null(pair->server.idm);
}

void pair_deinit(struct pair *pair)
{
	pair->client.idm = idm_free(pair->client.idm);
	pair->server.idm = idm_free(pair->server.idm);
}

static int move(struct pair *pair, struct idm *from, struct idm *to, bool *moved)
{
	uint8_t buf[70000];
	size_t max = pair->chunk ? pair->chunk : 1 + (size_t)random() % sizeof(buf);
	size_t n = idm_output(from, buf, max);
	int r = 0;

	if (n) {
		*moved = true;
		r = idm_feed(to, buf, n, pair->now_ns);
	}
	if (!r && idm_next_deadline(from) == 1) {
		*moved = true;
		idm_tick(from, pair->now_ns);
	}
	return r;
}

int pair_run(struct pair *pair)
{
	bool moved = true;
	int r = 0;

	while (!r && moved) {
		moved = false;
		r = move(pair, pair->client.idm, pair->server.idm, &moved);
		if (!r)
			r = move(pair, pair->server.idm, pair->client.idm, &moved);
	}
	return r;
}

void pair_answered(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct pair_answer *answer = user;

	answer->count++;
	answer->error = error;
	answer->len = len;
	snprintf(answer->text, sizeof(answer->text), "%s", text);
	if (len && len <= sizeof(answer->payload))
		memcpy(answer->payload, payload, len);
}

void pair_stream_push(struct pair_stream *stream)
{
	stream->sent += idm_stream_write(stream->stream, stream->send + stream->sent,
					 stream->send_len - stream->sent);
	if (stream->sent == stream->send_len) {
		stream->send = NULL;
		idm_stream_end(stream->stream);
	}
}

static void on_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	struct pair_stream *end = user;

	if (end->expect)
		cr_assert_eq(memcmp(end->expect + end->received, data, len), 0, "bytes differ");
	end->received += len;
	if (!end->stopped)
		idm_stream_consumed(stream, len);
}

static void on_writable(void *user, struct idm_stream *stream)
{
	struct pair_stream *end = user;

	(void)stream;
	end->writable++;
	if (end->send)
		pair_stream_push(end);
}

static void on_closed(void *user, struct idm_stream *stream, int error)
{
	struct pair_stream *end = user;

	(void)stream;
	end->closed++;
	end->error = error;
}

const struct idm_stream_ops pair_stream_ops = {on_data, on_writable, on_closed};

void pair_open(struct pair *pair, uint32_t window, struct pair_stream *client,
	       struct pair_stream *server)
{
	uint64_t number;

	cr_assert_eq(idm_stream_open(pair->client.idm, window, &pair_stream_ops, client,
				     &client->stream),
		     0);
	cr_assert_eq(pair_run(pair), 0);
	number = idm_stream_number(client->stream);
	cr_assert_eq(idm_stream_accept(pair->server.idm, number, window, &pair_stream_ops, server,
				       &server->stream),
		     0);
	cr_assert_eq(pair_run(pair), 0);
}
