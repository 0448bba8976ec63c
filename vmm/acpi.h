// SPDX-License-Identifier: Apache-2.0
/*
 * The ACPI tables (ACPI 6.4 §5.2) of a zone: RSDP, XSDT, FADT (hardware-reduced), MADT, MCFG, and
 * what iasl compiled: the DSDT and, for a zone that can have several vCPUs, an SSDT with its
 * processors.
 */
#pragma once

#include "virtio/mem.h"

#define ACPI_VCPUS_MAX 64u

/*
 * Writes the tables at LAYOUT_ACPI for n_vcpus (from 1) that are there at boot of at most n_max (to
 * ACPI_VCPUS_MAX). Those that may come are listed as not enabled but online-capable (table 5.22),
 * so that Linux keeps room for them. Returns 0 and the address of the RSDP, or -ENOSPC when they do
 * not fit.
 */
int acpi_write(const struct mem *mem, unsigned n_vcpus, unsigned n_max, gpa_t *rsdp);
