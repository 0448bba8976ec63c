// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-mem (virtio 1.2 §5.15): memory beyond what a zone boots with, plugged and unplugged in
 * blocks. The device offers and demands VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE: what is unplugged is
 * gone, for the guest by its mapping and for devices by the translator. Requests of the driver are
 * checked against the region, the requested size and each block's state, and long ones are carried
 * out over several turns of the loop. What is plugged stays so over a reset of the device
 * (§5.15.5); a driver that starts anew asks to unplug all. Loop thread.
 */
#pragma once

#include "virtio/device.h"
#include "virtio/mem.h"

#define MEMDEV_BLOCKS_MAX 1024u
#define MEMDEV_BLOCK_MIN  (UINT64_C(2) << 20) /* bytes */

struct memdev_host {
	/* Makes a block (its number in the region) accessible, or gone with its contents; it is of
	 * the other state before. 0 or a negative errno: nothing changed. */
	int (*plug)(void *user, unsigned block);
	int (*unplug)(void *user, unsigned block);
	void *user;
	/* Borrowed: a bit a block, which plug sets and unplug clears. */
	const uint64_t *plugged;
};

/*
 * The region [start, start + len) in blocks of block_size bytes (a power of two), at most
 * MEMDEV_BLOCKS_MAX of them, all unplugged. host is copied; its functions may not come back to
 * the device. Returns 0 and *out, -EINVAL (not
 * aligned, too small or too many blocks) or -ENOMEM.
 */
int virtio_memdev_new(struct virtio_dev **out, gpa_t start, uint64_t len, uint64_t block_size,
		      const struct memdev_host *host);

/* How much of the region the guest should have; rounded down to blocks, at most all of it. The
 * guest follows when it can; plugging beyond it is refused. */
void virtio_memdev_set_target(struct virtio_dev *dev, uint64_t bytes);

uint64_t virtio_memdev_target(const struct virtio_dev *dev);

/* How much of it is plugged: the device's own count, not the guest's word. */
uint64_t virtio_memdev_plugged(const struct virtio_dev *dev);
