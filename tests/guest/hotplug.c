// SPDX-License-Identifier: Apache-2.0
/*
 * The guest of hotplug_host.c: takes each disk that is plugged into use, and when asked to let go
 * starts reads and ejects at once, with them in flight. It also ejects what may not be ejected.
 */
#include "virtio.h"

#define PORT_UP	   0xae00
#define PORT_DOWN  0xae04
#define PORT_EJECT 0xae08
#define SLOTS	   32u
#define REQUESTS   5u

static struct queue queue;
static struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;
static volatile uint8_t data[65536], status[REQUESTS];

static void use(struct device *disk)
{
	virtio_start(disk);
	virtio_queue(disk, &queue, 0);
	virtio_driver_ok(disk);
	for (uint16_t i = 0; i < REQUESTS; i++) {
		uint16_t head = (uint16_t)(i * 3);

		queue.desc[head] = (struct desc){(uint32_t)&header, sizeof(header), DESC_NEXT,
						 (uint16_t)(head + 1)};
		queue.desc[head + 1] = (struct desc){(uint32_t)data, sizeof(data),
						     DESC_NEXT | DESC_WRITE, (uint16_t)(head + 2)};
		queue.desc[head + 2] = (struct desc){(uint32_t)&status[i], 1, DESC_WRITE, 0};
	}
}

static void plugged(unsigned slot)
{
	struct device disk;
	uint32_t len;

	CHECK(virtio_at(&disk, slot, VIRTIO_BLK), slot);
	use(&disk);
	status[0] = 0xff;
	virtio_submit(&queue, 0);
	CHECK(virtio_wait(&queue, &len), virtio_status(&disk));
	CHECK(status[0] == 0 && len == sizeof(data) + 1, len);
}

static void let_go(unsigned slot)
{
	struct device disk;

	if (!virtio_at(&disk, slot, VIRTIO_BLK))
		return;
	use(&disk);
	for (uint16_t i = 0; i < REQUESTS; i++)
		virtio_submit(&queue, (uint16_t)(i * 3));
	/* Once, and without a look afterwards: the next disk may have the slot by then. */
	outl(PORT_EJECT, 0xffffffff);
}

void guest_main(const struct start_info *info)
{
	struct device rng;

	(void)info;
	print("PASS\n");
	for (;;) {
		uint32_t up = inl(PORT_UP), down = inl(PORT_DOWN);

		for (unsigned slot = 0; slot < SLOTS; slot++) {
			if (up & (1u << slot))
				plugged(slot);
			if (down & (1u << slot))
				let_go(slot);
		}
		CHECK(virtio_find(&rng, VIRTIO_RNG), 0);
	}
}
