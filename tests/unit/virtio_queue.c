// SPDX-License-Identifier: Apache-2.0
/* Guest memory and the split queue by themselves, with rings written by hand. */
#include "tests/unit/harness.h"

#include <errno.h>
#include <string.h>

#include <linux/virtio_ring.h>

#include "virtio/mem.h"
#include "virtio/queue.h"

UNIT_SUITE(virtio_queue);

#define LEN   0x10000u
#define SIZE  8u
#define AVAIL 0x1000u
#define USED  0x2000u
#define DATA  0x4000u

struct ring {
	uint8_t *low, *high; /* [0, LEN) and [LEN, 2 * LEN), not adjoining in the host */
	struct mem mem;
	struct vq vq;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	unsigned interrupts;
};

static void on_interrupt(void *user)
{
	((struct ring *)user)->interrupts++;
}

static void init(struct ring *ring, uint16_t size, bool event_idx)
{
	*ring = (struct ring){0};
	cr_assert_eq(posix_memalign((void **)&ring->high, 4096, LEN), 0);
	cr_assert_eq(posix_memalign((void **)&ring->low, 4096, LEN), 0);
	memset(ring->low, 0, LEN);
	memset(ring->high, 0, LEN);
	ring->mem = (struct mem){.n_regions = 2,
				 .regions = {{.start = 0, .len = LEN, .host = ring->low},
					     {.start = LEN, .len = LEN, .host = ring->high}}};
	ring->vq = (struct vq){.mem = &ring->mem,
			       .size = size,
			       .max_size = 256,
			       .driver_gpa = AVAIL,
			       .device_gpa = USED,
			       .indirect = true,
			       .interrupt = on_interrupt,
			       .interrupt_user = ring};
	ring->desc = (struct vring_desc *)(void *)ring->low;
	ring->avail = (struct vring_avail *)(void *)(ring->low + AVAIL);
	ring->used = (struct vring_used *)(void *)(ring->low + USED);
	cr_assert_eq(vq_enable(&ring->vq, event_idx), 0);
}

static void end(struct ring *ring)
{
	free(ring->low);
	free(ring->high);
}

static void set_desc(struct ring *ring, unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
		     uint16_t next)
{
	ring->desc[i] = (struct vring_desc){.addr = addr, .len = len, .flags = flags, .next = next};
}

static void offer(struct ring *ring, uint16_t head)
{
	ring->avail->ring[ring->avail->idx % ring->vq.size] = head;
	ring->avail->idx++;
}

static int pop_one(struct ring *ring, uint16_t head)
{
	struct vq_chain chain;

	offer(ring, head);
	return vq_pop(&ring->vq, &chain);
}

Test(virtio_queue, translation)
{
	struct ring ring;
	struct iovec iov[2];

	init(&ring, SIZE, false);
	cr_assert_eq(mem_ptr(&ring.mem, 0, LEN), ring.low);
	cr_assert_eq(mem_ptr(&ring.mem, LEN, 1), ring.high);
	cr_assert_null(mem_ptr(&ring.mem, 0, 0));
	cr_assert_null(mem_ptr(&ring.mem, LEN - 1, 2), "over the border");
	cr_assert_null(mem_ptr(&ring.mem, 2 * LEN - 1, 2));
	cr_assert_null(mem_ptr(&ring.mem, 2 * LEN, 1));
	cr_assert_null(mem_ptr(&ring.mem, 16, UINT64_MAX));
	cr_assert_null(mem_ptr(&ring.mem, UINT64_MAX, 16));
	cr_assert_eq(mem_iov(&ring.mem, LEN - 10, 30, iov, 2), 2);
	cr_assert_eq(iov[0].iov_base, ring.low + LEN - 10);
	cr_assert_eq(iov[0].iov_len, 10);
	cr_assert_eq(iov[1].iov_base, ring.high);
	cr_assert_eq(iov[1].iov_len, 20);
	cr_assert_eq(mem_iov(&ring.mem, LEN - 10, 30, iov, 1), -E2BIG);
	cr_assert_eq(mem_iov(&ring.mem, 0, 0, iov, 2), -EINVAL);
	cr_assert_eq(mem_iov(&ring.mem, 0, UINT32_MAX, iov, 2), -EFAULT);
	cr_assert_eq(mem_iov(&ring.mem, UINT64_MAX, 2, iov, 2), -EFAULT);
	end(&ring);
}

