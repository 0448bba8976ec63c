// SPDX-License-Identifier: Apache-2.0
/*
 * MSI-X masked, unmasked, moved and switched off by every vCPU while requests complete: none is
 * lost, and once the table is sane an interrupt arrives.
 */
#include "hostile.h"

#define LAPIC_SPURIOUS	  0xfee000f0u
#define LAPIC_REQUEST	  0xfee00200u
#define APIC_ENABLED	  0x1ffu
#define CAP_ID_MSIX	  0x11u
#define MSIX_ENABLE	  0x8000u
#define MSIX_MASK_ALL	  0x4000u
#define VECTOR		  0x61u
#define LAST_VECTOR	  0xa1u
#define MSI_ADDRESS	  0xfee00000u
#define COMMON_QUEUE_MSIX 26
#define ROUNDS		  400u
#define PATIENCE	  100000u

static struct queue queue;
static volatile uint8_t buffer[64];
static uint32_t cap, table;

static void find_msix(void)
{
	uint32_t config = hostile_rng.config, bar = read32(config + 0x10) & ~15u;

	for (cap = read8(config + 0x34); cap; cap = read8(config + cap + 1))
		if (read8(config + cap) == CAP_ID_MSIX)
			break;
	CHECK(cap, 0);
	table = bar + (read32(config + cap + 4) & ~7u);
}

static void control(uint16_t bits)
{
	write16(hostile_rng.config + cap + 2, bits);
}

static void flap(unsigned index)
{
	uint32_t state = index + 1;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint32_t value = hostile_next(&state), vector = value % 2;

		write32(table + vector * 16 + 12, value >> 8 & 1);
		control(value & 4 ? MSIX_ENABLE : value & 8 ? MSIX_ENABLE | MSIX_MASK_ALL : 0);
		if (value & 16)
			write32(table + vector * 16 + 8, VECTOR + (value >> 16) % 8);
		if (value & 32)
			write32(table + vector * 16, value & 64 ? MSI_ADDRESS : value);
		(void)read32(table + 0x800 + (value >> 20 & 0xc));
	}
}

static void use(void)
{
	uint32_t len;

	for (unsigned i = 0; i < ROUNDS; i++) {
		write32(table + 16 + 12, i & 1);
		if (i % 5 == 0)
			control(MSIX_ENABLE | MSIX_MASK_ALL);
		virtio_submit(&queue, (uint16_t)(i % 4));
		control(MSIX_ENABLE);
		CHECK(virtio_wait(&queue, &len), i);
	}
}

void hostile_attack(unsigned index)
{
	if (index == 0)
		use();
	else
		flap(index);
}

static bool arrives(uint32_t vector)
{
	for (uint32_t i = 0; i < PATIENCE; i++)
		if (read32(LAPIC_REQUEST + (vector / 32) * 16) & (1u << (vector % 32)))
			return true;
	return false;
}

static void be_sane(void)
{
	uint32_t len;

	control(MSIX_ENABLE);
	write32(table + 16 + 12, 1);
	write32(table + 16, MSI_ADDRESS);
	write32(table + 16 + 4, 0);
	write32(table + 16 + 8, LAST_VECTOR);
	virtio_submit(&queue, 0);
	CHECK(virtio_wait(&queue, &len), 0);
	write32(table + 16 + 12, 0); /* what came while it was masked comes now */
	CHECK(arrives(LAST_VECTOR), read32(table + 16 + 12));
}

void guest_main(const struct start_info *info)
{
	hostile_find(info);
	find_msix();
	write32(LAPIC_SPURIOUS, APIC_ENABLED);
	virtio_start(&hostile_rng);
	virtio_queue(&hostile_rng, &queue, 0);
	write16(hostile_rng.common + COMMON_QUEUE_MSIX, 1);
	virtio_driver_ok(&hostile_rng);
	for (uint16_t i = 0; i < 4; i++)
		queue.desc[i] = (struct desc){(uint32_t)buffer, sizeof(buffer), DESC_WRITE, 0};
	hostile_run();
	be_sane();
	hostile_blk_works();
	hostile_end();
}
