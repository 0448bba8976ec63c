// SPDX-License-Identifier: Apache-2.0
/*
 * A zone of 3200 MiB: memory on both sides of the hole below 4 GiB. Buffers and rings that reach
 * into the hole, or out of it, are refused; those at its very edges are served.
 */
#include "hostile.h"

#define HOLE_START 0xc0000000u
#define HIGH_END   0x8000000u /* above 4 GiB: 3200 - 3072 MiB */

static struct queue queue;

struct buffer {
	uint32_t low, high, len;
	bool served;
};

static const struct buffer buffers[] = {
	{HOLE_START - 64, 0, 64, true},
	{HOLE_START - 63, 0, 64, false},
	{HOLE_START - 1, 0, 0x40000002, false}, /* from memory to memory */
	{HOLE_START, 0, 1, false},
	{0xffffffff, 0, 2, false},
	{0, 1, 64, true},
	{HIGH_END - 64, 1, 64, true},
	{HIGH_END - 64, 1, 65, false},
	{HIGH_END, 1, 1, false},
};

static void try_buffer(const struct buffer *buffer)
{
	struct device *rng = &hostile_rng;
	uint32_t len;

	virtio_start(rng);
	virtio_queue(rng, &queue, 0);
	virtio_driver_ok(rng);
	queue.desc[0] = (struct desc){(uint64_t)buffer->high << 32 | buffer->low, buffer->len,
				      DESC_WRITE, 0};
	virtio_submit(&queue, 0);
	if (buffer->served)
		CHECK(virtio_wait(&queue, &len), buffer->low);
	else
		CHECK(virtio_wait_broken(rng), buffer->low);
	hostile_blk_works();
}

static void try_ring(uint32_t low, uint32_t high, bool taken)
{
	struct device *rng = &hostile_rng;

	for (unsigned off = COMMON_QUEUE_DESC; off <= COMMON_QUEUE_DEVICE; off += 8) {
		virtio_start(rng);
		write16(rng->common + COMMON_QUEUE_SELECT, 0);
		write16(rng->common + COMMON_QUEUE_SIZE, QUEUE_SIZE);
		write32(rng->common + COMMON_QUEUE_DESC, (uint32_t)queue.desc);
		write32(rng->common + COMMON_QUEUE_DRIVER, (uint32_t)&queue.avail_flags);
		write32(rng->common + COMMON_QUEUE_DEVICE, (uint32_t)&queue.used_flags);
		write32(rng->common + off, low);
		write32(rng->common + off + 4, high);
		write16(rng->common + COMMON_QUEUE_ENABLE, 1);
		CHECK(!(virtio_status(rng) & STATUS_NEEDS_RESET) == taken, low);
	}
}

void hostile_attack(unsigned index)
{
	(void)index;
	for (unsigned i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++)
		try_buffer(&buffers[i]);
	try_ring(HOLE_START - 0x1000, 0, true);
	try_ring(HOLE_START - 16, 0, false);
	try_ring(0xfffffff0, 0, false);
	try_ring(0, 1, true);
	try_ring(HIGH_END - 16, 1, false);
}

void guest_main(const struct start_info *info)
{
	hostile_find();
	hostile_run(info);
	hostile_rng_works();
	hostile_end();
}
