// SPDX-License-Identifier: Apache-2.0
/* virtio-rng through a whole queue cycle, polled, twice with a reset between: it fills the buffer,
 * and not twice with the same. */
#include "virtio.h"

static struct queue queue;
static volatile uint32_t buffer[16];

static uint32_t draw(struct device *rng)
{
	uint32_t len = 0;

	virtio_start(rng);
	virtio_queue(rng, &queue, 0);
	virtio_driver_ok(rng);
	queue.desc[0] = (struct desc){
		.address = (uint32_t)buffer, .len = sizeof(buffer), .flags = DESC_WRITE};
	virtio_submit(&queue, 0);
	CHECK(virtio_wait(&queue, &len), virtio_status(rng));
	CHECK(len > 0 && len <= sizeof(buffer), len);
	return buffer[0];
}

void guest_main(const struct start_info *info)
{
	struct device rng;
	uint32_t first;

	(void)info;
	CHECK(virtio_find(&rng, VIRTIO_RNG), 0);
	first = draw(&rng);
	CHECK(draw(&rng) != first, first);
	print("PASS\n");
}