Test(virtio_queue, memory_up_to_the_last_address)
{
	uint8_t page[16];
	struct mem mem = {.n_regions = 2,
			  .regions = {{.start = 0, .len = 8, .host = page},
				      {.start = UINT64_MAX - 7, .len = 8, .host = page + 8}}};
	struct iovec iov[4];

	cr_assert_eq(mem_iov(&mem, UINT64_MAX - 3, 4, iov, 4), 1);
	cr_assert_eq(mem_iov(&mem, UINT64_MAX - 3, 8, iov, 4), -EFAULT, "addresses do not wrap");
	cr_assert_null(mem_ptr(&mem, UINT64_MAX - 3, 8));
}

Test(virtio_queue, enabling_checks_everything)
{
	struct ring ring;
	struct vq vq;

	init(&ring, SIZE, false);
	const struct {
		uint16_t size;
		gpa_t desc, avail, used;
	} bad[] = {
		{0, 0, AVAIL, USED},	      {3, 0, AVAIL, USED},
		{512, 0, AVAIL, USED},	      {8, 8, AVAIL, USED},
		{8, 0, AVAIL + 1, USED},      {8, 0, AVAIL, USED + 2},
		{8, 2 * LEN, AVAIL, USED},    {8, 2 * LEN - 112, AVAIL, USED},
		{8, 0, 2 * LEN - 20, USED},   {8, 0, AVAIL, 2 * LEN - 68},
		{8, LEN - 64, AVAIL, USED},   {8, UINT64_MAX - 15, AVAIL, USED},
		{8, 0, UINT64_MAX - 1, USED}, {8, 0, AVAIL, UINT64_MAX - 3},
	};
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		vq = ring.vq;
		vq_reset(&vq);
		vq.size = bad[i].size;
		vq.desc_gpa = bad[i].desc;
		vq.driver_gpa = bad[i].avail;
		vq.device_gpa = bad[i].used;
		cr_assert_eq(vq_enable(&vq, false), -EINVAL, "case %u", i);
		cr_assert(!vq.enabled);
	}
	end(&ring);
}

Test(virtio_queue, chain_with_both_directions)
{
	struct ring ring;
	struct vq_chain chain;
	char text[16] = "";

	init(&ring, SIZE, false);
	memcpy(ring.low + DATA, "hello ", 6);
	memcpy(ring.low + DATA + 100, "there", 5);
	set_desc(&ring, 2, DATA, 6, VRING_DESC_F_NEXT, 5);
	set_desc(&ring, 5, DATA + 100, 5, VRING_DESC_F_NEXT, 1);
	set_desc(&ring, 1, LEN - 4, 8, VRING_DESC_F_WRITE, 0);
	offer(&ring, 2);
	cr_assert_eq(vq_pop(&ring.vq, &chain), 1);
	cr_assert_eq(vq_pop(&ring.vq, &chain), 0);
	cr_assert_eq(chain.head, 2);
	cr_assert_eq(chain.n_out, 2);
	cr_assert_eq(chain.n_in, 2, "split at the border of the regions");
	cr_assert_eq(chain.out_len, 11);
	cr_assert_eq(chain.in_len, 8);
	cr_assert_eq(vq_copy_out(&chain, 0, text, sizeof(text)), 11);
	cr_assert_str_eq(text, "hello there");
	cr_assert_eq(vq_copy_out(&chain, 4, text, 4), 4);
	cr_assert_eq(memcmp(text, "o th", 4), 0);
	cr_assert_eq(vq_copy_out(&chain, 11, text, 4), 0);
	cr_assert_eq(vq_copy_in(&chain, 2, "abcdefgh", 8), 6);
	cr_assert_eq(memcmp(ring.low + LEN - 2, "ab", 2), 0);
	cr_assert_eq(memcmp(ring.high, "cdef", 4), 0);
	cr_assert_eq(ring.high[4], 0);
	vq_push(&ring.vq, chain.head, 8);
	cr_assert_eq(ring.used->idx, 0, "not before the flush");
	vq_flush(&ring.vq);
	cr_assert_eq(ring.used->idx, 1);
	cr_assert_eq(ring.used->ring[0].id, 2);
	cr_assert_eq(ring.used->ring[0].len, 8);
	cr_assert_eq(ring.interrupts, 1);
	vq_flush(&ring.vq);
	cr_assert_eq(ring.interrupts, 1);
	end(&ring);
}

