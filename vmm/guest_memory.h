// SPDX-License-Identifier: Apache-2.0
/*
 * The zone's memory: one memfd, sealed against shrinking and growing, mapped once. Created before
 * any vCPU runs, unmapped after the last one ended; in between read-only and so usable from any
 * thread.
 */
#pragma once

#include "base/error.h"
#include "virtio/mem.h"

struct guest_memory {
	int fd;
	uint8_t *host;
	uint64_t len;
	struct mem mem; /* 1 region up to 3 GiB, a second one from 4 GiB */
};

#define GUEST_MEMORY_NULL                                                                          \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/* Makes mem_mib of memory (16 MiB to 1 TiB). Returns 0 or a negative errno with *err. */
int guest_memory_init(struct guest_memory *gm, uint64_t mem_mib, struct error *err);
void guest_memory_deinit(struct guest_memory *gm);
