// SPDX-License-Identifier: Apache-2.0
/*
 * Two devices on one address, and half over each other, with requests in flight and every other
 * vCPU ringing there: whoever answers, both work as soon as each is back at its own place.
 */
#include "hostile.h"

#define BAR0	0x10u
#define COMMAND 4u
#define ROUNDS	12u
#define NOTIFY	0x2000u
#define RINGS	40u

static struct queue queue;
static volatile uint8_t buffer[64];
static volatile uint32_t homes[HOSTILE_DEVICES_MAX], finished;

static uint32_t bar_of(const struct device *dev)
{
	return read32(dev->config + BAR0) & ~15u;
}

static void ring_everywhere(void)
{
	for (unsigned i = 0; i < hostile_n_devices; i++) {
		write16(homes[i] + NOTIFY, 0);
		write32(homes[i] + NOTIFY + 4, 1);
		(void)read32(homes[i] + COMMON_STATUS);
	}
}

/* Requests to the rng while another function lies on it. */
static void lay_over(struct device *other, uint32_t home, uint32_t to)
{
	uint32_t len;

	virtio_start(&hostile_rng);
	virtio_queue(&hostile_rng, &queue, 0);
	virtio_driver_ok(&hostile_rng);
	for (uint16_t head = 0; head < 4; head++) {
		queue.desc[head] = (struct desc){(uint32_t)buffer, sizeof(buffer), DESC_WRITE, 0};
		virtio_submit(&queue, head);
	}
	write32(other->config + BAR0, to);
	for (unsigned i = 0; i < 4; i++)
		write16(to + NOTIFY, 0);
	write16(other->config + COMMAND, 0);
	write16(other->config + COMMAND, 6);
	write16(hostile_rng.config + COMMAND, 4);
	write16(to + NOTIFY, 0);
	write16(hostile_rng.config + COMMAND, 6);
	write32(other->config + BAR0, home);
	for (uint16_t head = 0; head < 4; head++)
		CHECK(virtio_wait(&queue, &len), head);
	virtio_submit(&queue, 5);
}

void hostile_attack(unsigned index)
{
	uint32_t rng = bar_of(&hostile_rng);

	if (index > 0) {
		for (unsigned i = 0; i < RINGS || (!finished && i < 100000); i++)
			ring_everywhere();
		return;
	}
	queue.desc[5] = (struct desc){(uint32_t)buffer, sizeof(buffer), DESC_WRITE, 0};
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < hostile_n_devices; i++) {
			if (homes[i] == rng)
				continue;
			lay_over(&hostile_devices[i], homes[i], rng);
			CHECK(bar_of(&hostile_devices[i]) == homes[i], i);
		}
	finished = 1;
}

void guest_main(const struct start_info *info)
{
	hostile_find(info);
	for (unsigned i = 0; i < hostile_n_devices; i++)
		homes[i] = bar_of(&hostile_devices[i]);
	hostile_rng_works();
	hostile_run();
	hostile_rng_works();
	hostile_blk_works();
	hostile_end();
}
