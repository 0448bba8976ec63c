// SPDX-License-Identifier: Apache-2.0
#include "vmm/acpi.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/util.h"
#include "vmm/layout.h"

#include "cpus.hex" /* cpus_aml_code */
#include "dsdt.hex" /* dsdt_aml_code */

#define FADT_HW_REDUCED	      (1u << 20)
#define FADT_RESET_REGISTER   (1u << 10)
#define FADT_NO_FIXED_BUTTONS (1u << 4 | 1u << 5)
#define BOOT_NO_VGA	      (1u << 2)
#define BOOT_NO_CMOS_RTC      (1u << 5)
#define RESET_VALUE	      1
#define ADDRESS_SPACE_IO      1
#define ACCESS_BYTE	      1
#define LAPIC_ENABLED	      1u
#define LAPIC_ONLINE_CAPABLE  2u
#define AML_SCOPE	      0x10
#define AML_DEVICE	      0x825b /* 0x5b 0x82 */

struct __attribute__((packed)) table_header {
	char signature[4];
	uint32_t len;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
};

struct __attribute__((packed)) generic_address {
	uint8_t space, bits, offset, access;
	uint64_t address;
};

struct __attribute__((packed)) rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t len;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
};

struct __attribute__((packed)) xsdt {
	struct table_header header;
	uint64_t tables[4]; /* the last one only with CPU hot-plug */
};

/* Fields that a hardware-reduced machine does not have stay zero (§5.2.9). */
struct __attribute__((packed)) fadt {
	struct table_header header;
	uint8_t zero1[109 - 36];
	uint16_t boot_flags;
	uint8_t zero2;
	uint32_t flags;
	struct generic_address reset_register;
	uint8_t reset_value;
	uint16_t arm_boot_flags;
	uint8_t minor;
	uint64_t facs, dsdt;
	struct generic_address zero3[8];
	struct generic_address sleep_control, sleep_status;
	uint64_t hypervisor;
};

static_assert(offsetof(struct fadt, boot_flags) == 109, "ACPI 6.4 table 5.9");
static_assert(offsetof(struct fadt, dsdt) == 140, "ACPI 6.4 table 5.9");
static_assert(offsetof(struct fadt, sleep_control) == 244, "ACPI 6.4 table 5.9");
static_assert(sizeof(struct fadt) == 276, "ACPI 6.4 table 5.9");

struct __attribute__((packed)) madt {
	struct table_header header;
	uint32_t lapic_address, flags;
};

struct __attribute__((packed)) madt_lapic {
	uint8_t type, len, processor, apic_id;
	uint32_t flags;
};

struct __attribute__((packed)) madt_ioapic {
	uint8_t type, len, id, reserved;
	uint32_t address, gsi_base;
};

struct __attribute__((packed)) mcfg {
	struct table_header header;
	uint64_t reserved, base;
	uint16_t segment;
	uint8_t first_bus, last_bus;
	uint32_t reserved2;
};

static uint8_t checksum(const void *data, size_t len)
{
	const uint8_t *bytes = data;
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return (uint8_t)-sum;
}

static struct table_header header(const char *signature, size_t len, uint8_t revision)
{
	struct table_header h = {.len = (uint32_t)len,
				 .revision = revision,
				 .oem_id = {'P', 'R', 'O', 'T', 'C', 'T'},
				 .oem_table_id = {'Z', 'O', 'N', 'E', ' ', ' ', ' ', ' '},
				 .oem_revision = 1,
				 .creator_id = {'P', 'R', 'T', 'C'},
				 .creator_revision = 1};

	memcpy(h.signature, signature, sizeof(h.signature));
	return h;
}

struct writer {
	const struct mem *mem;
	gpa_t next;
};

/* Copies one thing to the next aligned place; 0 when the area is full. */
static gpa_t place(struct writer *w, const void *data, size_t len)
{
	gpa_t at = align_up(w->next, 16);
	void *to = mem_ptr(w->mem, at, len);

	if (!to || at + len > LAYOUT_VMGENID)
		return 0;
	memcpy(to, data, len);
	w->next = at + len;
	return at;
}

static gpa_t place_table(struct writer *w, void *table, size_t len)
{
	struct table_header *h = table;

	h->checksum = checksum(table, len);
	return place(w, table, len);
}

static struct generic_address port(uint16_t number)
{
	return (struct generic_address){
		.space = ADDRESS_SPACE_IO, .bits = 8, .access = ACCESS_BYTE, .address = number};
}

static gpa_t place_fadt(struct writer *w, gpa_t dsdt)
{
	struct fadt fadt = {
		.header = header("FACP", sizeof(fadt), 6),
		.boot_flags = BOOT_NO_VGA | BOOT_NO_CMOS_RTC,
		.flags = FADT_HW_REDUCED | FADT_RESET_REGISTER | FADT_NO_FIXED_BUTTONS,
		.reset_register = port(PORT_RESET),
		.reset_value = RESET_VALUE,
		.minor = 4,
		.dsdt = dsdt,
		.sleep_control = port(PORT_SLEEP_CONTROL),
		.sleep_status = port(PORT_SLEEP_STATUS),
	};

	return place_table(w, &fadt, sizeof(fadt));
}

