// SPDX-License-Identifier: Apache-2.0
/*
 * How much memory the guest is to have: above what it booted with, virtio-mem plugs blocks; below,
 * the balloon takes pages. One target is turned into both. The guest follows as it can, or not at
 * all. Loop thread.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "virtio/device.h"

struct resources {
	uint64_t boot_bytes, max_bytes, target_bytes;
	struct virtio_dev *balloon, *memdev; /* borrowed; NULL: the zone has none */
};

/* The target starts as boot_bytes. max_bytes ≥ boot_bytes; beyond boot_bytes only with a memdev. */
void resources_init(struct resources *resources, uint64_t boot_bytes, uint64_t max_bytes,
		    struct virtio_dev *balloon, struct virtio_dev *memdev);

/*
 * Sets the target. Returns 0, -ERANGE (below SPEC_MEMORY_MIB_MIN or above max_bytes) or -ENOTSUP
 * (below boot_bytes without a balloon), with *err.
 */
int resources_set_memory(struct resources *resources, uint64_t bytes, struct error *err);

/* Only whether that would do. */
int resources_check_memory(const struct resources *resources, uint64_t bytes, struct error *err);

/* What balloon and virtio-mem left to the guest, in bytes. The guest's word for the balloon's part.
 */
uint64_t resources_used_memory(const struct resources *resources);
