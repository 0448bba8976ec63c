// SPDX-License-Identifier: Apache-2.0
/* What a peer may not do, packet by packet, and the wire format beside protobuf-c's. */
#include "tests/unit/idm_pair.h"

#include <errno.h>
#include <string.h>

#include "idm-vsock/wire.h"
#include "proto/idm.pb-c.h"

#define FORM(name) PROTECT__IDM__FORM__FORM_##name

UNIT_SUITE(idm_hostile);

/* Feeds one packet, made by protobuf-c, to a fresh server that has accepted stream 1 (window 100)
 * if `accept`. */
static int feed_one(uint64_t id, uint64_t channel, Protect__Idm__Form form, const void *data,
		    size_t len, bool accept)
{
	Protect__Idm__Packet packet = PROTECT__IDM__PACKET__INIT;
	struct pair_stream client = {0}, server = {0};
	uint8_t *buf = malloc(len + 64);
	struct pair pair;
	uint32_t n;
	int r;

	packet.id = id;
	packet.channel = channel;
	packet.form = form;
	packet.data.data = (uint8_t *)(uintptr_t)data;
	packet.data.len = len;
	cr_assert_not_null(buf);
	n = (uint32_t)protect__idm__packet__pack(&packet, buf + 4);
	memcpy(buf, &n, 4);
	pair_init(&pair);
	if (accept)
		pair_open(&pair, 100, &client, &server);
	r = idm_feed(pair.server.idm, buf, n + 4, 1);
	pair_deinit(&pair);
	free(buf);
	return r;
}

Test(idm_hostile, bad_lengths_end_the_session)
{
	static const uint8_t zero[4], huge[4] = {1, 0, 2, 0};
	struct pair pair;

	pair_init(&pair);
	cr_assert_eq(idm_feed(pair.server.idm, zero, 4, 1), -EBADMSG);
	cr_assert_eq(idm_feed(pair.server.idm, huge, 4, 1), -EBADMSG);
	cr_assert_eq(idm_feed(pair.client.idm, huge, 4, 1), -EBADMSG);
	pair_deinit(&pair);
}

Test(idm_hostile, what_breaks_the_protocol_ends_the_session)
{
	static const uint8_t data[IDM_DATA_MAX + 1];

	cr_assert_eq(feed_one(1, 1, FORM(NONE), NULL, 0, false), -EBADMSG);
	cr_assert_eq(feed_one(1, UINT64_MAX, FORM(REQUEST), NULL, 0, false), -EBADMSG);
	cr_assert_eq(feed_one(1, 2, FORM(STREAM_OPEN), NULL, 0, false), -EBADMSG,
		     "a number of ours");
	cr_assert_eq(feed_one(1, 0, FORM(STREAM_OPEN), NULL, 0, false), -EBADMSG);
	cr_assert_eq(feed_one(IDM_WINDOW_MAX + 1, 1, FORM(STREAM_OPEN), NULL, 0, false), -EBADMSG);
	cr_assert_eq(feed_one(1, 1, FORM(STREAM_OPEN), NULL, 0, true), -EBADMSG, "open twice");
	cr_assert_eq(feed_one(0, 1, FORM(STREAM_DATA), NULL, 0, true), -EBADMSG, "no bytes");
	cr_assert_eq(feed_one(0, 1, FORM(STREAM_DATA), data, 101, true), -EBADMSG,
		     "beyond the window");
	cr_assert_eq(feed_one(0, 9, FORM(STREAM_DATA), data, sizeof(data), true), -EBADMSG,
		     "too long");
	cr_assert_eq(feed_one(IDM_WINDOW_MAX, 1, FORM(STREAM_WINDOW), NULL, 0, true), -EBADMSG);
	cr_assert_eq(feed_one(UINT64_MAX, 1, FORM(STREAM_WINDOW), NULL, 0, true), -EBADMSG);
	cr_assert_eq(feed_one(1, 1, FORM(RESPONSE), "\xff", 1, false), -EBADMSG);
}

Test(idm_hostile, what_may_be_late_is_ignored)
{
	cr_assert_eq(feed_one(77, 1, FORM(RESPONSE), NULL, 0, false), 0);
	cr_assert_eq(feed_one(0, 99, FORM(STREAM_DATA), "x", 1, true), 0);
	cr_assert_eq(feed_one(1, 99, FORM(STREAM_WINDOW), NULL, 0, true), 0);
	cr_assert_eq(feed_one(1, 99, FORM(STREAM_CLOSE), NULL, 0, true), 0);
	cr_assert_eq(feed_one(1, 1, (Protect__Idm__Form)77, NULL, 0, true), 0, "an unknown form");
	cr_assert_eq(feed_one(0, 1, FORM(STREAM_DATA), "x", 1, true), 0);
	cr_assert_eq(feed_one(UINT64_MAX, 1, FORM(STREAM_CLOSE), NULL, 0, true), 0);
}

