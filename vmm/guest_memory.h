// SPDX-License-Identifier: Apache-2.0
/*
 * The zone's memory: private anonymous memory with nothing mapped beside it, backed by huge pages
 * where the host has them. A guest that starts touches most of its kernel once: with 4 KiB pages
 * three of four exits of a boot are page faults. Made before any vCPU runs, unmapped after the last
 * one ended; in between the mapping does not change and so is usable from any thread.
 *
 * What the zone boots with comes first; what it may grow by lies behind it in the same mapping and
 * is the last region of mem, with nothing of it plugged (vmm/hotplug_memory.h plugs it). Memory
 * that is not touched costs nothing, and discarded memory is untouched again.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "virtio/mem.h"
#include "virtio/memdev.h"

struct guest_memory {
	uint8_t *reserved; /* the mapping with its guards */
	uint64_t reserved_len;
	uint8_t *host;	   /* 2 MiB aligned, like the guest's addresses */
	uint64_t host_len; /* boot and hot-plug memory */
	uint64_t len;	   /* what it boots with */
	/* 1 region up to 3 GiB, a second one from 4 GiB; the hot-plug region last, if there is one.
	 */
	struct mem mem;
	/* The hot-plug region, hotplug_len 0 if there is none: whole blocks, and whole memory
	 * blocks of a Linux guest, so it may be longer than max - boot. */
	gpa_t hotplug_start;
	uint64_t hotplug_len, block_size;
	uint64_t plugged[MEMDEV_BLOCKS_MAX / 64];
};

#define GUEST_MEMORY_NULL                                                                          \
	{                                                                                          \
		.host = NULL                                                                       \
	}

/*
 * Makes boot_mib of memory (16 MiB to 1 TiB) that may grow to max_mib (boot_mib: never). Must stay
 * where it is: mem refers to it. huge_pages: ask for transparent huge pages; without, the zone
 * holds only the 4 KiB pages that it touched. Returns 0 or a negative errno with *err.
 */
int guest_memory_init(struct guest_memory *gm, uint64_t boot_mib, uint64_t max_mib, bool huge_pages,
		      struct error *err);
void guest_memory_deinit(struct guest_memory *gm);

/*
 * Gives the pages behind our addresses [host, host + len) back; whole 4 KiB pages of guest memory,
 * anything else is ignored. They read as zeroes from then on, until they are written to again. Of a
 * huge page the rest stays in use: the host splits it when it needs the memory. gm is a struct
 * guest_memory: the function serves as virtio_balloon_new()'s.
 */
void guest_memory_discard(void *gm, void *host, uint64_t len);
