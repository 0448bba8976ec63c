// SPDX-License-Identifier: Apache-2.0
/*
 * Puts a kernel, its initrd and command line, and what PVH and ACPI want to find into guest memory.
 * Before any vCPU runs.
 */
#pragma once

#include "base/error.h"
#include "vmm/guest_memory.h"

struct boot_files {
	int kernel_fd;	      /* borrowed: bzImage, or vmlinux (ELF) */
	int initrd_fd;	      /* borrowed, -1 for none */
	const char *cmdline;  /* at most LAYOUT_CMDLINE_MAX - 1 bytes */
	unsigned n_vcpus;     /* at the start */
	unsigned n_vcpus_max; /* that may be plugged; 0: n_vcpus */
};

/* Where the first vCPU starts (vcpu_enter_pvh()). */
struct boot_entry {
	uint32_t entry, start_info;
};

/* Returns 0 and *entry, or a negative errno with *err naming what is wrong with which file. */
int boot_load(const struct guest_memory *memory, const struct boot_files *files,
	      struct boot_entry *entry, struct error *err);
