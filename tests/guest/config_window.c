// SPDX-License-Identifier: Apache-2.0
/*
 * Configuration space reads as what was written to it, whoever answers: the page that the guest may
 * read without leaving, or, once the window into the BAR (virtio 1.2 §4.1.4.9) is in use, the VMM.
 */
#include "virtio.h"

#define BAR0	      0x10u
#define COMMAND	      4u
#define CAPABILITIES  0x34u
#define CAP_VENDOR    9u
#define CFG_TYPE_PCI  5u
#define WINDOW_BAR    4u
#define WINDOW_OFFSET 8u
#define WINDOW_LENGTH 12u
#define WINDOW_DATA   16u
#define EXTENDED      0x100u
#define BAR_SIZE      0x4000u

static uint32_t find_window(const struct device *dev)
{
	for (uint32_t cap = read8(dev->config + CAPABILITIES); cap;
	     cap = read8(dev->config + cap + 1))
		if (read8(dev->config + cap) == CAP_VENDOR &&
		    read8(dev->config + cap + 3) == CFG_TYPE_PCI)
			return dev->config + cap;
	return 0;
}

static void reads_what_was_written(const struct device *dev)
{
	uint32_t home = read32(dev->config + BAR0), id = read32(dev->config);

	write32(dev->config + BAR0, 0xffffffff);
	CHECK((read32(dev->config + BAR0) & ~15u) == ~(BAR_SIZE - 1), read32(dev->config + BAR0));
	write32(dev->config + BAR0, home);
	CHECK(read32(dev->config + BAR0) == home, home);
	write16(dev->config + COMMAND, 0);
	CHECK(read16(dev->config + COMMAND) == 0, 0);
	write16(dev->config + COMMAND, 6);
	CHECK(read16(dev->config + COMMAND) == 6, 0);
	write32(dev->config, 0x12345678);
	CHECK(read32(dev->config) == id, id);
	CHECK(read32(dev->config + EXTENDED) == 0, 0);
}

static uint32_t through_window(uint32_t window, uint32_t off, uint32_t len)
{
	write8(window + WINDOW_BAR, 0);
	write32(window + WINDOW_OFFSET, off);
	write32(window + WINDOW_LENGTH, len);
	return len == 1 ? read8(window + WINDOW_DATA) : read16(window + WINDOW_DATA);
}

void guest_main(const struct start_info *info)
{
	struct device rng, console;
	uint32_t window;

	(void)info;
	CHECK(virtio_find(&rng, VIRTIO_RNG), 0);
	CHECK(virtio_find(&console, VIRTIO_CONSOLE), 0);
	reads_what_was_written(&rng);
	window = find_window(&rng);
	CHECK(window, 0);
	CHECK(through_window(window, COMMON_NUM_QUEUES, 2) == 1, 0);
	write8(rng.common + COMMON_STATUS, 1);
	CHECK(through_window(window, COMMON_STATUS, 1) == 1, 0);
	write8(rng.common + COMMON_STATUS, 0);
	CHECK(read8(window + WINDOW_DATA) == 0, 0);
	reads_what_was_written(&rng);
	reads_what_was_written(&console);
	print("PASS\n");
}
