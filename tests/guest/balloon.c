// SPDX-License-Identifier: Apache-2.0
/*
 * The guest of memory_host.c's test of the balloon: gives pages when it is asked to, takes them
 * back, reports free ones, and tells of pages that are none. What it gave reads as zeroes.
 */
#include "virtio.h"

#define VIRTIO_BALLOON	5u
#define STATS_VQ	(1u << 1)
#define DEFLATE_ON_OOM	(1u << 2)
#define REPORTING	(1u << 5)
#define PAGE		4096u
#define FIRST		0x1000000u /* free memory from here on */
#define PAGES		2048u
#define PFNS		1024u
#define REPORTED_PAGES	1024u
#define MARK		0xabcd1234u
#define CONFIG_TARGET	0u
#define CONFIG_GIVEN	4u
#define QUEUE_INFLATE	0u
#define QUEUE_DEFLATE	1u
#define QUEUE_STATS	2u
#define QUEUE_REPORTING 3u

static struct device balloon;
static struct queue queues[4];
static uint32_t pfns[PFNS];

/* Statistics: a kind, and its value. */
static struct __attribute__((packed)) {
	uint16_t tag;
	uint64_t value;
} stats[] = {{4 /* free bytes */, 305419896}, {0xffff, 1}};

static void touch(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		write32(FIRST + i * PAGE, MARK);
}

static void submit(unsigned queue, uint32_t address, uint32_t len, uint16_t flags)
{
	uint32_t written;

	queues[queue].desc[0] = (struct desc){address, len, flags, 0};
	virtio_submit(&queues[queue], 0);
	CHECK(virtio_wait(&queues[queue], &written), virtio_status(&balloon));
}

static void tell_pages(unsigned queue)
{
	for (uint32_t done = 0; done < PAGES; done += PFNS) {
		for (uint32_t i = 0; i < PFNS; i++)
			pfns[i] = FIRST / PAGE + done + i;
		submit(queue, (uint32_t)pfns, sizeof(pfns), 0);
	}
}

static void wait_for_target(uint32_t pages)
{
	while (read32(balloon.device + CONFIG_TARGET) != pages)
		;
}

/* Nowhere, devices, the hole below 4 GiB: none of it is memory. */
static void tell_nonsense(void)
{
	static const uint32_t places[] = {0xffffffff, 0xfee00, 0xe0000, 0x2000, 0xc0000, 0x100000};

	for (uint32_t i = 0; i < PFNS; i++)
		pfns[i] = places[i % (sizeof(places) / sizeof(places[0]))];
	submit(QUEUE_INFLATE, (uint32_t)pfns, sizeof(pfns), 0);
	submit(QUEUE_DEFLATE, (uint32_t)pfns, sizeof(pfns), 0);
	CHECK(!(virtio_status(&balloon) & STATUS_NEEDS_RESET), virtio_status(&balloon));
}

static void start(void)
{
	CHECK(virtio_find(&balloon, VIRTIO_BALLOON), 0);
	virtio_start_with(&balloon, STATS_VQ | DEFLATE_ON_OOM | REPORTING, 1);
	for (uint16_t i = 0; i < 4; i++)
		virtio_queue(&balloon, &queues[i], i);
	virtio_driver_ok(&balloon);
	queues[QUEUE_STATS].desc[0] = (struct desc){(uint32_t)stats, sizeof(stats), 0, 0};
	virtio_submit(&queues[QUEUE_STATS], 0);
}

void guest_main(const struct start_info *info)
{
	(void)info;
	start();
	touch(PAGES);
	print("TOUCHED\n");
	wait_for_target(PAGES);
	tell_pages(QUEUE_INFLATE);
	write32(balloon.device + CONFIG_GIVEN, PAGES);
	print("GIVEN\n");
	wait_for_target(0);
	for (uint32_t i = 0; i < PAGES; i++)
		CHECK(read32(FIRST + i * PAGE) == 0, i);
	tell_pages(QUEUE_DEFLATE);
	write32(balloon.device + CONFIG_GIVEN, 0);
	touch(PAGES);
	print("TAKEN\n");
	wait_for_target(1);
	submit(QUEUE_REPORTING, FIRST, REPORTED_PAGES * PAGE, DESC_WRITE);
	CHECK(read32(FIRST) == 0, read32(FIRST));
	CHECK(read32(FIRST + REPORTED_PAGES * PAGE) == MARK, 0);
	print("REPORTED\n");
	wait_for_target(0);
	tell_nonsense();
	print("PASS\n");
	for (;;)
		(void)inb(0x3fd);
}
