// SPDX-License-Identifier: Apache-2.0
/* A queue of virtio-blk is reset by itself (virtio 1.2 §2.6.1) with requests in flight, again and
 * again, and comes back elsewhere, while another queue works on. What it leaves behind is not
 * touched any more. Orders that make no sense do nothing. */
#include "virtio.h"

#define RING_RESET_HIGH (1u << (40 - 32))
#define FEATURE_MQ	(1u << 12)
#define ROUNDS		60u
#define IN_FLIGHT	5u
#define DATA_LEN	65536u

static struct queue first[2], second;
static struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;
static uint8_t data[DATA_LEN] __attribute__((aligned(4096)));
static volatile uint8_t status[IN_FLIGHT];

static void start(struct queue *queue, unsigned i)
{
	uint16_t at = (uint16_t)(i * 3);

	status[i] = 0xff;
	queue->desc[at] =
		(struct desc){(uint32_t)&header, sizeof(header), DESC_NEXT, (uint16_t)(at + 1)};
	queue->desc[at + 1] =
		(struct desc){(uint32_t)data, DATA_LEN, DESC_NEXT | DESC_WRITE, (uint16_t)(at + 2)};
	queue->desc[at + 2] = (struct desc){(uint32_t)&status[i], 1, DESC_WRITE, 0};
	virtio_submit(queue, at);
}

static void works(struct queue *queue)
{
	uint32_t len;

	start(queue, 0);
	CHECK(virtio_wait(queue, &len), queue->index);
	CHECK(status[0] == 0, status[0]);
}

static void write_reset(struct device *blk, uint16_t queue, uint16_t value)
{
	write16(blk->common + COMMON_QUEUE_SELECT, queue);
	write16(blk->common + COMMON_QUEUE_RESET, value);
}

static void reset_queue(struct device *blk, uint16_t queue)
{
	write_reset(blk, queue, 1);
	while (read16(blk->common + COMMON_QUEUE_RESET))
		;
	CHECK(read16(blk->common + COMMON_QUEUE_ENABLE) == 0, queue);
}

static void hostile_orders(struct device *blk)
{
	write_reset(blk, 2, 1);
	write_reset(blk, 0xffff, 1);
	write_reset(blk, 0, 0);
	write_reset(blk, 0, 0xfffe);
	write_reset(blk, 0, 0);
	write32(blk->common + COMMON_QUEUE_RESET - 2, 0x00010001);
	write8(blk->common + COMMON_QUEUE_RESET, 1);
	CHECK(read16(blk->common + COMMON_QUEUE_ENABLE) == 1, 0);
	works(&first[0]);
}

void guest_main(const struct start_info *info)
{
	struct device blk;

	(void)info;
	CHECK(virtio_find(&blk, VIRTIO_BLK), 0);
	virtio_start_with(&blk, FEATURE_MQ, 1 | RING_RESET_HIGH);
	virtio_queue(&blk, &first[0], 0);
	virtio_queue(&blk, &second, 1);
	virtio_driver_ok(&blk);
	hostile_orders(&blk);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct queue *old = &first[round % 2], *new = &first[(round + 1) % 2];
		uint16_t used;

		for (unsigned i = 0; i < IN_FLIGHT; i++)
			start(old, i);
		if (round % 3 == 0)
			start(&second, 0);
		reset_queue(&blk, 0);
		used = old->used_idx;
		write16(old->doorbell, 0);
		if (round % 3 == 0) {
			uint32_t len;

			CHECK(virtio_wait(&second, &len), round);
		}
		works(&second);
		CHECK(old->used_idx == used, round);
		virtio_queue(&blk, new, 0);
		works(new);
	}
	/* With the device's own reset right behind. */
	start(&first[0], 0);
	write_reset(&blk, 0, 1);
	virtio_start(&blk);
	virtio_queue(&blk, &second, 1);
	virtio_driver_ok(&blk);
	works(&second);
	write_reset(&blk, 1, 1); /* not negotiated any more */
	works(&second);
	CHECK(!(virtio_status(&blk) & STATUS_NEEDS_RESET), virtio_status(&blk));
	print("PASS\n");
}
