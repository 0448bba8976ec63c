// SPDX-License-Identifier: Apache-2.0
/*
 * The registers by which ACPI plugs and ejects functions and vCPUs, hammered by all vCPUs in every
 * width and with any value: nothing was asked to go, so nothing goes.
 */
#include "hostile.h"

#define PCI_HOTPLUG 0xae00u
#define PCI_EJECT   (PCI_HOTPLUG + 8)
#define CPU_HOTPLUG 0xae20u
#define CPU_PRESENT (CPU_HOTPLUG + 16)
#define CPU_EJECT   (CPU_HOTPLUG + 24)
#define PORTS	    0x40u
#define ROUNDS	    3000u
#define FIRST_USES  20u

static void outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port));
}

static uint16_t inw(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void any(uint32_t value)
{
	uint16_t port = (uint16_t)(PCI_HOTPLUG + (value >> 8) % PORTS);

	switch (value % 6) {
	case 0:
		outb(port, (uint8_t)(value >> 16));
		break;
	case 1:
		outw(port, (uint16_t)(value >> 16));
		break;
	case 2:
		outl(port, value);
		break;
	case 3:
		(void)inb(port);
		break;
	case 4:
		(void)inw(port);
		break;
	default:
		(void)inl(port);
		break;
	}
}

static void eject_all(void)
{
	outl(PCI_EJECT, 0xffffffff);
	for (uint32_t i = 0; i < 70; i++)
		outl(CPU_EJECT, i < 66 ? i : 1u << (i % 32));
	outl(CPU_EJECT, 0xffffffff);
}

void hostile_attack(unsigned index)
{
	uint32_t state = index + 1;

	if (index == 0)
		for (unsigned i = 0; i < FIRST_USES; i++)
			hostile_rng_works();
	eject_all();
	for (unsigned round = 0; round < ROUNDS; round++)
		any(hostile_next(&state));
}

void guest_main(const struct start_info *info)
{
	uint32_t present = inl(CPU_PRESENT);
	unsigned n_devices;

	hostile_find(info);
	n_devices = hostile_n_devices;
	hostile_run();
	CHECK(inl(CPU_PRESENT) == present, inl(CPU_PRESENT));
	hostile_n_devices = 0;
	hostile_find(info);
	CHECK(hostile_n_devices == n_devices, hostile_n_devices);
	hostile_rng_works();
	hostile_blk_works();
	hostile_end();
}
