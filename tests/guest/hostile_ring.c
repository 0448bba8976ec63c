// SPDX-License-Identifier: Apache-2.0
/*
 * Broken rings, one after the other: each ends in NEEDS_RESET, a reset brings the device back, and
 * the zone's other devices never notice.
 */
#include "virtio.h"

static struct queue queue, indirect_room;
static volatile uint8_t buffer[64];

static void ready(struct device *rng)
{
	virtio_start(rng);
	virtio_queue(rng, &queue, 0);
	virtio_driver_ok(rng);
}

static void works(struct device *rng)
{
	uint32_t len;

	ready(rng);
	queue.desc[0] = (struct desc){(uint32_t)buffer, sizeof(buffer), DESC_WRITE, 0};
	virtio_submit(&queue, 0);
	CHECK(virtio_wait(&queue, &len), virtio_status(rng));
}

static void breaks(struct device *rng, const char *what)
{
	virtio_submit(&queue, 0);
	if (!virtio_wait_broken(rng))
		fail(what, virtio_status(rng));
	works(rng);
	ready(rng);
}

static void outside(struct device *rng)
{
	queue.desc[0] = (struct desc){UINT64_C(0xfffffffffffffff0), 64, DESC_WRITE, 0};
	breaks(rng, "address that wraps");
	queue.desc[0] = (struct desc){0x7ffffff0, 64, DESC_WRITE, 0};
	breaks(rng, "address behind memory");
	queue.desc[0] = (struct desc){0xe0000000, 64, DESC_WRITE, 0};
	breaks(rng, "address of a device");
}

static void malformed(struct device *rng)
{
	queue.desc[0] = (struct desc){(uint32_t)buffer, 64, DESC_WRITE | DESC_NEXT, 0};
	breaks(rng, "chain that loops");
	queue.desc[0] = (struct desc){(uint32_t)buffer, 64, DESC_WRITE | DESC_NEXT, 1000};
	breaks(rng, "next out of range");
	queue.desc[0] = (struct desc){(uint32_t)buffer, 64, DESC_WRITE | DESC_NEXT, 1};
	queue.desc[1] = (struct desc){(uint32_t)buffer, 64, 0, 0};
	breaks(rng, "readable after writable");
	queue.desc[0] = (struct desc){(uint32_t)buffer, 0, DESC_WRITE, 0};
	breaks(rng, "descriptor of length 0");
	/* A table that would serve if the feature had been taken. */
	indirect_room.desc[0] = (struct desc){(uint32_t)buffer, sizeof(buffer), DESC_WRITE, 0};
	queue.desc[0] =
		(struct desc){(uint32_t)indirect_room.desc, sizeof(struct desc), DESC_INDIRECT, 0};
	breaks(rng, "indirect that was not negotiated");
}

static void jumping(struct device *rng)
{
	queue.avail_idx = (uint16_t)(queue.avail_idx + 1000);
	breaks(rng, "available index that jumps");
	queue.avail_ring[0] = 999;
	queue.avail_idx = 1;
	write16(queue.doorbell, 0);
	CHECK(virtio_wait_broken(rng), 0);
	works(rng);
}

void guest_main(const struct start_info *info)
{
	struct device rng, console;

	(void)info;
	CHECK(virtio_find(&rng, VIRTIO_RNG), 0);
	CHECK(virtio_find(&console, VIRTIO_CONSOLE), 0);
	works(&rng);
	ready(&rng);
	outside(&rng);
	malformed(&rng);
	jumping(&rng);
	CHECK(!(virtio_status(&console) & STATUS_NEEDS_RESET), virtio_status(&console));
	print("PASS\n");
}
