// SPDX-License-Identifier: Apache-2.0
/*
 * An honest zone that works while another one attacks (run_neighbour.sh): it writes sectors, reads
 * them back, draws random bytes, checks all of it, and prints a dot every so many rounds, for as
 * long as it lives.
 */
#include "virtio.h"

#define SECTOR	 512u
#define SECTORS	 64u
#define PER_DOT	 1u
#define BLK_IN	 0u
#define BLK_OUT	 1u
#define READY_AT 32u /* dots, until everything that is touched was touched */

static struct queue disk_queue, rng_queue;
static struct device disk, rng;
static struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;
static volatile uint8_t status;
static uint32_t data[SECTOR / 4], random[8];

static void start(struct device *dev, struct queue *queue, unsigned id)
{
	CHECK(virtio_find(dev, id), id);
	virtio_start(dev);
	virtio_queue(dev, queue, 0);
	virtio_driver_ok(dev);
}

static void transfer(uint32_t type, uint32_t sector)
{
	uint32_t len;
	uint16_t write = type == BLK_IN ? DESC_WRITE : 0;

	header.type = type;
	header.sector = sector;
	status = 0xff;
	disk_queue.desc[0] = (struct desc){(uint32_t)&header, sizeof(header), DESC_NEXT, 1};
	disk_queue.desc[1] = (struct desc){(uint32_t)data, SECTOR, DESC_NEXT | write, 2};
	disk_queue.desc[2] = (struct desc){(uint32_t)&status, 1, DESC_WRITE, 0};
	virtio_submit(&disk_queue, 0);
	while (!virtio_wait(&disk_queue, &len)) /* slow is no failure: the test judges that */
		;
	CHECK(status == 0, status);
}

static void work(uint32_t round)
{
	uint32_t len;

	for (uint32_t i = 0; i < SECTOR / 4; i++)
		data[i] = round * 2654435761u + i;
	transfer(BLK_OUT, round % SECTORS);
	for (uint32_t i = 0; i < SECTOR / 4; i++)
		data[i] = 0;
	transfer(BLK_IN, round % SECTORS);
	for (uint32_t i = 0; i < SECTOR / 4; i++)
		CHECK(data[i] == round * 2654435761u + i, data[i]);
	rng_queue.desc[0] = (struct desc){(uint32_t)random, sizeof(random), DESC_WRITE, 0};
	virtio_submit(&rng_queue, 0);
	while (!virtio_wait(&rng_queue, &len))
		;
	CHECK(len > 0 && len <= sizeof(random), len);
}

void guest_main(const struct start_info *info)
{
	(void)info;
	start(&disk, &disk_queue, VIRTIO_BLK);
	start(&rng, &rng_queue, VIRTIO_RNG);
	for (uint32_t round = 0;; round++) {
		work(round);
		if (round % PER_DOT == 0)
			print(".");
		if (round == READY_AT * PER_DOT)
			print("\nREADY\n");
	}
}
