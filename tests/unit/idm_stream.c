// SPDX-License-Identifier: Apache-2.0
/* Streams: windows, ends, resets, refusals, and that one which stops holds up no other. */
#include "tests/unit/idm_pair.h"

#include <errno.h>
#include <string.h>

#define MANY 20

UNIT_SUITE(idm_stream);

static uint8_t *random_bytes(size_t len)
{
	uint8_t *bytes = malloc(len);

	cr_assert_not_null(bytes);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)random();
	return bytes;
}

Test(idm_stream, ten_mib_arrive_unharmed)
{
	const size_t len = 10u << 20;
	uint8_t *bytes = random_bytes(len);
	struct pair_stream client = {.send = bytes, .send_len = len}, server = {.expect = bytes};
	struct pair pair;

	pair_init(&pair);
	pair_open(&pair, IDM_WINDOW, &client, &server);
	pair_stream_push(&client);
	cr_assert_eq(client.sent, IDM_WINDOW);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(server.received, len);
	cr_assert_eq(server.closed, 1);
	cr_assert_eq(server.error, 0);
	cr_assert_gt(client.writable, 0);
	/* the other way is still open */
	cr_assert_eq(idm_stream_write(server.stream, "done", 4), 4);
	idm_stream_end(server.stream);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(client.received, 4);
	cr_assert_eq(client.closed, 1);
	pair_deinit(&pair);
	cr_assert_eq(client.closed + server.closed, 2);
	free(bytes);
}

/* A window wider than the queue: the queue is what holds back, and its draining what goes on. */
Test(idm_stream, the_queue_bounds_a_wide_window)
{
	const size_t len = 3u << 20;
	uint8_t *bytes = random_bytes(len);
	struct pair_stream client = {.send = bytes, .send_len = len},
			   server = {.expect = bytes, .stopped = true};
	struct pair pair;

	pair_init(&pair);
	pair_open(&pair, 4u << 20, &client, &server);
	pair_stream_push(&client);
	cr_assert_eq(client.sent, IDM_STREAM_QUEUE_MAX);
	cr_assert_eq(idm_stream_room(client.stream), 0);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(server.received, len);
	pair_deinit(&pair);
	free(bytes);
}

Test(idm_stream, one_that_stops_holds_up_no_other)
{
	const size_t len = 1u << 20;
	uint8_t *bytes = random_bytes(len);
	struct pair_stream client[MANY] = {0}, server[MANY] = {0};
	struct pair_answer answer = {0};
	struct pair pair;

	pair_init(&pair);
	for (unsigned i = 0; i < MANY; i++) {
		client[i] = (struct pair_stream){.send = bytes, .send_len = len};
		server[i] = (struct pair_stream){.expect = bytes, .stopped = i == 3};
		pair_open(&pair, IDM_WINDOW, &client[i], &server[i]);
	}
	for (unsigned i = 0; i < MANY; i++)
		pair_stream_push(&client[i]);
	cr_assert_eq(idm_call(pair.client.idm, PAIR_ECHO, "x", 1, 0, pair_answered, &answer, NULL),
		     0);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(answer.count, 1);
	for (unsigned i = 0; i < MANY; i++)
		cr_assert_eq(server[i].received, i == 3 ? IDM_WINDOW : len);
	/* and goes on when it wakes up */
	server[3].stopped = false;
	idm_stream_consumed(server[3].stream, IDM_WINDOW);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(server[3].received, len);
	pair_deinit(&pair);
	free(bytes);
}

