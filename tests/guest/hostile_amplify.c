// SPDX-License-Identifier: Apache-2.0
/*
 * Little that asks for much: random bytes for sixteen buffers as large as memory, statistics of as
 * many megabytes, and on every queue of every device as many chains as it takes, each as long as
 * may be, and then more. The VMM holds no more for it, and the disk works meanwhile.
 */
#include "hostile.h"

#define VIRTIO_BALLOON 5u
#define VIRTIO_MEM     24u
#define STATS_VQ       (1u << 1)
#define STATS_QUEUE    2u
#define INDIRECT       (1u << 28)
#define MEM_NEEDS      (1u << 1)
#define LARGE_AT       0x1000000u /* 15 MiB that nobody uses */
#define LARGE	       0xf00000u
#define RNG_AT_ONCE    65536u
#define RNG_REQUESTS   3u
#define SIZE_MAX_HERE  1024u
#define QUEUES	       4u
#define TABLE	       128u
#define MORE	       4u

/* A queue as large as a device lets it be. */
struct large_queue {
	struct desc desc[SIZE_MAX_HERE];
	volatile uint16_t avail_flags, avail_idx, avail_ring[SIZE_MAX_HERE], used_event;
	volatile uint32_t used[2 * SIZE_MAX_HERE + 2];
} __attribute__((aligned(4096)));

static struct queue queue;
static struct large_queue large[QUEUES];
static struct desc table[TABLE];
static volatile struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;
static volatile uint8_t status;

static void fill_queue(struct desc part)
{
	for (uint16_t i = 0; i < QUEUE_SIZE; i++) {
		queue.desc[i] = part;
		queue.desc[i].next = (uint16_t)(i + 1);
		if (i < QUEUE_SIZE - 1)
			queue.desc[i].flags |= DESC_NEXT;
	}
}

/* 240 MiB for the asking: each answer is 64 KiB at most. */
static void ask_random(void)
{
	uint32_t len;

	virtio_start(&hostile_rng);
	virtio_queue(&hostile_rng, &queue, 0);
	virtio_driver_ok(&hostile_rng);
	fill_queue((struct desc){LARGE_AT, LARGE, DESC_WRITE, 0});
	for (unsigned i = 0; i < RNG_REQUESTS; i++) {
		virtio_submit(&queue, 0);
		hostile_blk_works();
		while (!virtio_wait(&queue, &len))
			CHECK(!(virtio_status(&hostile_rng) & STATUS_NEEDS_RESET), i);
		CHECK(len > 0 && len <= RNG_AT_ONCE, len);
		for (uint32_t at = RNG_AT_ONCE; at < LARGE; at += 4096)
			CHECK(read32(LARGE_AT + at) == 0, at);
	}
}

/* Statistics without end, of tags that are none, or not whole ones. */
static void tell_statistics(struct device *balloon)
{
	static const uint32_t lens[] = {LARGE, 1, 9, 11, 170};

	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		virtio_start_with(balloon, STATS_VQ, 1);
		virtio_queue(balloon, &queue, STATS_QUEUE);
		virtio_driver_ok(balloon);
		for (uint32_t at = 0; at < 4096; at += 4)
			write32(LARGE_AT + at, i & 1 ? 0xffffffff : at / 10);
		fill_queue((struct desc){LARGE_AT, lens[i], 0, 0});
		virtio_submit(&queue, 0);
		queue.desc[QUEUE_SIZE - 1].flags = 0;
		virtio_submit(&queue, QUEUE_SIZE - 1); /* a second one waits */
		hostile_blk_works();
		CHECK(!(virtio_status(balloon) & STATUS_NEEDS_RESET), i);
		for (uint32_t at = 0; at < 4096; at += 4)
			write32(LARGE_AT + at, 0);
	}
}

/* What a disk takes as a read of 126 pages; others find it odd. */
static void make_table(void)
{
	table[0] = (struct desc){(uint32_t)&header, sizeof(header), DESC_NEXT, 1};
	for (uint16_t i = 1; i < TABLE; i++)
		table[i] = (struct desc){LARGE_AT, 4096, DESC_NEXT | DESC_WRITE, (uint16_t)(i + 1)};
	table[TABLE - 1] = (struct desc){(uint32_t)&status, 1, DESC_WRITE, 0};
}

static uint16_t set_up(struct device *dev, struct large_queue *q, uint16_t index)
{
	uint16_t size;

	write16(dev->common + COMMON_QUEUE_SELECT, index);
	size = read16(dev->common + COMMON_QUEUE_SIZE);
	CHECK(size <= SIZE_MAX_HERE, size);
	q->avail_idx = 0;
	for (uint16_t i = 0; i < size; i++) {
		q->desc[i] = (struct desc){(uint32_t)table, sizeof(table), DESC_INDIRECT, 0};
		q->avail_ring[i] = i;
	}
	virtio_enable_queue(dev, index, size, q->desc, &q->avail_flags, q->used);
	return size;
}

/* All heads of all queues, and all again while they are in flight. Whether the device takes that
 * for broken depends on what it has done by then. */
static void overload(struct device *dev)
{
	uint16_t sizes[QUEUES], n = read16(dev->common + COMMON_NUM_QUEUES);
	bool is_mem = read32(dev->config) >> 16 == 0x1040u + VIRTIO_MEM;

	n = n < QUEUES ? n : QUEUES;
	virtio_start_with(dev, INDIRECT | (is_mem ? MEM_NEEDS : 0), 1);
	for (uint16_t i = 0; i < n; i++)
		sizes[i] = set_up(dev, &large[i], i);
	virtio_driver_ok(dev);
	for (unsigned more = 0; more < MORE; more++)
		for (uint16_t i = 0; i < n; i++) {
			large[i].avail_idx += sizes[i];
			write16(dev->notify + i * dev->notify_multiplier, i);
		}
	write8(dev->common + COMMON_STATUS, 0);
	while (virtio_status(dev))
		;
}

void hostile_attack(unsigned index)
{
	struct device balloon;

	(void)index;
	ask_random();
	CHECK(virtio_find(&balloon, VIRTIO_BALLOON), 0);
	tell_statistics(&balloon);
	make_table();
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < hostile_n_devices; i++) {
			overload(&hostile_devices[i]);
			hostile_blk_works();
		}
}

void guest_main(const struct start_info *info)
{
	hostile_find(info);
	for (uint32_t at = 0; at < LARGE; at += 4096)
		write32(LARGE_AT + at, 0); /* it is the guest's memory that holds these pages */
	hostile_run();
	hostile_reset_all();
	hostile_blk_works();
	write8(hostile_blk.common + COMMON_STATUS, 0);
	hostile_disks_work();
	hostile_end();
}
