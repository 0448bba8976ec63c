// SPDX-License-Identifier: Apache-2.0
/*
 * Chains no driver makes, direct and indirect, to a disk: each ends in NEEDS_RESET, the zone's rng
 * works all the while, and the disk after a reset.
 */
#include "hostile.h"

#define INDIRECT (1u << 28)
#define TABLE	 64u

static struct queue queue;
static volatile struct desc table[TABLE], inner[TABLE];
static volatile struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;
static volatile uint8_t data[512], status;
static unsigned n_cases;

static void ready(void)
{
	virtio_start_with(&hostile_blk, INDIRECT, 1);
	virtio_queue(&hostile_blk, &queue, 0);
	virtio_driver_ok(&hostile_blk);
}

/* An honest read, in any table. */
static void honest(volatile struct desc *at)
{
	header.type = 0;
	header.sector = 1;
	at[0] = (struct desc){(uint32_t)&header, sizeof(header), DESC_NEXT, 1};
	at[1] = (struct desc){(uint32_t)data, sizeof(data), DESC_NEXT | DESC_WRITE, 2};
	at[2] = (struct desc){(uint32_t)&status, 1, DESC_WRITE, 0};
}

static void point(uint64_t address, uint32_t len, uint16_t flags)
{
	queue.desc[0] = (struct desc){address, len, DESC_INDIRECT | flags, 1};
}

static void breaks(const char *what)
{
	virtio_submit(&queue, 0);
	if (!virtio_wait_broken(&hostile_blk))
		fail(what, virtio_status(&hostile_blk));
	if (n_cases++ % 3 == 0)
		hostile_rng_works();
	ready();
	honest(queue.desc);
	honest(table);
}

static void direct(void)
{
	queue.desc[2] = (struct desc){(uint32_t)&status, 1, DESC_WRITE | DESC_NEXT, 1};
	breaks("a chain that loops");
	queue.desc[1].flags = DESC_WRITE | DESC_NEXT;
	queue.desc[2] = (struct desc){(uint32_t)data, 1, 0, 0};
	breaks("readable behind writable");
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		queue.desc[i] = (struct desc){(uint32_t)data, 32, DESC_NEXT,
					      (uint16_t)((i + 1) % QUEUE_SIZE)};
	breaks("a chain longer than its queue");
	queue.desc[1].next = QUEUE_SIZE;
	breaks("a next just behind the table");
	queue.desc[1].next = 0xffff;
	breaks("a next far behind the table");
	queue.desc[1].len = 0;
	breaks("an empty segment");
	queue.desc[1].len = 0xffffffff;
	breaks("a segment larger than memory");
}

static void indirect(void)
{
	honest(inner);
	table[0] = (struct desc){(uint32_t)inner, 3 * sizeof(struct desc), DESC_INDIRECT, 0};
	point((uint32_t)table, sizeof(struct desc), 0);
	breaks("indirect within indirect");
	table[0] = (struct desc){(uint32_t)table, 3 * sizeof(struct desc), DESC_INDIRECT, 0};
	point((uint32_t)table, 3 * sizeof(struct desc), 0);
	breaks("a table that points to itself");
	point((uint32_t)table, 3 * sizeof(struct desc), DESC_NEXT);
	breaks("a table with a next");
	point((uint32_t)table, 3 * sizeof(struct desc), DESC_WRITE);
	breaks("a writable table");
	point((uint32_t)table, 0, 0);
	breaks("an empty table");
	point((uint32_t)table, 3 * sizeof(struct desc) + 1, 0);
	breaks("a table of odd length");
	point((uint32_t)table, 0xfffffff0, 0);
	breaks("a table larger than memory");
	point(0x2000000 - 16, 3 * sizeof(struct desc), 0);
	breaks("a table that ends behind memory");
	point(UINT64_C(0xfffffffffffffff0), 32, 0);
	breaks("a table that wraps");
	table[2] = (struct desc){(uint32_t)&status, 1, DESC_WRITE | DESC_NEXT, 1};
	point((uint32_t)table, 3 * sizeof(struct desc), 0);
	breaks("a table that loops");
	table[1].next = 3;
	point((uint32_t)table, 3 * sizeof(struct desc), 0);
	breaks("a next just behind an indirect table");
	for (uint16_t i = 0; i < TABLE; i++)
		table[i] = (struct desc){(uint32_t)data, 32, i < TABLE - 1 ? DESC_NEXT : 0,
					 (uint16_t)(i + 1)};
	point((uint32_t)table, sizeof(table), 0);
	breaks("a table longer than the queue");
}

static void rings(void)
{
	/* Twice at once: the second time it is in flight. */
	queue.avail_ring[0] = queue.avail_ring[1] = 0;
	queue.avail_idx = 1;
	breaks("a head in flight");
	queue.avail_ring[0] = QUEUE_SIZE;
	queue.avail_idx = 0x8000;
	breaks("an index that jumps");
	queue.avail_idx = 0xfffe;
	breaks("an index that goes back");
	queue.avail_ring[0] = 0xffff;
	queue.avail_ring[1] = QUEUE_SIZE;
	queue.avail_idx = 1;
	breaks("a head out of range");
}

/* A chain without room for the answer; an honest table. */
static void unfinished(void)
{
	uint32_t len;

	queue.desc[0].flags = 0; /* nothing to write to */
	virtio_submit(&queue, 0);
	hostile_rng_works();
	ready();
	honest(table);
	point((uint32_t)table, 3 * sizeof(struct desc), 0);
	virtio_submit(&queue, 0);
	CHECK(virtio_wait(&queue, &len) && status == 0, status);
}

void hostile_attack(unsigned index)
{
	(void)index;
	ready();
	honest(queue.desc);
	honest(table);
	direct();
	indirect();
	rings();
	unfinished();
}

void guest_main(const struct start_info *info)
{
	hostile_find();
	hostile_run(info);
	hostile_rng_works();
	hostile_blk_works();
	hostile_end();
}
