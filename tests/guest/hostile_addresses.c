// SPDX-License-Identifier: Apache-2.0
/*
 * Rings where no memory is, half in it, or not aligned, one part at a time; sizes that are none.
 * The device of such a ring goes to NEEDS_RESET, the zone's other devices work, and so does it
 * after a reset. Every vCPU does so to a disk of its own.
 */
#include "hostile.h"

#define MEMORY_END 0x2000000u /* 32 MiB */

static struct queue queues[SECONDARY_MAX];

struct place {
	uint32_t low, high;
	const char *what;
};

static const struct place places[] = {
	{MEMORY_END, 0, "behind memory"},
	{MEMORY_END - 16, 0, "half behind memory"},
	{0xc0000000, 0, "in the window of devices"},
	{0xe0000000, 0, "in configuration space"},
	{0xfee00000, 0, "in the local APIC"},
	{0, 1, "above 4 GiB"},
	{0xfffff000, 0, "below 4 GiB"},
	{0xfffffff0, 0xffffffff, "that wraps"},
	{0, 0x80000000, "with the highest bit"},
	{0x1000001, 0, "that is odd"},
};

static const unsigned parts[] = {COMMON_QUEUE_DESC, COMMON_QUEUE_DRIVER, COMMON_QUEUE_DEVICE};

/* A queue whose one part is elsewhere, enabled before DRIVER_OK. */
static void try_place(unsigned index, unsigned part, const struct place *place)
{
	struct device *blk = &hostile_disks[index];
	struct queue *queue = &queues[index];

	virtio_start(blk);
	virtio_queue(blk, queue, 1); /* another one, as it should be */
	write16(blk->common + COMMON_QUEUE_SELECT, 0);
	write32(blk->common + COMMON_QUEUE_DESC, (uint32_t)queue->desc);
	write32(blk->common + COMMON_QUEUE_DRIVER, (uint32_t)&queue->avail_flags);
	write32(blk->common + COMMON_QUEUE_DEVICE, (uint32_t)&queue->used_flags);
	write32(blk->common + part, place->low);
	write32(blk->common + part + 4, place->high);
	write16(blk->common + COMMON_QUEUE_ENABLE, 1);
	virtio_driver_ok(blk);
	for (unsigned i = 0; i < 4; i++)
		write16(blk->notify, 0);
	if (!virtio_wait_broken(blk))
		fail(place->what, part);
}

/* Sizes that are no powers of two, or too large, are not taken. */
static void try_sizes(struct device *blk)
{
	static const uint16_t sizes[] = {0, 3, 17, 255, 2048, 0x8000, 0xffff};

	virtio_start(blk);
	write16(blk->common + COMMON_QUEUE_SELECT, 0);
	write16(blk->common + COMMON_QUEUE_SIZE, 16);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		write16(blk->common + COMMON_QUEUE_SIZE, sizes[i]);
		CHECK(read16(blk->common + COMMON_QUEUE_SIZE) == 16, sizes[i]);
	}
}

/* Selectors of queues that are not there, and what is written there then. */
static void try_selectors(struct device *blk)
{
	static const uint16_t selectors[] = {64, 255, 256, 0x7fff, 0x8000, 0xffff};

	for (unsigned i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++) {
		write16(blk->common + COMMON_QUEUE_SELECT, selectors[i]);
		for (unsigned off = COMMON_QUEUE_SIZE; off < 64; off += 2) {
			write16(blk->common + off, 1);
			CHECK(read16(blk->common + off) == 0, off);
		}
		write16(blk->notify + selectors[i] * 4 % 0x1000, selectors[i]);
	}
}

void hostile_attack(unsigned index)
{
	for (unsigned part = 0; part < 3; part++)
		for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			try_place(index, parts[part], &places[i]);
			if (index == 0 && i % 4 == 0)
				hostile_rng_works();
		}
	try_sizes(&hostile_disks[index]);
	try_selectors(&hostile_disks[index]);
}

void guest_main(const struct start_info *info)
{
	hostile_find(info);
	hostile_run();
	hostile_rng_works();
	hostile_disks_work();
	hostile_end();
}