Test(virtio_queue, indirect_tables)
{
	struct ring ring;
	struct vq_chain chain;
	struct vring_desc table[3] = {
		{.addr = DATA, .len = 1, .flags = VRING_DESC_F_NEXT, .next = 2},
		{.addr = 0, .len = 0, .flags = 0},
		{.addr = DATA + 8, .len = 2, .flags = VRING_DESC_F_WRITE}};

	init(&ring, SIZE, false);
	/* After an ordinary one, at an odd address. */
	memcpy(ring.low + DATA + 0x101, table, sizeof(table));
	set_desc(&ring, 0, DATA + 16, 4, VRING_DESC_F_NEXT, 1);
	set_desc(&ring, 1, DATA + 0x101, sizeof(table), VRING_DESC_F_INDIRECT, 0);
	offer(&ring, 0);
	cr_assert_eq(vq_pop(&ring.vq, &chain), 1);
	cr_assert_eq(chain.out_len, 5);
	cr_assert_eq(chain.in_len, 2);
	end(&ring);
}

static void expect_bad(void (*prepare)(struct ring *), uint16_t head)
{
	struct ring ring;
	struct vq_chain chain;

	init(&ring, SIZE, false);
	prepare(&ring);
	cr_assert_eq(pop_one(&ring, head), -EBADMSG);
	cr_assert_eq(vq_pop(&ring.vq, &chain), -EBADMSG, "for good");
	cr_assert(!vq_want_kicks(&ring.vq));
	vq_reset(&ring.vq);
	ring.vq.size = SIZE;
	ring.avail->idx = 0;
	set_desc(&ring, 0, DATA, 1, 0, 0);
	cr_assert_eq(vq_enable(&ring.vq, false), 0);
	cr_assert_eq(pop_one(&ring, 0), 1, "until a reset");
	end(&ring);
}

static void loop_of_two(struct ring *ring)
{
	set_desc(ring, 0, DATA, 1, VRING_DESC_F_NEXT, 1);
	set_desc(ring, 1, DATA, 1, VRING_DESC_F_NEXT, 0);
}

static void loop_of_zero_length(struct ring *ring) /* CVE-2016-6490 */
{
	set_desc(ring, 0, DATA, 0, VRING_DESC_F_NEXT, 0);
}

static void next_outside(struct ring *ring)
{
	set_desc(ring, 0, DATA, 1, VRING_DESC_F_NEXT, SIZE);
}