static gpa_t place_madt(struct writer *w, unsigned n_vcpus, unsigned n_max)
{
	uint8_t room[sizeof(struct madt) + sizeof(struct madt_ioapic) +
		     ACPI_VCPUS_MAX * sizeof(struct madt_lapic)];
	struct madt madt = {.lapic_address = LAYOUT_LAPIC};
	struct madt_ioapic ioapic = {
		.type = 1, .len = sizeof(ioapic), .id = (uint8_t)n_max, .address = LAYOUT_IOAPIC};
	size_t len = sizeof(madt);

	memcpy(room + len, &ioapic, sizeof(ioapic));
	len += sizeof(ioapic);
	for (unsigned i = 0; i < n_max; i++) {
		struct madt_lapic lapic = {.len = sizeof(lapic),
					   .processor = (uint8_t)i,
					   .apic_id = (uint8_t)i,
					   .flags = i < n_vcpus ? LAPIC_ENABLED
								: LAPIC_ONLINE_CAPABLE};

		memcpy(room + len, &lapic, sizeof(lapic));
		len += sizeof(lapic);
	}
	madt.header = header("APIC", len, 5);
	memcpy(room, &madt, sizeof(madt));
	return place_table(w, room, len);
}

static gpa_t place_mcfg(struct writer *w)
{
	struct mcfg mcfg = {.header = header("MCFG", sizeof(mcfg), 1), .base = LAYOUT_ECAM};

	return place_table(w, &mcfg, sizeof(mcfg));
}

/*
 * The length of the term at `at` in AML of len bytes (ACPI 6.4 §20.2.4): a Scope or a Device, whose
 * opcode is followed by a PkgLength. 0: it is none.
 */
static size_t term_len(const uint8_t *aml, size_t at, size_t len)
{
	size_t opcode = aml[at] == AML_SCOPE ? 1 : 2, package, n_more;

	if (at + opcode + 4 > len)
		return 0;
	if (opcode == 2 && (aml[at] | aml[at + 1] << 8) != AML_DEVICE)
		return 0;
	at += opcode;
	n_more = aml[at] >> 6;
	package = n_more ? aml[at] & 0xf : aml[at] & 0x3f;
	for (size_t i = 0; i < n_more; i++)
		package |= (size_t)aml[at + 1 + i] << (4 + 8 * i);
	return opcode + package;
}

/* The compiled table with the devices of the first n_max processors. */
static gpa_t place_cpus(struct writer *w, unsigned n_max)
{
	uint8_t table[sizeof(cpus_aml_code)];
	struct table_header h;
	size_t len = sizeof(h);

	memcpy(table, cpus_aml_code, sizeof(table));
	for (unsigned i = 0; i < 1 + n_max; i++) {
		size_t term = len < sizeof(table) ? term_len(table, len, sizeof(table)) : 0;

		assert(term && term <= sizeof(table) - len);
		len += term;
	}
	memcpy(&h, table, sizeof(h));
	h.len = (uint32_t)len;
	h.checksum = 0;
	memcpy(table, &h, sizeof(h));
	return place_table(w, table, len);
}

int acpi_write(const struct mem *mem, unsigned n_vcpus, unsigned n_max, gpa_t *rsdp_out)
{
	/* The RSDP comes first in the area but is written last; its checksum covers the others'
	 * addresses. */
	struct writer w = {.mem = mem, .next = LAYOUT_ACPI + sizeof(struct rsdp)};
	struct rsdp rsdp = {.signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '},
			    .oem_id = {'P', 'R', 'O', 'T', 'C', 'T'},
			    .revision = 2,
			    .len = sizeof(rsdp)};
	unsigned n_tables = n_max > 1 ? 4 : 3;
	struct xsdt xsdt = {
		.header = header("XSDT",
				 offsetof(struct xsdt, tables) + n_tables * sizeof(xsdt.tables[0]),
				 1)};
	gpa_t dsdt = place(&w, dsdt_aml_code, sizeof(dsdt_aml_code));

	assert(n_vcpus >= 1 && n_vcpus <= n_max && n_max <= ACPI_VCPUS_MAX);
	xsdt.tables[0] = place_fadt(&w, dsdt);
	xsdt.tables[1] = place_madt(&w, n_vcpus, n_max);
	xsdt.tables[2] = place_mcfg(&w);
	if (n_tables > 3)
		xsdt.tables[3] = place_cpus(&w, n_max);
	rsdp.xsdt = place_table(&w, &xsdt, xsdt.header.len);
	for (unsigned i = 0; i < n_tables; i++)
		if (!xsdt.tables[i])
			return -ENOSPC;
	if (!dsdt || !rsdp.xsdt)
		return -ENOSPC;
	rsdp.checksum = checksum(&rsdp, offsetof(struct rsdp, len));
	rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
	w.next = LAYOUT_ACPI;
	*rsdp_out = place(&w, &rsdp, sizeof(rsdp));
	return *rsdp_out ? 0 : -ENOSPC;
}
