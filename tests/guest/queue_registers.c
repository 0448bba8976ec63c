// SPDX-License-Identifier: Apache-2.0
/* Queue registers that change after DRIVER_OK are not obeyed (CVE-2026-5747), and a doorbell of a
 * queue that is not there does nothing. */
#include "virtio.h"

static struct queue queue;
static volatile uint8_t buffer[64];

void guest_main(const struct start_info *info)
{
	struct device rng;
	uint32_t len;

	(void)info;
	CHECK(virtio_find(&rng, VIRTIO_RNG), 0);
	virtio_start(&rng);
	virtio_queue(&rng, &queue, 0);
	virtio_driver_ok(&rng);
	write32(rng.common + COMMON_QUEUE_DESC, 0xfffff000);
	write32(rng.common + COMMON_QUEUE_DEVICE, 0xfffff000);
	write16(rng.common + COMMON_QUEUE_SIZE, 0xffff);
	write16(rng.notify + 8, 7);
	write32(rng.notify + 0x700, 0xffffffff);
	queue.desc[0] = (struct desc){(uint32_t)buffer, sizeof(buffer), DESC_WRITE, 0};
	virtio_submit(&queue, 0);
	CHECK(virtio_wait(&queue, &len), virtio_status(&rng));
	print("PASS\n");
}
