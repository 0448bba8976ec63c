// SPDX-License-Identifier: Apache-2.0
/*
 * The PCI bus: absent functions read as ones, BARs can be sized and moved, decoding switched off
 * means nobody answers, and odd accesses anywhere in the window harm nothing.
 */
#include "virtio.h"

#define BAR0  0x10u
#define MOVED 0xd0000000u

static void check_absent(void)
{
	CHECK(read32(ECAM + (31u << 15)) == 0xffffffff, read32(ECAM + (31u << 15)));
	CHECK(read32(ECAM + (1u << 15) + (3u << 12)) == 0xffffffff, 0); /* function 3 */
	CHECK(read32(0xdffffff0) == 0xffffffff, read32(0xdffffff0));
	write32(0xdffffff0, 1);
	CHECK(inl(0xcf8) == 0xffffffff, inl(0xcf8));
}

static void check_bar(struct device *dev)
{
	uint32_t bar = read32(dev->config + BAR0), size;

	write32(dev->config + BAR0, 0xffffffff);
	size = ~(read32(dev->config + BAR0) & ~15u) + 1;
	CHECK(size == 0x4000, size);
	write32(dev->config + BAR0, MOVED);
	dev->common = dev->common - (bar & ~15u) + MOVED;
	CHECK(read16(dev->common + COMMON_NUM_QUEUES) == 1,
	      read16(dev->common + COMMON_NUM_QUEUES));
	write16(dev->config + 4, 0);
	CHECK(read32(dev->common + COMMON_NUM_QUEUES) == 0xffffffff, 0);
	write16(dev->config + 4, 2);
	CHECK(read16(dev->common + COMMON_NUM_QUEUES) == 1, 1);
}

static void check_odd(const struct device *dev)
{
	for (uint32_t off = 0; off < 0x4000; off += 0x39)
		(void)read32(MOVED + off);
	for (uint32_t reg = 0; reg < 4096; reg += 4)
		(void)read32(dev->config + reg);
	write16(dev->common + COMMON_QUEUE_SELECT, 0xffff);
	CHECK(read16(dev->common + COMMON_QUEUE_SIZE) == 0,
	      read16(dev->common + COMMON_QUEUE_SIZE));
	write16(dev->common + COMMON_QUEUE_ENABLE, 1);
}

void guest_main(const struct start_info *info)
{
	struct device rng;

	(void)info;
	check_absent();
	CHECK(virtio_find(&rng, VIRTIO_RNG), 0);
	check_bar(&rng);
	check_odd(&rng);
	print("PASS\n");
}