static void readable_after_writable(struct ring *ring)
{
	set_desc(ring, 0, DATA, 1, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	set_desc(ring, 1, DATA, 1, 0, 0);
}

static void outside_memory(struct ring *ring)
{
	set_desc(ring, 0, 2 * LEN - 1, 2, 0, 0);
}

static void wrapping_address(struct ring *ring)
{
	set_desc(ring, 0, UINT64_MAX, 2, 0, 0);
}

static void indirect_of_no_length(struct ring *ring)
{
	set_desc(ring, 0, DATA, 0, VRING_DESC_F_INDIRECT, 0);
}

static void indirect_of_odd_length(struct ring *ring)
{
	set_desc(ring, 0, DATA, 24, VRING_DESC_F_INDIRECT, 0);
}

static void indirect_and_next(struct ring *ring)
{
	set_desc(ring, 0, DATA, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1);
	set_desc(ring, 1, DATA, 1, 0, 0);
}

static void indirect_outside(struct ring *ring)
{
	set_desc(ring, 0, 2 * LEN - 16, 32, VRING_DESC_F_INDIRECT, 0);
}

static void indirect_huge(struct ring *ring)
{
	set_desc(ring, 0, 0, 0xfffffff0, VRING_DESC_F_INDIRECT, 0);
}

static void indirect_in_itself(struct ring *ring)
{
	struct vring_desc desc = {.addr = DATA, .len = 16, .flags = VRING_DESC_F_INDIRECT};

	memcpy(ring->low + DATA, &desc, sizeof(desc));
	ring->desc[0] = desc;
}

static void indirect_loop(struct ring *ring)
{
	struct vring_desc desc = {.addr = DATA, .len = 1, .flags = VRING_DESC_F_NEXT, .next = 0};

	memcpy(ring->low + DATA + 64, &desc, sizeof(desc));
	set_desc(ring, 0, DATA + 64, 16, VRING_DESC_F_INDIRECT, 0);
}

static void nothing(struct ring *ring)
{
	(void)ring;
}

Test(virtio_queue, malformed_chains_break_the_queue)
{
	expect_bad(loop_of_two, 0);
	expect_bad(loop_of_zero_length, 0);
	expect_bad(next_outside, 0);
	expect_bad(readable_after_writable, 0);
	expect_bad(outside_memory, 0);
	expect_bad(wrapping_address, 0);
	expect_bad(indirect_of_no_length, 0);
	expect_bad(indirect_of_odd_length, 0);
	expect_bad(indirect_and_next, 0);
	expect_bad(indirect_outside, 0);
	expect_bad(indirect_huge, 0);
	expect_bad(indirect_in_itself, 0);
	expect_bad(indirect_loop, 0);
	expect_bad(nothing, SIZE); /* a head outside: CVE-2011-2512, CVE-2021-45464 */
	expect_bad(nothing, UINT16_MAX);
}

Test(virtio_queue, lengths_that_do_not_fit_their_sum)
{
	struct ring ring;
	struct mem mem;

	/* A region that claims to be huge: nothing of it is touched. */
	init(&ring, SIZE, false);
	mem = ring.mem;
	mem.regions[1] =
		(struct mem_region){.start = 0x100000000, .len = 1ull << 40, .host = ring.high};
	ring.vq.mem = &mem;
	set_desc(&ring, 0, 0x100000000, UINT32_MAX, VRING_DESC_F_NEXT, 1);
	set_desc(&ring, 1, 0x100000000, 1, 0, 0);
	cr_assert_eq(pop_one(&ring, 0), -EBADMSG);
	end(&ring);
}

Test(virtio_queue, available_index_that_jumps)
{
	struct ring ring;
	struct vq_chain chain;

	init(&ring, SIZE, false);
	set_desc(&ring, 0, DATA, 1, 0, 0);
	ring.avail->idx = SIZE + 1;
	cr_assert_eq(vq_pop(&ring.vq, &chain), -EBADMSG);
	end(&ring);
}

/* CVE-2026-45782, CVE-2016-5403: a head comes once, so no more than the queue's size can be in
 * flight. */
Test(virtio_queue, heads_in_flight)
{
	struct ring ring;
	struct vq_chain chain;

	init(&ring, SIZE, false);
	for (uint16_t i = 0; i < SIZE; i++) {
		set_desc(&ring, i, DATA, 1, 0, 0);
		cr_assert_eq(pop_one(&ring, i), 1);
	}
	cr_assert_eq(ring.vq.n_in_flight, SIZE);
	for (uint16_t i = SIZE; i-- > 0;) /* in any order */
		vq_push(&ring.vq, i, 0);
	vq_flush(&ring.vq);
	cr_assert_eq(ring.used->idx, SIZE);
	cr_assert_eq(ring.used->ring[0].id, SIZE - 1);
	cr_assert_eq(ring.interrupts, 1);
	cr_assert_eq(pop_one(&ring, 3), 1);
	cr_assert_eq(pop_one(&ring, 3), -EBADMSG);
	cr_assert_eq(vq_pop(&ring.vq, &chain), -EBADMSG);
	cr_assert_eq(ring.vq.n_in_flight, 1);
	end(&ring);
}

Test(virtio_queue, segments_of_a_chain_are_bounded)
{
	struct ring ring;
	struct vq_chain chain;

	init(&ring, 256, false);
	for (uint16_t i = 0; i < VQ_IOV_MAX; i++)
		set_desc(&ring, i, DATA, 1, i + 1 < VQ_IOV_MAX ? VRING_DESC_F_NEXT : 0,
			 (uint16_t)(i + 1));
	offer(&ring, 0);
	cr_assert_eq(vq_pop(&ring.vq, &chain), 1);
	cr_assert_eq(chain.n_out, VQ_IOV_MAX);
	vq_push(&ring.vq, 0, 0);
	set_desc(&ring, VQ_IOV_MAX - 1, DATA, 1, VRING_DESC_F_NEXT, VQ_IOV_MAX);
	set_desc(&ring, VQ_IOV_MAX, DATA, 1, 0, 0);
	cr_assert_eq(pop_one(&ring, 0), -EBADMSG);
	end(&ring);
}

Test(virtio_queue, indices_wrap)
{
	struct ring ring;
	struct vq_chain chain;

	init(&ring, SIZE, true);
	set_desc(&ring, 0, DATA, 1, 0, 0);
	for (unsigned i = 0; i < 70000; i++) {
		offer(&ring, 0);
		cr_assert_eq(vq_pop(&ring.vq, &chain), 1);
		vq_push(&ring.vq, 0, i);
		vq_flush(&ring.vq);
		cr_assert_eq(ring.used->idx, (uint16_t)(i + 1));
	}
	end(&ring);
}

Test(virtio_queue, interrupts_when_wanted)
{
	struct ring ring;

	init(&ring, SIZE, false);
	set_desc(&ring, 0, DATA, 1, 0, 0);
	ring.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	cr_assert_eq(pop_one(&ring, 0), 1);
	vq_push(&ring.vq, 0, 0);
	vq_flush(&ring.vq);
	cr_assert_eq(ring.interrupts, 0);
	cr_assert_eq(ring.used->idx, 1);
	end(&ring);

	init(&ring, SIZE, true);
	set_desc(&ring, 0, DATA, 1, 0, 0);
	ring.avail->ring[SIZE] = 2; /* used_event: tell when the third is there */
	for (unsigned i = 0; i < 4; i++) {
		cr_assert_eq(pop_one(&ring, 0), 1);
		vq_push(&ring.vq, 0, 0);
		vq_flush(&ring.vq);
		cr_assert_eq(ring.interrupts, i >= 2);
	}
	end(&ring);
}

Test(virtio_queue, kicks_when_wanted)
{
	struct ring ring;
	uint16_t avail_event;

	init(&ring, SIZE, false);
	set_desc(&ring, 0, DATA, 1, 0, 0);
	vq_no_kicks(&ring.vq);
	cr_assert_eq(ring.used->flags, VRING_USED_F_NO_NOTIFY);
	cr_assert(!vq_want_kicks(&ring.vq));
	cr_assert_eq(ring.used->flags, 0);
	offer(&ring, 0);
	cr_assert(vq_want_kicks(&ring.vq), "one came in the meantime");
	end(&ring);

	init(&ring, SIZE, true);
	set_desc(&ring, 0, DATA, 1, 0, 0);
	cr_assert_eq(pop_one(&ring, 0), 1);
	cr_assert(!vq_want_kicks(&ring.vq));
	memcpy(&avail_event, &ring.used->ring[SIZE], 2);
	cr_assert_eq(avail_event, 1);
	cr_assert_eq(ring.used->flags, 0);
	end(&ring);
}

/* The largest queue: its rings do not fit where those of the other tests are. */
Test(virtio_queue, of_1024_entries)
{
	struct ring ring;
	struct vq_chain chain;
	struct vq *vq = &ring.vq;

	init(&ring, SIZE, true);
	vq_reset(vq);
	vq->size = 1024;
	vq->driver_gpa = 0x4000;
	vq->device_gpa = LEN - 0x2008;
	cr_assert_eq(vq_enable(vq, true), -EINVAL, "larger than it may be");
	vq->max_size = 2048;
	vq->size = 2048;
	cr_assert_eq(vq_enable(vq, true), -EINVAL, "larger than any may be");
	vq->size = vq->max_size = 1024;
	cr_assert_eq(vq_enable(vq, true), 0);
	ring.avail = (struct vring_avail *)(void *)(ring.low + vq->driver_gpa);
	ring.used = (struct vring_used *)(void *)(ring.low + vq->device_gpa);
	for (unsigned turn = 0; turn < 3; turn++) {
		for (unsigned i = 0; i < 1024; i++) {
			set_desc(&ring, i, LEN, 1, 0, 0);
			offer(&ring, (uint16_t)(1023 - i));
		}
		for (unsigned i = 0; i < 1024; i++) {
			cr_assert_eq(vq_pop(vq, &chain), 1);
			cr_assert_eq(chain.head, 1023 - i);
		}
		cr_assert_eq(vq_pop(vq, &chain), 0);
		cr_assert_eq(vq->n_in_flight, 1024);
		for (unsigned i = 0; i < 1024; i++)
			vq_push(vq, (uint16_t)i, i);
		vq_flush(vq);
		cr_assert_eq(ring.used->idx, (turn + 1) * 1024);
		cr_assert_eq(ring.used->ring[1023].id, 1023);
	}
	cr_assert_eq(ring.interrupts, 1);
	cr_assert_eq(pop_one(&ring, 1024), -EBADMSG);
	end(&ring);
}

Test(virtio_queue, stopped)
{
	struct ring ring;
	struct vq_chain chain;

	init(&ring, SIZE, false);
	set_desc(&ring, 0, DATA, 1, 0, 0);
	set_desc(&ring, 1, DATA, 1, 0, 0);
	cr_assert_eq(pop_one(&ring, 0), 1);
	offer(&ring, 1);
	ring.vq.stopped = true;
	cr_assert_eq(vq_pop(&ring.vq, &chain), 0);
	vq_no_kicks(&ring.vq);
	cr_assert_eq(ring.used->flags, 0);
	cr_assert_not(vq_want_kicks(&ring.vq));
	vq_push(&ring.vq, 0, 0);
	vq_flush(&ring.vq);
	cr_assert_eq(ring.used->idx, 0);
	cr_assert_eq(ring.interrupts, 0);
	ring.vq.stopped = false;
	vq_flush(&ring.vq);
	cr_assert_eq(ring.used->idx, 1);
	cr_assert_eq(ring.interrupts, 1);
	cr_assert_eq(vq_pop(&ring.vq, &chain), 1);
	end(&ring);
}
