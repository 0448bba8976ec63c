// SPDX-License-Identifier: Apache-2.0
/*
 * Every vCPU resets and starts every device again and again, each in the other's way, with requests
 * in flight on all queues; in the end each device is reset and starts as if nothing had been.
 */
#include "hostile.h"

#define ROUNDS	  120u
#define QUEUES	  3u
#define DATA_LEN  4096u
#define VERSION_1 1u
#define LOW	  2u /* what virtio-mem insists on, and others may do without */

/* For every vCPU and device a set of its own, so that what one resets another one has in flight. */
static struct queue queues[HOSTILE_DEVICES_MAX][QUEUES];
static volatile struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;
static uint8_t data[DATA_LEN] __attribute__((aligned(4096)));
static volatile uint8_t status;

/* A disk's request, which other devices find odd. */
static void fill(volatile struct desc *desc, unsigned first)
{
	desc[first] =
		(struct desc){(uint32_t)&header, sizeof(header), DESC_NEXT, (uint16_t)(first + 1)};
	desc[first + 1] = (struct desc){(uint32_t)data, DATA_LEN, DESC_NEXT | DESC_WRITE,
					(uint16_t)(first + 2)};
	desc[first + 2] = (struct desc){(uint32_t)&status, 1, DESC_WRITE, 0};
}

static void set_status(struct device *dev, uint8_t bits)
{
	write8(dev->common + COMMON_STATUS, bits);
}

/* As virtio_start(), but nobody says that it succeeds: another vCPU does the same. */
static void start(struct device *dev)
{
	set_status(dev, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	write32(dev->common + COMMON_DRIVER_FEATURE_SELECT, 0);
	write32(dev->common + COMMON_DRIVER_FEATURE,
		read32(dev->common + COMMON_DEVICE_FEATURE) & LOW);
	write32(dev->common + COMMON_DRIVER_FEATURE_SELECT, 1);
	write32(dev->common + COMMON_DRIVER_FEATURE, VERSION_1);
	set_status(dev, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
}

static void use(struct device *dev, struct queue *all)
{
	start(dev);
	for (uint16_t q = 0; q < QUEUES; q++)
		virtio_queue(dev, &all[q], q);
	set_status(dev, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
	for (unsigned q = 0; q < QUEUES; q++)
		for (uint16_t i = 0; i < 3; i++)
			virtio_submit(&all[q], (uint16_t)(i * 3));
	set_status(dev, 0);
}

void hostile_attack(unsigned index)
{
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < hostile_n_devices; i++) {
			unsigned which = (i + index * round) % hostile_n_devices;

			use(&hostile_devices[which], queues[which]);
		}
}

void guest_main(const struct start_info *info)
{
	hostile_find(info);
	for (unsigned i = 0; i < HOSTILE_DEVICES_MAX; i++)
		for (unsigned q = 0; q < QUEUES; q++)
			for (unsigned r = 0; r < 3; r++)
				fill(queues[i][q].desc, r * 3);
	hostile_run();
	hostile_reset_all();
	for (unsigned i = 0; i < hostile_n_devices; i++) {
		hostile_start(&hostile_devices[i]);
		virtio_driver_ok(&hostile_devices[i]);
		CHECK(!(virtio_status(&hostile_devices[i]) & STATUS_NEEDS_RESET), i);
	}
	hostile_rng_works();
	hostile_blk_works();
	hostile_end();
}
