// SPDX-License-Identifier: Apache-2.0
/*
 * Every vCPU rings every doorbell of every device, of queues that are there, are not enabled, are
 * broken, or do not exist, in every width. The first uses the rng meanwhile.
 */
#include "hostile.h"

#define ROUNDS	   200u
#define DOORBELLS  16u
#define FIRST_USES 30u

static struct queue queues[HOSTILE_DEVICES_MAX];

/* All devices but the rng: one is set up, the next is broken, the next not started. */
static void set_up(void)
{
	for (unsigned i = 0; i < hostile_n_devices; i++) {
		struct device *dev = &hostile_devices[i];

		if (dev->config == hostile_rng.config || i % 3 == 1)
			continue;
		hostile_start(dev);
		virtio_queue(dev, &queues[i],
			     i % 3 == 2); /* 1: console and balloon look at it at once */
		virtio_driver_ok(dev);
		if (i % 3 == 2)
			queues[i].avail_idx = 0x7000;
	}
}

static void storm(const struct device *dev, uint32_t value)
{
	for (uint32_t i = 0; i < DOORBELLS; i++)
		hostile_write(dev->notify + i * dev->notify_multiplier, 1u << (value + i) % 3,
			      value % 4 ? i : value);
}

void hostile_attack(unsigned index)
{
	uint32_t state = index + 1;

	if (index == 0)
		for (unsigned i = 0; i < FIRST_USES; i++)
			hostile_rng_works();
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < hostile_n_devices; i++)
			storm(&hostile_devices[i], hostile_next(&state));
}

void guest_main(const struct start_info *info)
{
	hostile_find(info);
	set_up();
	hostile_run();
	for (unsigned i = 0; i < hostile_n_devices; i++)
		CHECK(i % 3 != 0 || !(virtio_status(&hostile_devices[i]) & STATUS_NEEDS_RESET), i);
	hostile_reset_all();
	hostile_rng_works();
	hostile_blk_works();
	/* Broken ones, and kicks for them, are no reason not to rest. */
	set_up();
	for (unsigned i = 0; i < hostile_n_devices; i++)
		storm(&hostile_devices[i], 1);
	for (unsigned i = 2; i < hostile_n_devices; i += 3)
		CHECK(virtio_wait_broken(&hostile_devices[i]), i);
	hostile_end();
}
