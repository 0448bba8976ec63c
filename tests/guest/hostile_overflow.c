// SPDX-License-Identifier: Apache-2.0
/*
 * DISCARD and WRITE_ZEROES whose ranges reach past the disk, or wrap on the way from sectors to
 * bytes: each is refused, and what the disk holds at its ends stays. Every vCPU does so to a disk
 * of its own.
 */
#include "hostile.h"

#define FEATURES     (1u << 13 | 1u << 14) /* DISCARD, WRITE_ZEROES */
#define BLK_IN	     0u
#define BLK_OUT	     1u
#define DISCARD	     11u
#define WRITE_ZEROES 13u
#define OK	     0u
#define IOERR	     1u
#define UNSUPP	     2u
#define SECTOR	     512u
#define LAST	     2047u		 /* sector of 1 MiB */
#define ONE_BYTE_UP  (UINT64_C(1) << 55) /* sectors whose bytes wrap to 0 */

struct range {
	uint64_t sector;
	uint32_t n, flags;
};

/* A vCPU's. */
struct attacker {
	struct queue queue;
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} header;
	volatile uint8_t status;
	struct range range[4];
	volatile uint8_t data[SECTOR];
};

static struct attacker attackers[SECONDARY_MAX];

static const struct range ranges[] = {
	{LAST + 1, 1, 0},
	{LAST, 2, 0},
	{0, LAST + 2, 0},
	{0, 0x3fffff, 0},
	{0, 0x800000, 0}, /* 2^32 bytes */
	{0, 0xffffffff, 0},
	{LAST, 0xffffffff, 0},
	{UINT64_MAX, 1, 0},
	{UINT64_MAX, 0xffffffff, 0},
	{UINT64_MAX - 0xfffffffe, 0xffffffff, 0},
	{ONE_BYTE_UP, 1, 0},
	{ONE_BYTE_UP + LAST, 1, 0},
	{ONE_BYTE_UP - 1, 2, 0},
	{UINT64_C(1) << 63, 1, 0},
};

static uint8_t request(struct attacker *a, uint32_t type, uint64_t sector, volatile void *data,
		       uint32_t len)
{
	uint32_t used;

	a->header.type = type;
	a->header.sector = sector;
	a->status = 0xff;
	a->queue.desc[0] = (struct desc){(uint32_t)&a->header, sizeof(a->header), DESC_NEXT, 1};
	a->queue.desc[1] = (struct desc){(uint32_t)data, len,
					 DESC_NEXT | (type == BLK_IN ? DESC_WRITE : 0), 2};
	a->queue.desc[2] = (struct desc){(uint32_t)&a->status, 1, DESC_WRITE, 0};
	virtio_submit(&a->queue, 0);
	CHECK(virtio_wait(&a->queue, &used), type);
	return a->status;
}

static void fill(struct attacker *a, uint64_t sector)
{
	for (unsigned i = 0; i < SECTOR; i++)
		a->data[i] = (uint8_t)(i * 7 + sector + 1);
	CHECK(request(a, BLK_OUT, sector, a->data, SECTOR) == OK, sector);
}

static void holds(struct attacker *a, uint64_t sector, bool zeroes)
{
	for (unsigned i = 0; i < SECTOR; i++)
		a->data[i] = 0xee;
	CHECK(request(a, BLK_IN, sector, a->data, SECTOR) == OK, sector);
	for (unsigned i = 0; i < SECTOR; i++)
		CHECK(a->data[i] == (zeroes ? 0 : (uint8_t)(i * 7 + sector + 1)), sector);
}

static void try_all(struct attacker *a, uint32_t type)
{
	for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		a->range[0] = ranges[i];
		CHECK(request(a, type, 0, a->range, sizeof(struct range)) == IOERR, i);
	}
	a->range[0] = (struct range){0, 1, 0x80000000};
	CHECK(request(a, type, 0, a->range, sizeof(struct range)) == UNSUPP, a->status);
	a->range[0] = (struct range){0, 1, 0};
	for (uint32_t len = 1; len <= sizeof(a->range); len++)
		if (len != sizeof(struct range)) /* one is all that the disk takes */
			CHECK(request(a, type, 0, a->range, len) == IOERR, len);
	holds(a, 0, false);
	holds(a, LAST, false);
}

void hostile_attack(unsigned index)
{
	struct attacker *a = &attackers[index];
	struct device *disk = &hostile_disks[index];

	virtio_start_with(disk, FEATURES, 1);
	virtio_queue(disk, &a->queue, 0);
	virtio_driver_ok(disk);
	fill(a, 0);
	fill(a, LAST);
	try_all(a, WRITE_ZEROES);
	try_all(a, DISCARD);
	if (index == 0)
		hostile_rng_works();
	a->range[0] = (struct range){LAST, 1, 0};
	CHECK(request(a, WRITE_ZEROES, 0, a->range, sizeof(struct range)) == OK, a->status);
	holds(a, LAST, true);
	holds(a, 0, false);
	CHECK(!(virtio_status(disk) & STATUS_NEEDS_RESET), index);
}

void guest_main(const struct start_info *info)
{
	hostile_find(info);
	hostile_run();
	hostile_rng_works();
	hostile_disks_work();
	hostile_end();
}
