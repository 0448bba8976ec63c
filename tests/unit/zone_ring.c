// SPDX-License-Identifier: Apache-2.0
/* The byte ring: order over the wrap of the buffer and of the counters. */
#include "zone-guest/ring.h"

#include "tests/unit/harness.h"

UNIT_SUITE(zone_ring);

Test(zone_ring, bytes_come_out_as_they_went_in)
{
	uint8_t room[16], next_in = 0, next_out = 0;
	struct ring ring = {.bytes = room,
			    .size = sizeof(room),
			    .head = UINT32_MAX - 20,
			    .tail = UINT32_MAX - 20};

	for (unsigned round = 0; round < 200; round++) {
		uint8_t data[16];
		const uint8_t *at;
		unsigned len = round % 13, took;
		uint32_t run;

		for (unsigned i = 0; i < len; i++)
			data[i] = (uint8_t)(next_in + i);
		took = ring_put(&ring, data, len);
		next_in = (uint8_t)(next_in + took);
		cr_assert_leq(ring_used(&ring), ring.size);
		run = ring_peek(&ring, &at);
		for (uint32_t i = 0; i < run && i < 7; i++)
			cr_assert_eq(at[i], next_out++);
		ring_take(&ring, run < 7 ? run : 7);
	}
}

Test(zone_ring, full_takes_no_more)
{
	uint8_t room[8], *at;
	struct ring ring = {.bytes = room, .size = sizeof(room)};

	cr_assert_eq(ring_put(&ring, "0123456789", 10), 8);
	cr_assert_eq(ring_free(&ring), 0);
	cr_assert_eq(ring_space(&ring, &at), 0);
	cr_assert_eq(ring_put(&ring, "x", 1), 0);
}
