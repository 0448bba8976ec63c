// SPDX-License-Identifier: Apache-2.0
/*
 * Splices between two sessions, each with its peer in this process: bytes and ends go through in
 * both directions, a reader that stops holds up its writer within the window, and a side may vanish
 * at any time.
 */
#include "harness.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "supervisor/daemon/splice.h"

UNIT_SUITE(daemon_splice);

/* The far end of a stream: takes bytes (unless it stopped) and counts. */
struct peer {
	struct idm *far, *near; /* the two ends of one session */
	struct idm_stream *stream;
	char got[4096];
	size_t got_len, total;
	bool stopped, ended;
	int error;
};

struct pair {
	struct peer client, agent;
	struct splice splice;
	size_t tapped;
	unsigned changes;
};

static void got_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	struct peer *peer = user;

	if (peer->got_len + len <= sizeof(peer->got)) {
		memcpy(peer->got + peer->got_len, data, len);
		peer->got_len += len;
	}
	peer->total += len;
	if (!peer->stopped)
		idm_stream_consumed(stream, len);
}

static void got_end(void *user, struct idm_stream *stream, int error)
{
	struct peer *peer = user;

	(void)stream;
	peer->ended = true;
	peer->error = error;
	if (error)
		peer->stream = NULL;
}

static const struct idm_stream_ops ops = {.data = got_data, .closed = got_end};
static const struct idm_handler handler;

/* Carries bytes between the ends of both sessions until nothing moves. */
static void settle(struct pair *p)
{
	struct idm *ends[4] = {p->client.far, p->client.near, p->agent.far, p->agent.near};
	static uint8_t bytes[65536];
	bool moved = true;

	while (moved) {
		moved = false;
		for (unsigned i = 0; i < 4; i++) {
			size_t n;

			if (!ends[i] || !ends[i ^ 1])
				continue;
			n = idm_output(ends[i], bytes, sizeof(bytes));
			if (n) {
				cr_assert_eq(idm_feed(ends[i ^ 1], bytes, n, 1), 0);
				moved = true;
			}
			if (idm_next_deadline(ends[i]) == 1) {
				idm_tick(ends[i], 1);
				moved = true;
			}
		}
	}
}

static void tap(void *user, const void *data, size_t len)
{
	(void)data;
	((struct pair *)user)->tapped += len;
}

static void changed(void *user, struct splice *splice)
{
	(void)splice;
	((struct pair *)user)->changes++;
}

static void setup(struct pair *p)
{
	memset(p, 0, sizeof(*p));
	p->client.far = idm_new(IDM_CLIENT, &handler, NULL);
	p->client.near = idm_new(IDM_SERVER, &handler, NULL);
	p->agent.near = idm_new(IDM_CLIENT, &handler, NULL);
	p->agent.far = idm_new(IDM_SERVER, &handler, NULL);
	splice_init(&p->splice, p);
	p->splice.tap = tap;
	p->splice.changed = changed;
}

/* Both sides as in an exec: the client opens, the daemon accepts and opens on, the agent accepts.
 */
static void connect_both(struct pair *p)
{
	cr_assert_eq(
		idm_stream_open(p->client.far, IDM_WINDOW, &ops, &p->client, &p->client.stream), 0);
	settle(p);
	cr_assert_eq(splice_accept(&p->splice, SPLICE_CLIENT, p->client.near,
				   idm_stream_number(p->client.stream)),
		     0);
	cr_assert_eq(splice_open(&p->splice, SPLICE_AGENT, p->agent.near), 0);
	settle(p);
	cr_assert_eq(idm_stream_accept(p->agent.far, splice_number(&p->splice, SPLICE_AGENT),
				       IDM_WINDOW, &ops, &p->agent, &p->agent.stream),
		     0);
	settle(p);
}

static void teardown(struct pair *p)
{
	splice_deinit(&p->splice);
	splice_deinit(&p->splice);
	idm_free(p->client.far);
	idm_free(p->client.near);
	idm_free(p->agent.far);
	idm_free(p->agent.near);
}

Test(daemon_splice, bytes_and_ends_both_ways)
{
	struct pair p;

	setup(&p);
	connect_both(&p);
	cr_assert_eq(idm_stream_write(p.client.stream, "stdin", 5), 5);
	cr_assert_eq(idm_stream_write(p.agent.stream, "stdout", 6), 6);
	settle(&p);
	cr_expect(p.agent.got_len == 5 && memcmp(p.agent.got, "stdin", 5) == 0);
	cr_expect(p.client.got_len == 6 && memcmp(p.client.got, "stdout", 6) == 0);
	cr_expect_eq(p.tapped, 6);
	idm_stream_end(p.client.stream);
	settle(&p);
	cr_expect(p.agent.ended && p.agent.error == 0 && !p.client.ended);
	cr_assert_eq(idm_stream_write(p.agent.stream, "!", 1), 1);
	idm_stream_end(p.agent.stream);
	settle(&p);
	cr_expect(p.client.got_len == 7 && p.client.ended && p.client.error == 0);
	cr_expect_null(p.splice.ends[SPLICE_CLIENT].stream);
	cr_expect_null(p.splice.ends[SPLICE_AGENT].stream);
	teardown(&p);
}

