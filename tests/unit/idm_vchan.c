// SPDX-License-Identifier: Apache-2.0
/* Both ends of a vchan in one process, and a peer that writes nonsense into the shared page. */
#include "tests/unit/harness.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "idm-vsock/vchan.h"

UNIT_SUITE(vchan, .timeout = 30);

#define ORDER 12u
#define SIZE  (1u << ORDER)

struct pair {
	struct vchan_page page;
	uint8_t left[SIZE], right[SIZE];
	struct vchan server, client;
};

static void make(struct pair *p)
{
	struct vchan_layout layout;

	vchan_init_server(&p->server, &p->page, ORDER, p->left, p->right);
	cr_assert_eq(vchan_peer(&p->server), VCHAN_EXPECTED);
	p->page.grants[0] = 7;
	p->page.grants[1] = 8;
	cr_assert_eq(vchan_read_layout(&p->page, &layout), 0);
	cr_assert(layout.n_left == 1 && layout.n_right == 1);
	cr_assert(layout.grants[0] == 7 && layout.grants[1] == 8);
	vchan_init_client(&p->client, &p->page, &layout, p->left, p->right);
	cr_assert_eq(vchan_peer(&p->server), VCHAN_THERE);
	cr_assert_eq(vchan_peer(&p->client), VCHAN_THERE);
}

Test(vchan, bytes_arrive_in_order_around_the_ring_both_ways)
{
	static struct pair p;
	uint8_t out[1000], in[3000];
	uint32_t sent[2] = {0}, got[2] = {0};
	bool event = false;

	make(&p);
	for (unsigned turn = 0; turn < 5000; turn++) {
		struct vchan *ends[2] = {&p.server, &p.client};
		unsigned way = turn & 1;
		ssize_t n;

		for (unsigned i = 0; i < sizeof(out); i++)
			out[i] = (uint8_t)((sent[way] + i) * 7 / 3);
		n = vchan_write(ends[way], out, 1 + turn % sizeof(out), &event);
		cr_assert_geq(n, 0);
		sent[way] += (uint32_t)n;
		n = vchan_read(ends[!way], in, 1 + turn * 13 % sizeof(in), &event);
		cr_assert_geq(n, 0);
		for (ssize_t i = 0; i < n; i++)
			cr_assert_eq(in[i], (uint8_t)((got[way] + (uint32_t)i) * 7 / 3));
		got[way] += (uint32_t)n;
	}
	cr_expect(got[0] > 2 * SIZE && got[1] > 2 * SIZE);
}

Test(vchan, an_event_only_for_who_waits)
{
	static struct pair p;
	static uint8_t bytes[SIZE];
	bool event = false;

	make(&p);
	/* Whoever connects wants to hear of the first byte. */
	cr_expect_eq(vchan_write(&p.server, "a", 1, &event), 1);
	cr_expect(event);
	event = false;
	cr_expect_eq(vchan_write(&p.server, "b", 1, &event), 1);
	cr_expect(!event);
	cr_expect_eq(vchan_read(&p.client, bytes, sizeof(bytes), &event), 2);
	cr_expect(!event && memcmp(bytes, "ab", 2) == 0);
	cr_expect_eq(vchan_read(&p.client, bytes, sizeof(bytes), &event), 0);
	cr_expect_eq(vchan_write(&p.server, "c", 1, &event), 1);
	cr_expect(event);
	/* The same for room. */
	event = false;
	cr_expect_eq(vchan_write(&p.client, bytes, SIZE, &event), SIZE);
	cr_expect_eq(vchan_write(&p.client, bytes, 1, &event), 0);
	event = false;
	cr_expect_eq(vchan_read(&p.server, bytes, 10, &event), 10);
	cr_expect(event);
	event = false;
	cr_expect_eq(vchan_read(&p.server, bytes, 10, &event), 10);
	cr_expect(!event);
	cr_expect_eq(vchan_write(&p.client, bytes, SIZE, &event), 20);
}

Test(vchan, whoever_leaves_is_gone_and_what_was_written_is_still_read)
{
	static struct pair p;
	struct vchan_layout layout;
	char byte;
	bool event = false;

	make(&p);
	cr_expect_eq(vchan_write(&p.server, "x", 1, &event), 1);
	vchan_leave(&p.server);
	cr_expect_eq(vchan_peer(&p.client), VCHAN_GONE);
	cr_expect_eq(vchan_read(&p.client, &byte, 1, &event), 1);
	cr_expect_eq(byte, 'x');
	cr_expect_eq(vchan_read_layout(&p.page, &layout), -ENOTCONN);
	vchan_leave(&p.client);
	cr_expect_eq(vchan_peer(&p.server), VCHAN_GONE);
	/* A client cannot be expected again. */
	p.page.srv_live = VCHAN_EXPECTED;
	cr_expect_eq(vchan_peer(&p.client), VCHAN_GONE);
}

Test(vchan, nonsense_of_the_peer_is_an_error_and_touches_nothing)
{
	static const uint32_t positions[] = {SIZE + 1, 0x80000000u, UINT32_MAX - SIZE};
	static struct pair p;
	uint8_t bytes[16];
	bool event = false;

	for (unsigned i = 0; i < ARRAY_SIZE(positions); i++) {
		make(&p);
		p.page.right.prod = positions[i];
		cr_expect_eq(vchan_read(&p.client, bytes, sizeof(bytes), &event), -EBADMSG);
		p.page.left.cons = positions[i];
		cr_expect_eq(vchan_write(&p.client, bytes, sizeof(bytes), &event), -EBADMSG);
		p.page.left.prod = positions[i];
		cr_expect_eq(vchan_read(&p.server, bytes, sizeof(bytes), &event), -EBADMSG);
		p.page.right.cons = positions[i];
		cr_expect_eq(vchan_write(&p.server, bytes, sizeof(bytes), &event), -EBADMSG);
	}
	/* Positions of ours and orders in the page are the peer's to overwrite, not to decide by.
	 */
	make(&p);
	cr_expect_eq(vchan_write(&p.client, "abc", 3, &event), 3);
	p.page.left.prod = 0;
	p.page.left_order = 31;
	cr_expect_eq(vchan_write(&p.client, "def", 3, &event), 3);
	cr_expect_eq(vchan_read(&p.server, bytes, sizeof(bytes), &event), 6);
	cr_expect_eq(memcmp(bytes, "abcdef", 6), 0);
}

Test(vchan, a_layout_is_within_bounds_or_refused)
{
	static struct vchan_page page;
	struct vchan_layout layout;

	for (unsigned order = 0; order < 70000; order += order < 40 ? 1 : 977) {
		bool good = order >= VCHAN_ORDER_MIN && order <= VCHAN_ORDER_MAX;

		page = (struct vchan_page){.srv_live = VCHAN_THERE,
					   .left_order = (uint16_t)order,
					   .right_order = VCHAN_ORDER_MAX};
		if (order <= UINT16_MAX)
			cr_expect_eq(vchan_read_layout(&page, &layout), good ? 0 : -EBADMSG);
		page.right_order = (uint16_t)order;
		page.left_order = VCHAN_ORDER_MAX;
		if (order <= UINT16_MAX)
			cr_expect_eq(vchan_read_layout(&page, &layout), good ? 0 : -EBADMSG);
	}
}
