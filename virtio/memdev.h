// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-mem (virtio 1.2 §5.15): memory beyond what a zone boots with, plugged and unplugged in
 * blocks. The device offers and demands VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE: what is unplugged is
 * gone, for the guest by its mapping and for devices by the translator. Requests of the driver are
 * checked against the region, the requested size and each block's state. Loop thread.
 */
#pragma once

#include "base/loop.h"
#include "virtio/device.h"
#include "virtio/mem.h"

struct memdev_host {
	/* Makes [gpa, gpa + len) accessible, or gone with its contents; whole blocks. 0 or a
	 * negative errno: nothing changed. */
	int (*plug)(void *user, gpa_t gpa, uint64_t len);
	int (*unplug)(void *user, gpa_t gpa, uint64_t len);
	void *user;
};

/*
 * The region [start, start + len) in blocks of block_size bytes (a power of two ≥ 2 MiB), all
 * unplugged. host is copied. Returns 0 and *out, -EINVAL (not aligned) or -ENOMEM.
 */
int virtio_memdev_new(struct virtio_dev **out, gpa_t start, uint64_t len, uint64_t block_size,
		      const struct memdev_host *host);

/* How much of the region the guest should have; rounded down to blocks. */
void virtio_memdev_set_target(struct virtio_dev *dev, uint64_t bytes);

uint64_t virtio_memdev_plugged(const struct virtio_dev *dev);
