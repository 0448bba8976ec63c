// SPDX-License-Identifier: Apache-2.0
/*
 * Two vCPUs at once: the second is started by INIT and SIPI and hammers configuration space, BARs,
 * the MSI-X table and doorbells, while the first uses a device, resets it and uses it again.
 */
#include "secondary.h"
#include "virtio.h"

#define ROUNDS 40u
#define BAR0   0x10u

static struct queue queue;
static volatile uint8_t buffer[64];
static volatile uint32_t started, finished, stopped;
static struct device console, rng;

static void hammer_config(void)
{
	uint32_t bar = read32(console.config + BAR0);

	for (uint32_t reg = 0; reg < 256; reg += 4) {
		(void)read32(rng.config + reg);
		(void)read32(console.config + reg);
	}
	write32(console.config + BAR0, 0xffffffff);
	write16(console.config + 4, 0);
	write32(console.config + BAR0, bar);
	write16(console.config + 4, 2);
	for (uint32_t off = 0x3000; off < 0x3100; off += 4)
		write32((bar & ~15u) + off, off);
}

void secondary_main(unsigned index)
{
	(void)index;
	started = 1;
	while (!finished) {
		hammer_config();
		for (unsigned i = 0; i < 8; i++) {
			write16(rng.notify, 0);
			(void)read8(rng.common + COMMON_STATUS);
			(void)read32(ECAM + (31u << 15));
		}
	}
	stopped = 1;
}

static void use(void)
{
	uint32_t len;

	virtio_start(&rng);
	virtio_queue(&rng, &queue, 0);
	virtio_driver_ok(&rng);
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		queue.desc[i] = (struct desc){(uint32_t)buffer, sizeof(buffer), DESC_WRITE, 0};
	for (uint16_t head = 0; head < 4; head++)
		virtio_submit(&queue, head);
	CHECK(virtio_wait(&queue, &len), virtio_status(&rng));
}

void guest_main(const struct start_info *info)
{
	(void)info;
	CHECK(virtio_find(&rng, VIRTIO_RNG), 0);
	CHECK(virtio_find(&console, VIRTIO_CONSOLE), 0);
	secondary_start(1);
	CHECK(secondary_wait(&started, 1), 0);
	for (unsigned i = 0; i < ROUNDS; i++)
		use();
	finished = 1;
	CHECK(secondary_wait(&stopped, 1), 0);
	use();
	CHECK(read16(console.common + COMMON_NUM_QUEUES) == 6, 0);
	print("PASS\n");
}
