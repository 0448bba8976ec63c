// SPDX-License-Identifier: Apache-2.0
/* Doorbells, resets and configuration accesses as fast as they go, with requests in flight: the
 * device answers afterwards. */
#include "virtio.h"

static struct queue queue;
static volatile uint8_t buffer[64];

static void start(struct device *rng)
{
	virtio_start(rng);
	virtio_queue(rng, &queue, 0);
	virtio_driver_ok(rng);
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		queue.desc[i] = (struct desc){(uint32_t)buffer, sizeof(buffer), DESC_WRITE, 0};
}

void guest_main(const struct start_info *info)
{
	struct device rng;
	uint32_t len;

	(void)info;
	CHECK(virtio_find(&rng, VIRTIO_RNG), 0);
	for (unsigned round = 0; round < 30; round++) {
		start(&rng);
		for (uint16_t head = 0; head < 8; head++)
			virtio_submit(&queue, head);
		for (unsigned i = 0; i < 10; i++) {
			write16(queue.doorbell, 0);
			(void)read32(rng.config);
		}
	}
	start(&rng);
	virtio_submit(&queue, 0);
	CHECK(virtio_wait(&queue, &len), virtio_status(&rng));
	print("PASS\n");
}
