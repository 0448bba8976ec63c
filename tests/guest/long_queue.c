// SPDX-License-Identifier: Apache-2.0
/* A disk whose queue is as long as queues can be (spec: queue_size 1024): full of requests, over
 * and over, each with its own sector. */
#include "virtio.h"

#define LONG	    1024u
#define REQUESTS    (LONG / 3)
#define SECTOR	    512u
#define ROUNDS	    7u /* the rings wrap twice */
#define BLK_IN	    0u
#define BLK_OUT	    1u
#define PATIENCE    2000000u
#define UART_STATUS 0x3fdu

static struct {
	volatile struct desc desc[LONG];
	volatile uint16_t avail_flags, avail_idx, avail_ring[LONG], used_event;
	volatile uint16_t used_flags __attribute__((aligned(4))), used_idx;
	volatile struct {
		uint32_t id, len;
	} used_ring[LONG];
	volatile uint16_t avail_event;
} queue __attribute__((aligned(4096)));

static struct {
	uint32_t type, reserved;
	uint64_t sector;
} headers[REQUESTS];
static volatile uint8_t status[REQUESTS];
static volatile uint32_t data[REQUESTS][SECTOR / 4];

static uint32_t set_up(struct device *blk)
{
	uint32_t doorbell;

	virtio_start(blk);
	write16(blk->common + COMMON_QUEUE_SELECT, 0);
	CHECK(read16(blk->common + COMMON_QUEUE_SIZE) == LONG,
	      read16(blk->common + COMMON_QUEUE_SIZE));
	doorbell = virtio_enable_queue(blk, 0, LONG, queue.desc, &queue.avail_flags,
				       &queue.used_flags);
	virtio_driver_ok(blk);
	return doorbell;
}

static void prepare(unsigned i, uint32_t type)
{
	uint16_t at = (uint16_t)(i * 3), write = type == BLK_IN ? DESC_WRITE : 0;

	headers[i].type = type;
	headers[i].sector = i;
	status[i] = 0xff;
	queue.desc[at] = (struct desc){(uint32_t)&headers[i], sizeof(headers[i]), DESC_NEXT,
				       (uint16_t)(at + 1)};
	queue.desc[at + 1] =
		(struct desc){(uint32_t)data[i], SECTOR, DESC_NEXT | write, (uint16_t)(at + 2)};
	queue.desc[at + 2] = (struct desc){(uint32_t)&status[i], 1, DESC_WRITE, 0};
	queue.avail_ring[(queue.avail_idx + i) % LONG] = at;
}

/* All of them, shown at once. */
static void run(struct device *blk, uint32_t doorbell, uint32_t type)
{
	uint16_t end = (uint16_t)(queue.used_idx + REQUESTS);

	for (unsigned i = 0; i < REQUESTS; i++)
		prepare(i, type);
	queue.avail_idx = (uint16_t)(queue.avail_idx + REQUESTS);
	write16(doorbell, 0);
	for (unsigned i = 0; queue.used_idx != end; i++) {
		CHECK(i < PATIENCE, queue.used_idx);
		(void)inb(UART_STATUS);
	}
	for (unsigned i = 0; i < REQUESTS; i++)
		CHECK(status[i] == 0, i);
	CHECK(!(virtio_status(blk) & STATUS_NEEDS_RESET), virtio_status(blk));
}

void guest_main(const struct start_info *info)
{
	struct device blk;
	uint32_t doorbell;

	(void)info;
	CHECK(virtio_find(&blk, VIRTIO_BLK), 0);
	doorbell = set_up(&blk);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < REQUESTS; i++)
			data[i][5] = round << 16 | i;
		run(&blk, doorbell, BLK_OUT);
		for (unsigned i = 0; i < REQUESTS; i++)
			data[i][5] = 0;
		run(&blk, doorbell, BLK_IN);
		for (unsigned i = 0; i < REQUESTS; i++)
			CHECK(data[i][5] == (round << 16 | i), data[i][5]);
	}
	print("PASS\n");
}
