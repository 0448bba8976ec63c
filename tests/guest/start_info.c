// SPDX-License-Identifier: Apache-2.0
/* What PVH hands over: command line, initrd, memory map and ACPI tables are where it says, whole,
 * and believable. */
#include "guest.h"

struct module {
	uint64_t address, len, cmdline, reserved;
};

struct memmap {
	uint64_t address, len;
	uint32_t type, reserved;
};

static bool equal(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static uint8_t sum(uint32_t address, uint32_t len)
{
	uint8_t total = 0;

	for (uint32_t i = 0; i < len; i++)
		total = (uint8_t)(total + read8(address + i));
	return total;
}

static void check_acpi(uint32_t rsdp)
{
	uint32_t xsdt, n;

	CHECK(read32(rsdp) == 0x20445352 && sum(rsdp, 20) == 0 && sum(rsdp, 36) == 0, rsdp);
	xsdt = read32(rsdp + 24);
	CHECK(read32(xsdt) == 0x54445358 && sum(xsdt, read32(xsdt + 4)) == 0, xsdt);
	n = (read32(xsdt + 4) - 36) / 8;
	CHECK(n == 3, n);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t table = read32(xsdt + 36 + i * 8);

		CHECK(sum(table, read32(table + 4)) == 0, read32(table));
	}
}

void guest_main(const struct start_info *info)
{
	const struct memmap *map = (const struct memmap *)(uint32_t)info->memmap;
	const struct module *initrd = (const struct module *)(uint32_t)info->modlist;
	uint64_t ram = 0;

	CHECK(equal((const char *)(uint32_t)info->cmdline, "one two=3"), info->cmdline);
	CHECK(info->n_modules == 1, info->n_modules);
	CHECK(initrd->len == 6 && initrd->address % 4096 == 0, initrd->len);
	CHECK(read8((uint32_t)initrd->address) == 'i' &&
		      read8((uint32_t)initrd->address + 5) == 'd',
	      read32((uint32_t)initrd->address));
	for (uint32_t i = 0; i < info->n_memmap; i++)
		if (map[i].type == 1)
			ram += map[i].len;
	CHECK(ram > 31 << 20 && ram <= 32 << 20, ram);
	check_acpi((uint32_t)info->rsdp);
	print("PASS\n");
}
