// SPDX-License-Identifier: Apache-2.0
/* The ACPI tables as a guest finds them, for every number of vCPUs. */
#include "tests/unit/harness.h"

#include <errno.h>
#include <string.h>

#include "vmm/acpi.h"
#include "vmm/layout.h"
#include "vmm/vmgenid.h"

UNIT_SUITE(acpi);

#define MEMORY	    0x100000u
#define HEADER_LEN  36u
#define MADT_LAPICS (HEADER_LEN + 8 + 12) /* behind its own fields and the I/O APIC */

static uint8_t memory[MEMORY];
static const struct mem mem = {.n_regions = 1, .regions = {{.len = MEMORY, .host = memory}}};

static uint64_t number(gpa_t at, unsigned len)
{
	uint64_t value = 0;

	cr_assert(at >= LAYOUT_ACPI && at + len <= LAYOUT_ACPI_END);
	memcpy(&value, memory + at, len);
	return value;
}

static void expect_sum(gpa_t at, uint64_t len)
{
	uint8_t sum = 0;

	cr_assert(at + len <= LAYOUT_VMGENID);
	for (uint64_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + memory[at + i]);
	cr_expect_eq(sum, 0, "checksum at %#lx", (unsigned long)at);
}

/* Table `index` of the XSDT, 0 if there is none; its checksum is right. */
static gpa_t table(gpa_t rsdp, unsigned index)
{
	gpa_t xsdt = number(rsdp + 24, 8), at;

	expect_sum(xsdt, number(xsdt + 4, 4));
	if (index >= (number(xsdt + 4, 4) - HEADER_LEN) / 8)
		return 0;
	at = number(xsdt + HEADER_LEN + 8 * index, 8);
	expect_sum(at, number(at + 4, 4));
	return at;
}

static gpa_t write_tables(unsigned n_vcpus, unsigned n_max)
{
	gpa_t rsdp;

	memset(memory, 0, sizeof(memory));
	cr_assert_eq(acpi_write(&mem, n_vcpus, n_max, &rsdp), 0);
	expect_sum(rsdp, 36);
	cr_assert(memcmp(memory + table(rsdp, 0), "FACP", 4) == 0);
	cr_assert(memcmp(memory + table(rsdp, 1), "APIC", 4) == 0);
	cr_assert(memcmp(memory + table(rsdp, 2), "MCFG", 4) == 0);
	return rsdp;
}

static void expect_lapics(gpa_t madt, unsigned n_vcpus, unsigned n_max)
{
	cr_assert_eq(number(madt + 4, 4), MADT_LAPICS + 8 * n_max);
	for (unsigned i = 0; i < n_max; i++) {
		gpa_t lapic = madt + MADT_LAPICS + 8 * i;

		cr_expect_eq(number(lapic, 2), 0x0800, "type and length");
		cr_expect_eq(number(lapic + 2, 1), i);
		cr_expect_eq(number(lapic + 3, 1), i);
		cr_expect_eq(number(lapic + 4, 4), i < n_vcpus ? 1 : 2, "vCPU %u of %u", i, n_max);
	}
}

static unsigned count(gpa_t at, const char *text)
{
	const uint8_t *start = memory + at, *end = start + number(at + 4, 4);
	unsigned n = 0;

	while ((start = memmem(start, (size_t)(end - start), text, strlen(text)))) {
		start++;
		n++;
	}
	return n;
}

Test(acpi, vcpus_that_may_come_are_listed)
{
	for (unsigned n_max = 1; n_max <= ACPI_VCPUS_MAX; n_max++) {
		unsigned n_vcpus = 1 + n_max / 2 - (n_max == 2);
		gpa_t rsdp = write_tables(n_vcpus, n_max), cpus = table(rsdp, 3);

		expect_lapics(table(rsdp, 1), n_vcpus, n_max);
		if (n_max == 1) {
			cr_expect_eq(cpus, 0, "one vCPU needs no hot-plug");
			continue;
		}
		cr_assert(cpus && memcmp(memory + cpus, "SSDT", 4) == 0);
		cr_expect_eq(count(cpus, "ACPI0007"), n_max);
		cr_expect_eq(table(rsdp, 4), 0);
	}
}

Test(acpi, tables_that_do_not_fit_are_refused)
{
	const struct mem small = {.n_regions = 1,
				  .regions = {{.len = LAYOUT_ACPI + 0x800, .host = memory}}};
	gpa_t rsdp;

	cr_expect_eq(acpi_write(&small, 1, 1, &rsdp), -ENOSPC);
}

Test(acpi, the_generation_is_random)
{
	uint8_t before[16];

	memset(memory, 0, sizeof(memory));
	memcpy(before, memory + LAYOUT_VMGENID, sizeof(before));
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(vmgenid_init(&mem), 0);
		cr_expect(memcmp(before, memory + LAYOUT_VMGENID, sizeof(before)) != 0);
		memcpy(before, memory + LAYOUT_VMGENID, sizeof(before));
	}
}