Test(idm_hostile, data_before_the_acceptance_or_behind_the_end)
{
	static const uint8_t open[] = {4, 0, 0, 0, 0x10, 1, 0x18, 4};
	static const uint8_t bytes[] = {7, 0, 0, 0, 0x10, 1, 0x18, 5, 0x22, 1, 'x'};
	static const uint8_t end[] = {4, 0, 0, 0, 0x10, 1, 0x18, 7};
	struct pair_stream client = {0}, server = {0};
	struct pair pair;

	pair_init(&pair);
	cr_assert_eq(idm_feed(pair.server.idm, open, sizeof(open), 1), 0);
	cr_assert_eq(idm_feed(pair.server.idm, bytes, sizeof(bytes), 1), -EBADMSG);
	pair_deinit(&pair);
	pair_init(&pair);
	pair_open(&pair, 100, &client, &server);
	cr_assert_eq(idm_feed(pair.server.idm, end, sizeof(end), 1), 0);
	cr_assert_eq(idm_feed(pair.server.idm, bytes, sizeof(bytes), 1), -EBADMSG);
	pair_deinit(&pair);
}

Test(idm_hostile, an_id_in_use_cannot_be_used_again)
{
	static const uint8_t ask[] = {6, 0, 0, 0, 0x08, 5, 0x10, PAIR_NEVER, 0x18, 2};
	struct pair pair;

	pair_init(&pair);
	cr_assert_eq(idm_feed(pair.server.idm, ask, sizeof(ask), 1), 0);
	cr_assert_eq(idm_feed(pair.server.idm, ask, sizeof(ask), 1), -EBADMSG);
	cr_assert_eq(pair.server.requests, 1);
	pair_deinit(&pair);
}

Test(idm_hostile, requests_under_way_are_bounded)
{
	uint8_t ask[] = {8, 0, 0, 0, 0x08, 0x80, 0x80, 1, 0x10, PAIR_NEVER, 0x18, 2};
	struct pair pair;

	pair_init(&pair);
	for (unsigned i = 0; i < IDM_CALLS_MAX + 5; i++) {
		ask[5] = (uint8_t)(0x80 | (i & 0x7f));
		ask[6] = (uint8_t)(0x80 | (i >> 7 & 0x7f));
		cr_assert_eq(idm_feed(pair.server.idm, ask, sizeof(ask), 1), 0);
	}
	cr_assert_eq(pair.server.requests, IDM_CALLS_MAX);
	cr_assert_eq(pair.server.snooped_out, 5);
	pair_deinit(&pair);
}

Test(idm_hostile, random_bytes_do_no_harm)
{
	for (unsigned seed = 0; seed < 300; seed++) {
		struct pair pair;
		int r = 0;

		srandom(seed);
		pair_init(&pair);
		for (unsigned i = 0; !r && i < 50; i++) {
			uint8_t packet[24];
			uint8_t len = (uint8_t)(1 + random() % 20);

			for (unsigned k = 0; k < sizeof(packet); k++)
				packet[k] = (uint8_t)random();
			packet[0] = len;
			packet[1] = packet[2] = packet[3] = 0;
			packet[4] = 0x18;
			packet[5] = (uint8_t)(1 + random() % 7);
			r = idm_feed(pair.server.idm, packet, len + 4u, 1);
		}
		pair_deinit(&pair);
	}
}

Test(idm_hostile, the_wire_is_protobuf)
{
	for (unsigned i = 0; i < 200; i++) {
		struct wire_packet in = {(uint64_t)random() << i % 40, (uint64_t)random() >> i % 30,
					 1 + i % 7, (const uint8_t *)"0123456789", i % 10};
		uint8_t buf[128], again[128];
		size_t n = wire_packet_head(&in, buf);
		Protect__Idm__Packet *packet;
		struct wire_packet out;

		cr_assert_leq(n, WIRE_PACKET_HEAD_MAX);
		memcpy(buf + n, in.data, in.len);
		n += in.len;
		packet = protect__idm__packet__unpack(NULL, n, buf);
		cr_assert_not_null(packet);
		cr_assert_eq(packet->id, in.id);
		cr_assert_eq(packet->channel, in.channel);
		cr_assert_eq((uint32_t)packet->form, in.form);
		cr_assert_eq(packet->data.len, in.len);
		cr_assert_eq(protect__idm__packet__pack(packet, again), n);
		cr_assert_eq(memcmp(buf, again, n), 0);
		cr_assert_eq(wire_packet_decode(again, n, &out), 0);
		cr_assert(out.id == in.id && out.channel == in.channel && out.form == in.form &&
			  out.len == in.len);
		protect__idm__packet__free_unpacked(packet, NULL);
	}
}

Test(idm_hostile, every_truncation_of_a_reply_is_handled)
{
	struct wire_reply in = {2, (const uint8_t *)"no such zone", 12, (const uint8_t *)"payload",
				7};
	uint8_t buf[64];
	size_t n = wire_reply_encode(&in, buf);
	struct wire_reply out;
	unsigned good = 0;

	for (size_t len = 0; len < n; len++)
		good += !wire_reply_decode(buf, len, &out);
	cr_assert_eq(good, 3, "only where a field ends");
	cr_assert_eq(wire_reply_decode(buf, n, &out), 0);
	cr_assert(out.error == 2 && out.text_len == 12 && out.len == 7);
}