Test(idm_stream, nothing_is_written_before_the_peer_accepts)
{
	struct pair_stream client = {0}, server = {0};
	struct pair pair;

	pair_init(&pair);
	cr_assert_eq(
		idm_stream_open(pair.client.idm, 10, &pair_stream_ops, &client, &client.stream), 0);
	cr_assert_eq(idm_stream_session(client.stream), pair.client.idm);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(idm_stream_write(client.stream, "abc", 3), 0);
	cr_assert_eq(
		idm_stream_accept(pair.server.idm, 1, 2, &pair_stream_ops, &server, &server.stream),
		0);
	cr_assert_eq(
		idm_stream_accept(pair.server.idm, 1, 2, &pair_stream_ops, &server, &server.stream),
		-ENOENT);
	cr_assert_eq(
		idm_stream_accept(pair.server.idm, 3, 2, &pair_stream_ops, &server, &server.stream),
		-ENOENT);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(client.writable, 1);
	cr_assert_eq(idm_stream_write(client.stream, "abc", 3), 2);
	cr_assert_eq(idm_stream_write(server.stream, "0123456789ab", 12), 10);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(server.received, 2);
	cr_assert_eq(client.received, 10);
	pair_deinit(&pair);
	cr_assert_eq(client.error, -ECONNRESET);
	cr_assert_eq(server.error, -ECONNRESET);
}

/* `logs` ends its own direction at once, before the daemon has accepted. */
Test(idm_stream, an_end_before_the_acceptance_is_told_after_it)
{
	struct pair_stream client = {0}, server = {0};
	struct pair pair;

	pair_init(&pair);
	cr_assert_eq(
		idm_stream_open(pair.client.idm, 100, &pair_stream_ops, &client, &client.stream),
		0);
	idm_stream_end(client.stream);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(idm_stream_accept(pair.server.idm, 1, 100, &pair_stream_ops, &server,
				       &server.stream),
		     0);
	cr_assert_eq(server.closed, 0);
	cr_assert_eq(idm_next_deadline(pair.server.idm), 1);
	idm_stream_write(server.stream, "log", 3);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(server.closed, 1);
	idm_stream_end(server.stream);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(client.received, 3);
	cr_assert_eq(client.closed, 1);
	pair_deinit(&pair);
	cr_assert_eq(server.closed, 1);
}

Test(idm_stream, both_may_end_at_once)
{
	struct pair_stream client = {0}, server = {0};
	struct pair pair;

	pair_init(&pair);
	pair_open(&pair, 100, &client, &server);
	idm_stream_end(client.stream);
	idm_stream_end(server.stream);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(client.closed, 1);
	cr_assert_eq(server.closed, 1);
	pair_deinit(&pair);
	cr_assert_eq(client.closed + server.closed, 2);
}

Test(idm_stream, a_reset_ends_both_ways)
{
	struct pair_stream client = {0}, server = {0};
	struct pair pair;

	pair_init(&pair);
	pair_open(&pair, 100, &client, &server);
	cr_assert_eq(idm_stream_write(server.stream, "on its way", 10), 10);
	idm_stream_reset(client.stream, -ECANCELED);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(client.closed, 0);
	cr_assert_eq(client.received, 0);
	cr_assert_eq(server.error, -ECANCELED);
	pair_deinit(&pair);
	cr_assert_eq(server.closed, 1);
}

Test(idm_stream, a_refusal_is_told)
{
	struct pair_stream client = {0};
	struct pair pair;

	pair_init(&pair);
	cr_assert_eq(
		idm_stream_open(pair.client.idm, 100, &pair_stream_ops, &client, &client.stream),
		0);
	cr_assert_eq(pair_run(&pair), 0);
	idm_stream_refuse(pair.server.idm, 1, -EPERM);
	idm_stream_refuse(pair.server.idm, 1, -EPERM);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(client.error, -EPERM);
	pair_deinit(&pair);
	cr_assert_eq(client.closed, 1);
}

Test(idm_stream, streams_are_bounded)
{
	static struct pair_stream streams[IDM_STREAMS_MAX + 1];
	struct pair pair;

	pair_init(&pair);
	for (unsigned i = 0; i < IDM_STREAMS_MAX; i++)
		cr_assert_eq(idm_stream_open(pair.client.idm, 1, &pair_stream_ops, &streams[i],
					     &streams[i].stream),
			     0);
	cr_assert_eq(idm_stream_open(pair.client.idm, 1, &pair_stream_ops, &streams[0],
				     &streams[IDM_STREAMS_MAX].stream),
		     -EAGAIN);
	/* freed here, not yet there: the peer refuses the next one instead of dying of it */
	idm_stream_reset(streams[0].stream, -ECANCELED);
	cr_assert_eq(idm_stream_open(pair.client.idm, 1, &pair_stream_ops, &streams[0],
				     &streams[0].stream),
		     0);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(streams[0].closed, 0);
	pair_deinit(&pair);
	cr_assert_eq(streams[0].closed, 1);
}