Test(daemon_splice, a_reader_that_stops_holds_up_its_writer_within_the_window)
{
	static char block[65536];
	size_t written = 0;
	struct pair p;

	setup(&p);
	connect_both(&p);
	p.client.stopped = true;
	for (unsigned i = 0; i < 100; i++) {
		written += idm_stream_write(p.agent.stream, block, sizeof(block));
		settle(&p);
	}
	cr_expect_eq(p.client.total, IDM_WINDOW);
	cr_expect_leq(written, 2 * IDM_WINDOW + IDM_STREAM_QUEUE_MAX);
	cr_expect_leq(p.splice.from[SPLICE_AGENT].len, IDM_WINDOW);
	cr_expect(!splice_drained(&p.splice, SPLICE_AGENT));
	p.client.stopped = false;
	idm_stream_consumed(p.client.stream, IDM_WINDOW);
	settle(&p);
	cr_expect_eq(p.client.total, written);
	cr_expect(splice_drained(&p.splice, SPLICE_AGENT));
	teardown(&p);
}

Test(daemon_splice, the_end_waits_for_the_bytes_before_it)
{
	static char block[65536];
	size_t written = 0;
	struct pair p;

	setup(&p);
	connect_both(&p);
	p.client.stopped = true;
	for (unsigned i = 0; i < 8; i++) {
		written += idm_stream_write(p.agent.stream, block, sizeof(block));
		settle(&p);
	}
	splice_finish(&p.splice, SPLICE_AGENT);
	splice_reset_agent(&p.splice, -ECANCELED);
	settle(&p);
	cr_expect(!p.client.ended);
	p.client.stopped = false;
	idm_stream_consumed(p.client.stream, p.client.total);
	settle(&p);
	cr_expect_eq(p.client.total, written);
	cr_expect(p.client.ended && p.client.error == 0);
	teardown(&p);
}

Test(daemon_splice, without_a_client_output_flows_on)
{
	static char block[65536];
	struct pair p;
	size_t written = 0;

	setup(&p);
	connect_both(&p);
	p.client.stopped = true;
	while (written < 4 * IDM_WINDOW) {
		written += idm_stream_write(p.agent.stream, block, sizeof(block));
		settle(&p);
		/* In the middle of it the client vanishes. */
		if (p.client.near && p.splice.from[SPLICE_AGENT].len) {
			p.client.near = idm_free(p.client.near);
			settle(&p);
		}
	}
	settle(&p);
	cr_expect_eq(p.tapped, written);
	cr_expect(p.agent.ended, "its input ends when the client goes");
	cr_expect(splice_drained(&p.splice, SPLICE_AGENT));
	teardown(&p);
}

static bool may_not_take(void *user, size_t len)
{
	(void)user, (void)len;
	return false;
}

static size_t flood(struct pair *p)
{
	static char block[65536];
	size_t written = 0;

	for (unsigned i = 0; i < 20; i++) {
		written += idm_stream_write(p->agent.stream, block, sizeof(block));
		settle(p);
	}
	return written;
}

Test(daemon_splice, an_agent_that_floods_nobody_waits_for_its_credit)
{
	struct pair p;
	size_t written;

	setup(&p);
	connect_both(&p);
	p.splice.may_take = may_not_take;
	p.client.near = idm_free(p.client.near);
	written = flood(&p);
	cr_expect_eq(p.tapped, IDM_WINDOW);
	cr_expect_eq(p.splice.owed, IDM_WINDOW);
	splice_pay(&p.splice);
	settle(&p);
	written += flood(&p);
	cr_expect_eq(p.tapped, 2 * IDM_WINDOW);
	p.splice.may_take = NULL;
	splice_pay(&p.splice);
	settle(&p);
	written += flood(&p);
	cr_expect_eq(p.tapped, written);
	cr_expect_eq(p.splice.owed, 0);
	teardown(&p);
}

Test(daemon_splice, input_waits_for_an_agent)
{
	struct pair p;

	setup(&p);
	cr_assert_eq(idm_stream_open(p.client.far, IDM_WINDOW, &ops, &p.client, &p.client.stream),
		     0);
	settle(&p);
	cr_assert_eq(splice_accept(&p.splice, SPLICE_CLIENT, p.client.near,
				   idm_stream_number(p.client.stream)),
		     0);
	settle(&p);
	cr_assert_eq(idm_stream_write(p.client.stream, "early", 5), 5);
	idm_stream_end(p.client.stream);
	settle(&p);
	cr_assert_eq(splice_open(&p.splice, SPLICE_AGENT, p.agent.near), 0);
	settle(&p);
	cr_assert_eq(idm_stream_accept(p.agent.far, splice_number(&p.splice, SPLICE_AGENT),
				       IDM_WINDOW, &ops, &p.agent, &p.agent.stream),
		     0);
	settle(&p);
	cr_expect(p.agent.got_len == 5 && memcmp(p.agent.got, "early", 5) == 0 && p.agent.ended);
	teardown(&p);
}

Test(daemon_splice, an_agent_that_vanishes_can_come_again)
{
	struct pair p;

	setup(&p);
	connect_both(&p);
	p.agent.near = idm_free(p.agent.near);
	p.agent.far = idm_free(p.agent.far);
	settle(&p);
	cr_expect(!p.client.ended);
	p.agent = (struct peer){.near = idm_new(IDM_CLIENT, &handler, NULL),
				.far = idm_new(IDM_SERVER, &handler, NULL)};
	cr_assert_eq(splice_open(&p.splice, SPLICE_AGENT, p.agent.near), 0);
	settle(&p);
	cr_assert_eq(idm_stream_accept(p.agent.far, splice_number(&p.splice, SPLICE_AGENT),
				       IDM_WINDOW, &ops, &p.agent, &p.agent.stream),
		     0);
	settle(&p);
	cr_assert_eq(idm_stream_write(p.agent.stream, "again", 5), 5);
	settle(&p);
	cr_expect(p.client.got_len == 5);
	teardown(&p);
}
