// SPDX-License-Identifier: Apache-2.0
/*
 * The console against its guest: megabytes through one buffer again and again, resets in the middle
 * of a chain, a chain that the guest may only be written by; then its words still arrive.
 */
#include "virtio.h"

#define BIG   (8u << 20)
#define LINES 64u

static struct queue queue;
static struct device console;
static volatile uint8_t *const big = (volatile uint8_t *)0x1000000;

static void start(void)
{
	virtio_start(&console);
	virtio_queue(&console, &queue, 1);
	virtio_driver_ok(&console);
}

static void write_all(const volatile void *data, uint32_t size, uint16_t times)
{
	uint32_t len;

	for (uint16_t i = 0; i < times; i++) {
		queue.desc[i] = (struct desc){(uint32_t)data, size, 0, 0};
		virtio_submit(&queue, i);
	}
	for (uint16_t i = 0; i < times; i++)
		CHECK(virtio_wait(&queue, &len) && len == 0, virtio_status(&console));
}

void guest_main(const struct start_info *info)
{
	static const char pass[] = "\nPASS\n";

	(void)info;
	CHECK(virtio_find(&console, VIRTIO_CONSOLE), 0);
	for (unsigned round = 0; round < LINES; round++) {
		start();
		queue.desc[0] = (struct desc){(uint32_t)big, BIG, 0, 0};
		virtio_submit(&queue, 0);
		(void)virtio_status(&console);
	}
	start();
	write_all(big, BIG / 8, 4);
	queue.desc[0] = (struct desc){(uint32_t)big, 64, DESC_WRITE, 0};
	virtio_submit(&queue, 0);
	(void)virtio_status(&console);
	start();
	write_all(pass, sizeof(pass) - 1, 1);
}
