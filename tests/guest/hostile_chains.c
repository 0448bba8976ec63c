// SPDX-License-Identifier: Apache-2.0
/*
 * Chains no driver makes, direct and indirect, to a disk: each ends in NEEDS_RESET, the zone's rng
 * works all the while, and the disk after a reset. Every vCPU does so with a disk of its own.
 */
#include "hostile.h"

#define INDIRECT (1u << 28)
#define TABLE	 64u

/* A vCPU's. */
struct attacker {
	struct queue queue;
	volatile struct desc table[TABLE], inner[TABLE];
	volatile struct {
		uint32_t type, reserved;
		uint64_t sector;
	} header;
	volatile uint8_t data[512], status;
	struct device *disk;
	bool uses_rng;
	unsigned n_cases;
};

static struct attacker attackers[SECONDARY_MAX];

static void ready(struct attacker *a)
{
	virtio_start_with(a->disk, INDIRECT, 1);
	virtio_queue(a->disk, &a->queue, 0);
	virtio_driver_ok(a->disk);
}

/* An honest read, in any table. */
static void honest(struct attacker *a, volatile struct desc *at)
{
	a->header.type = 0;
	a->header.sector = 1;
	at[0] = (struct desc){(uint32_t)&a->header, sizeof(a->header), DESC_NEXT, 1};
	at[1] = (struct desc){(uint32_t)a->data, sizeof(a->data), DESC_NEXT | DESC_WRITE, 2};
	at[2] = (struct desc){(uint32_t)&a->status, 1, DESC_WRITE, 0};
}

static void point(struct attacker *a, uint64_t address, uint32_t len, uint16_t flags)
{
	a->queue.desc[0] = (struct desc){address, len, DESC_INDIRECT | flags, 1};
}

static void breaks(struct attacker *a, const char *what)
{
	virtio_submit(&a->queue, 0);
	if (!virtio_wait_broken(a->disk))
		fail(what, virtio_status(a->disk));
	if (a->uses_rng && a->n_cases++ % 3 == 0)
		hostile_rng_works();
	ready(a);
	honest(a, a->queue.desc);
	honest(a, a->table);
}

static void direct(struct attacker *a)
{
	a->queue.desc[2] = (struct desc){(uint32_t)&a->status, 1, DESC_WRITE | DESC_NEXT, 1};
	breaks(a, "a chain that loops");
	a->queue.desc[1].flags = DESC_WRITE | DESC_NEXT;
	a->queue.desc[2] = (struct desc){(uint32_t)a->data, 1, 0, 0};
	breaks(a, "readable behind writable");
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		a->queue.desc[i] = (struct desc){(uint32_t)a->data, 32, DESC_NEXT,
						 (uint16_t)((i + 1) % QUEUE_SIZE)};
	breaks(a, "a chain longer than its queue");
	a->queue.desc[1].next = QUEUE_SIZE;
	breaks(a, "a next just behind the table");
	a->queue.desc[1].next = 0xffff;
	breaks(a, "a next far behind the table");
	a->queue.desc[1].len = 0;
	breaks(a, "an empty segment");
	a->queue.desc[1].len = 0xffffffff;
	breaks(a, "a segment larger than memory");
}

static void indirect(struct attacker *a)
{
	honest(a, a->inner);
	a->table[0] = (struct desc){(uint32_t)a->inner, 3 * sizeof(struct desc), DESC_INDIRECT, 0};
	point(a, (uint32_t)a->table, sizeof(struct desc), 0);
	breaks(a, "indirect within indirect");
	a->table[0] = (struct desc){(uint32_t)a->table, 3 * sizeof(struct desc), DESC_INDIRECT, 0};
	point(a, (uint32_t)a->table, 3 * sizeof(struct desc), 0);
	breaks(a, "a table that points to itself");
	point(a, (uint32_t)a->table, 3 * sizeof(struct desc), DESC_NEXT);
	breaks(a, "a table with a next");
	point(a, (uint32_t)a->table, 3 * sizeof(struct desc), DESC_WRITE);
	breaks(a, "a writable table");
	point(a, (uint32_t)a->table, 0, 0);
	breaks(a, "an empty table");
	point(a, (uint32_t)a->table, 3 * sizeof(struct desc) + 1, 0);
	breaks(a, "a table of odd length");
	point(a, (uint32_t)a->table, 0xfffffff0, 0);
	breaks(a, "a table larger than memory");
	point(a, 0x2000000 - 16, 3 * sizeof(struct desc), 0);
	breaks(a, "a table that ends behind memory");
	point(a, UINT64_C(0xfffffffffffffff0), 32, 0);
	breaks(a, "a table that wraps");
	a->table[2] = (struct desc){(uint32_t)&a->status, 1, DESC_WRITE | DESC_NEXT, 1};
	point(a, (uint32_t)a->table, 3 * sizeof(struct desc), 0);
	breaks(a, "a table that loops");
	a->table[1].next = 3;
	point(a, (uint32_t)a->table, 3 * sizeof(struct desc), 0);
	breaks(a, "a next just behind an indirect table");
	for (uint16_t i = 0; i < TABLE; i++)
		a->table[i] = (struct desc){(uint32_t)a->data, 32, i < TABLE - 1 ? DESC_NEXT : 0,
					    (uint16_t)(i + 1)};
	point(a, (uint32_t)a->table, sizeof(a->table), 0);
	breaks(a, "a table longer than the queue");
}

static void rings(struct attacker *a)
{
	/* Twice at once: the second time it is in flight. */
	a->queue.avail_ring[0] = a->queue.avail_ring[1] = 0;
	a->queue.avail_idx = 1;
	breaks(a, "a head in flight");
	a->queue.avail_ring[0] = QUEUE_SIZE;
	a->queue.avail_idx = 0x8000;
	breaks(a, "an index that jumps");
	a->queue.avail_idx = 0xfffe;
	breaks(a, "an index that goes back");
	a->queue.avail_ring[0] = 0xffff;
	a->queue.avail_ring[1] = QUEUE_SIZE;
	a->queue.avail_idx = 1;
	breaks(a, "a head out of range");
}

/* A chain without room for the answer; an honest table. */
static void unfinished(struct attacker *a)
{
	uint32_t len;

	a->queue.desc[0].flags = 0; /* nothing to write to */
	virtio_submit(&a->queue, 0);
	if (a->uses_rng)
		hostile_rng_works();
	ready(a);
	honest(a, a->table);
	point(a, (uint32_t)a->table, 3 * sizeof(struct desc), 0);
	virtio_submit(&a->queue, 0);
	CHECK(virtio_wait(&a->queue, &len) && a->status == 0, a->status);
}

void hostile_attack(unsigned index)
{
	struct attacker *a = &attackers[index];

	a->disk = &hostile_disks[index];
	a->uses_rng = index == 0;
	ready(a);
	honest(a, a->queue.desc);
	honest(a, a->table);
	direct(a);
	indirect(a);
	rings(a);
	unfinished(a);
}

void guest_main(const struct start_info *info)
{
	hostile_find(info);
	hostile_run();
	hostile_rng_works();
	hostile_disks_work();
	hostile_end();
}
