// SPDX-License-Identifier: Apache-2.0
/*
 * BARs that are moved, laid over each other, over memory and over other devices, and switched off
 * while doorbells run: the devices go on once they are back.
 */
#include "virtio.h"

#define BAR0	   0x10u
#define COMMAND	   4u
#define NOTIFY	   0x2000u
#define PCI_WINDOW 0xc0000000u

static struct queue queue;
static volatile uint8_t buffer[64];

static void works(struct device *rng)
{
	uint32_t len;

	virtio_start(rng);
	virtio_queue(rng, &queue, 0);
	virtio_driver_ok(rng);
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		queue.desc[i] = (struct desc){(uint32_t)buffer, sizeof(buffer), DESC_WRITE, 0};
	virtio_submit(&queue, 0);
	CHECK(virtio_wait(&queue, &len), virtio_status(rng));
}

/* Requests on their way while the BAR goes somewhere, and comes back. */
static void excursion(struct device *rng, uint32_t to)
{
	uint32_t home = read32(rng->config + BAR0) & ~15u, len;

	works(rng);
	for (uint16_t head = 0; head < 4; head++)
		virtio_submit(&queue, head);
	write32(rng->config + BAR0, to);
	if (to >= PCI_WINDOW)
		write16(to + NOTIFY, 0);
	write16(rng->config + COMMAND, 0);
	write16(queue.doorbell, 0);
	write32(rng->config + BAR0, home);
	write16(rng->config + COMMAND, 6); /* memory, bus master */
	for (uint16_t head = 0; head < 4; head++)
		CHECK(virtio_wait(&queue, &len), to);
	virtio_submit(&queue, 5);
	CHECK(virtio_wait(&queue, &len), to);
}

void guest_main(const struct start_info *info)
{
	static const uint32_t places[] = {0,	      0x100000,	  0x1ff0000,  0xdfffc000,
					  0xe0000000, 0xe0008000, 0xfec00000, 0xfee00000,
					  0xffffc000, 0xd0000000};
	struct device rng, console;
	uint32_t before;

	(void)info;
	CHECK(virtio_find(&rng, VIRTIO_RNG), 0);
	CHECK(virtio_find(&console, VIRTIO_CONSOLE), 0);
	before = read32(console.config + BAR0);
	works(&rng);
	for (uint32_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		excursion(&rng, places[i]);
	excursion(&rng, before & ~15u);
	CHECK(read32(console.config + BAR0) == before, before);
	CHECK(read16(console.common + COMMON_NUM_QUEUES) == 6, 0);
	print("PASS\n");
}