/* Callbacks that end, reset and write to their own stream. */
static void reset_on_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	(void)data;
	(void)len;
	++*(unsigned *)user;
	idm_stream_reset(stream, -EIO);
}

static void end_on_closed(void *user, struct idm_stream *stream, int error)
{
	++*(unsigned *)user;
	if (!error)
		idm_stream_end(stream);
	else
		idm_stream_reset(stream, -EIO);
}

Test(idm_stream, callbacks_may_end_their_stream)
{
	static const struct idm_stream_ops ops = {reset_on_data, NULL, end_on_closed};
	struct pair_stream first = {0}, second = {0};
	struct idm_stream *stream;
	unsigned calls = 0;
	struct pair pair;

	pair_init(&pair);
	cr_assert_eq(idm_stream_open(pair.client.idm, 9, &pair_stream_ops, &first, &first.stream),
		     0);
	cr_assert_eq(idm_stream_open(pair.client.idm, 9, &pair_stream_ops, &second, &second.stream),
		     0);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(idm_stream_accept(pair.server.idm, 1, 9, &ops, &calls, &stream), 0);
	cr_assert_eq(idm_stream_accept(pair.server.idm, 3, 9, &ops, &calls, &stream), 0);
	cr_assert_eq(pair_run(&pair), 0);
	idm_stream_write(first.stream, "x", 1);
	idm_stream_end(second.stream);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(calls, 2);
	cr_assert_eq(first.error, -EIO);
	cr_assert_eq(second.error, 0);
	cr_assert_eq(second.closed, 1);
	pair_deinit(&pair);
	cr_assert_eq(calls, 2);
}

/* Many one-byte writes must not cost more memory than a few large ones. */
Test(idm_stream, unsent_packets_are_bounded)
{
	struct pair_stream client = {0}, server = {0};
	struct pair pair;
	size_t sent = 0;

	pair_init(&pair);
	pair_open(&pair, IDM_WINDOW, &client, &server);
	while (idm_stream_write(client.stream, "x", 1))
		sent++;
	cr_assert_lt(sent, 10000);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(server.received, sent);
	cr_assert_eq(client.writable, 1);
	pair_deinit(&pair);
}

/* A peer that grants wide windows on all streams and reads none: what waits for it has one bound,
 * and all goes on when it reads. */
Test(idm_stream, the_queues_of_all_streams_have_a_bound)
{
	enum { STREAMS = 60 };
	const size_t len = 512u * 1024;
	uint8_t *bytes = random_bytes(len);
	struct pair_stream client[STREAMS] = {0}, server[STREAMS] = {0};
	struct pair pair;
	size_t waiting = 0;

	pair_init(&pair);
	for (unsigned i = 0; i < STREAMS; i++) {
		client[i] = (struct pair_stream){.send = bytes, .send_len = len};
		server[i] = (struct pair_stream){.expect = bytes};
		pair_open(&pair, 1u << 20, &client[i], &server[i]);
	}
	for (unsigned i = 0; i < STREAMS; i++) {
		pair_stream_push(&client[i]);
		cr_assert_geq(client[i].sent, IDM_STREAM_QUEUE_MIN);
		waiting += client[i].sent;
	}
	cr_assert_leq(waiting,
		      IDM_QUEUE_MAX + IDM_STREAM_QUEUE_MAX + STREAMS * IDM_STREAM_QUEUE_MIN);
	cr_assert_eq(pair_run(&pair), 0);
	for (unsigned i = 0; i < STREAMS; i++)
		cr_assert_eq(server[i].received, len);
	pair_deinit(&pair);
	free(bytes);
}
