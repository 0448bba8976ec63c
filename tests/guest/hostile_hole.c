// SPDX-License-Identifier: Apache-2.0
/*
 * A zone of 3200 MiB: memory on both sides of the hole below 4 GiB. Buffers and rings that reach
 * into the hole, or out of it, are refused; those at its very edges are served. Every vCPU tries
 * so with a disk of its own; the first uses the rng meanwhile.
 */
#include "hostile.h"

#define HOLE_START 0xc0000000u
#define HIGH_END   0x8000000u /* above 4 GiB: 3200 - 3072 MiB */
#define SECTOR	   512u

static struct queue queues[SECONDARY_MAX];
static volatile struct {
	uint32_t type, reserved;
	uint64_t sector;
} header; /* reads the first sector */
static volatile uint8_t status[SECONDARY_MAX];

struct buffer {
	uint32_t low, high, len;
	bool served;
};

static const struct buffer buffers[] = {
	{HOLE_START - SECTOR, 0, SECTOR, true},
	{HOLE_START - SECTOR + 1, 0, SECTOR, false},
	{HOLE_START - 1, 0, 0x40000002, false}, /* from memory to memory */
	{HOLE_START, 0, SECTOR, false},
	{0xffffffff, 0, SECTOR, false},
	{0, 1, SECTOR, true},
	{HIGH_END - SECTOR, 1, SECTOR, true},
	{HIGH_END - SECTOR, 1, SECTOR + 1, false},
	{HIGH_END, 1, SECTOR, false},
};

static void try_buffer(unsigned index, const struct buffer *buffer)
{
	struct device *disk = &hostile_disks[index];
	struct queue *queue = &queues[index];
	uint32_t len;

	virtio_start(disk);
	virtio_queue(disk, queue, 0);
	virtio_driver_ok(disk);
	status[index] = 0xff;
	queue->desc[0] = (struct desc){(uint32_t)&header, sizeof(header), DESC_NEXT, 1};
	queue->desc[1] = (struct desc){(uint64_t)buffer->high << 32 | buffer->low, buffer->len,
				       DESC_NEXT | DESC_WRITE, 2};
	queue->desc[2] = (struct desc){(uint32_t)&status[index], 1, DESC_WRITE, 0};
	virtio_submit(queue, 0);
	if (buffer->served)
		CHECK(virtio_wait(queue, &len) && status[index] == 0, buffer->low);
	else
		CHECK(virtio_wait_broken(disk), buffer->low);
	if (index == 0)
		hostile_rng_works();
}

static void try_ring(unsigned index, uint32_t low, uint32_t high, bool taken)
{
	struct device *disk = &hostile_disks[index];
	struct queue *queue = &queues[index];

	for (unsigned off = COMMON_QUEUE_DESC; off <= COMMON_QUEUE_DEVICE; off += 8) {
		virtio_start(disk);
		write16(disk->common + COMMON_QUEUE_SELECT, 0);
		write16(disk->common + COMMON_QUEUE_SIZE, QUEUE_SIZE);
		write32(disk->common + COMMON_QUEUE_DESC, (uint32_t)queue->desc);
		write32(disk->common + COMMON_QUEUE_DRIVER, (uint32_t)&queue->avail_flags);
		write32(disk->common + COMMON_QUEUE_DEVICE, (uint32_t)&queue->used_flags);
		write32(disk->common + off, low);
		write32(disk->common + off + 4, high);
		write16(disk->common + COMMON_QUEUE_ENABLE, 1);
		CHECK(!(virtio_status(disk) & STATUS_NEEDS_RESET) == taken, low);
	}
}

void hostile_attack(unsigned index)
{
	for (unsigned i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++)
		try_buffer(index, &buffers[i]);
	try_ring(index, HOLE_START - 0x1000, 0, true);
	try_ring(index, HOLE_START - 16, 0, false);
	try_ring(index, 0xfffffff0, 0, false);
	try_ring(index, 0, 1, true);
	try_ring(index, HIGH_END - 16, 1, false);
}

void guest_main(const struct start_info *info)
{
	hostile_find(info);
	hostile_run();
	hostile_rng_works();
	hostile_disks_work();
	hostile_end();
}
