// SPDX-License-Identifier: Apache-2.0
/*
 * The zone's memory: private anonymous memory with nothing mapped beside it, backed by huge pages
 * where the host has them. A guest that starts touches most of its kernel once: with 4 KiB pages
 * three of four exits of a boot are page faults. Created before any vCPU runs, unmapped after the
 * last one ended; in between the mapping does not change and so is usable from any thread.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "virtio/mem.h"

struct guest_memory {
	uint8_t *reserved; /* the mapping with its guards */
	uint64_t reserved_len;
	uint8_t *host; /* 2 MiB aligned, like the guest's addresses */
	uint64_t len;
	struct mem mem; /* 1 region up to 3 GiB, a second one from 4 GiB */
};

#define GUEST_MEMORY_NULL                                                                          \
	{                                                                                          \
		.host = NULL                                                                       \
	}

/*
 * Makes mem_mib of memory (16 MiB to 1 TiB). huge_pages: ask for transparent huge pages; without,
 * the zone holds only the 4 KiB pages that it touched. Returns 0 or a negative errno with *err.
 */
int guest_memory_init(struct guest_memory *gm, uint64_t mem_mib, bool huge_pages,
		      struct error *err);
void guest_memory_deinit(struct guest_memory *gm);
