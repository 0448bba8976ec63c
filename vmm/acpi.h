// SPDX-License-Identifier: Apache-2.0
/*
 * The ACPI tables (ACPI 6.4 §5.2) of a zone: RSDP, XSDT, FADT (hardware-reduced), MADT, MCFG, and
 * the DSDT that iasl compiled.
 */
#pragma once

#include "virtio/mem.h"

/*
 * Writes the tables for n_vcpus (1 to 64) at LAYOUT_ACPI. Returns 0 and the address of the RSDP, or
 * -ENOSPC when they do not fit.
 */
int acpi_write(const struct mem *mem, unsigned n_vcpus, gpa_t *rsdp);
