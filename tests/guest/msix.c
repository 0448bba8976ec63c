// SPDX-License-Identifier: Apache-2.0
/*
 * MSI-X with interrupts pending: what comes while a vector or the function is masked sets its
 * pending bit, and is delivered once when the mask goes; a vector that nobody routed, addresses
 * that are no MSI, and vectors out of range harm nothing. Interrupts stay off in the CPU: the local
 * APIC's request register tells what arrived.
 */
#include "virtio.h"

#define LAPIC_SPURIOUS	  0xfee000f0u
#define LAPIC_REQUEST	  0xfee00200u
#define LAPIC_ID	  0xfee00020u
#define APIC_ENABLED	  0x1ffu
#define CAP_ID_MSIX	  0x11u
#define MSIX_ENABLE	  0x8000u
#define MSIX_MASK_ALL	  0x4000u
#define VECTOR		  0x61u
#define OTHER_VECTOR	  0x81u
#define MSI_ADDRESS	  0xfee00000u
#define COMMON_QUEUE_MSIX 26
#define SPINS		  2000u

static struct queue queue;
static volatile uint8_t buffer[64];
static uint32_t cap, table, pba;

static bool is_requested(uint32_t vector)
{
	return read32(LAPIC_REQUEST + (vector / 32) * 16) & (1u << (vector % 32));
}

static bool arrives(uint32_t vector)
{
	for (uint32_t i = 0; i < SPINS; i++)
		if (is_requested(vector))
			return true;
	return false;
}

static void find_msix(const struct device *dev)
{
	uint32_t bar = read32(dev->config + 0x10) & ~15u;

	for (cap = read8(dev->config + 0x34); cap; cap = read8(dev->config + cap + 1))
		if (read8(dev->config + cap) == CAP_ID_MSIX)
			break;
	CHECK(cap, 0);
	table = bar + (read32(dev->config + cap + 4) & ~7u);
	pba = bar + (read32(dev->config + cap + 8) & ~7u);
}

static void control(const struct device *dev, uint16_t bits)
{
	write16(dev->config + cap + 2, bits);
}

static void entry(uint32_t index, uint32_t address, uint32_t data, uint32_t masked)
{
	write32(table + index * 16 + 12, 1);
	write32(table + index * 16, address);
	write32(table + index * 16 + 4, 0);
	write32(table + index * 16 + 8, data);
	write32(table + index * 16 + 12, masked);
}

static void start(struct device *rng, uint16_t vector)
{
	virtio_start(rng);
	virtio_queue(rng, &queue, 0);
	write16(rng->common + COMMON_QUEUE_MSIX, vector);
	virtio_driver_ok(rng);
	queue.desc[0] = (struct desc){(uint32_t)buffer, sizeof(buffer), DESC_WRITE, 0};
}

static void use(const struct device *rng)
{
	uint32_t len;

	virtio_submit(&queue, 0);
	CHECK(virtio_wait(&queue, &len), virtio_status(rng));
}

static void masked_vector(struct device *rng)
{
	entry(1, MSI_ADDRESS, VECTOR, 1);
	control(rng, MSIX_ENABLE);
	start(rng, 1);
	CHECK(read16(rng->common + COMMON_QUEUE_MSIX) == 1, 0);
	use(rng);
	while (!(read32(pba) & 2))
		;
	CHECK(!is_requested(VECTOR), read32(pba));
	write32(table + 16 + 12, 0);
	CHECK(arrives(VECTOR), read32(pba));
	CHECK(!(read32(pba) & 2), read32(pba));
}

static void masked_function(struct device *rng)
{
	entry(1, MSI_ADDRESS, OTHER_VECTOR, 0);
	control(rng, MSIX_ENABLE | MSIX_MASK_ALL);
	start(rng, 1);
	use(rng);
	while (!(read32(pba) & 2))
		;
	CHECK(!is_requested(OTHER_VECTOR), 0);
	control(rng, MSIX_ENABLE);
	CHECK(arrives(OTHER_VECTOR), read32(pba));
}

/* Masks that come and go while completions do. */
static void flapping(struct device *rng)
{
	for (uint32_t i = 0; i < 60; i++) {
		write32(table + 16 + 12, i & 1);
		if (i % 3 == 0)
			control(rng, MSIX_ENABLE | MSIX_MASK_ALL);
		virtio_submit(&queue, 0);
		write32(table + 16 + 8, VECTOR + i % 8);
		control(rng, i % 7 == 0 ? 0 : MSIX_ENABLE);
	}
	for (uint32_t i = 0; i < 60; i++) {
		uint32_t len;

		CHECK(virtio_wait(&queue, &len), i);
	}
}

static void nonsense(struct device *rng)
{
	static const uint32_t addresses[] = {0, 0x1000, 0xfed00000, 0xffffffff, 0xe0000000};

	for (uint32_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		entry(1, addresses[i], 0xffffffff, 0);
		control(rng, MSIX_ENABLE);
		start(rng, 1);
		use(rng);
	}
	start(rng, 31);
	CHECK(read16(rng->common + COMMON_QUEUE_MSIX) == 0xffff, 0);
	use(rng);
	for (uint32_t off = 0; off < 0x800; off += 4)
		write32(table + off, 0xffffffff);
	write32(pba, 0xffffffff);
	use(rng);
}

void guest_main(const struct start_info *info)
{
	struct device rng;

	(void)info;
	write32(LAPIC_SPURIOUS, APIC_ENABLED);
	CHECK(read32(LAPIC_ID) == 0, read32(LAPIC_ID));
	CHECK(virtio_find(&rng, VIRTIO_RNG), 0);
	find_msix(&rng);
	masked_vector(&rng);
	masked_function(&rng);
	flapping(&rng);
	nonsense(&rng);
	print("PASS\n");
}
