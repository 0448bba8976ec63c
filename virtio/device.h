// SPDX-License-Identifier: Apache-2.0
/*
 * What a virtio device is to its transport, and the transport to its device. All calls happen in
 * the loop thread. A device that finds its guest breaking a rule calls virtio_dev_broken(): the
 * transport sets DEVICE_NEEDS_RESET, and the device pops nothing more until it was reset.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "virtio/queue.h"

struct virtio_dev;

struct virtio_ops {
	uint32_t id;	    /* virtio 1.2 §5 */
	uint32_t pci_class; /* 24 bits, class code of the PCI function */
	const char *name;   /* for logs */
	unsigned n_queues;
	uint16_t queue_size_max;

	/* Reads of the device configuration; [off, off + len) may lie outside: zeroes there. */
	void (*config_read)(struct virtio_dev *dev, uint32_t off, void *data, uint32_t len);
	/* Writes to it; NULL: read-only. */
	void (*config_write)(struct virtio_dev *dev, uint32_t off, const void *data, uint32_t len);
	/*
	 * DRIVER_OK: dev->negotiated holds the features, enabled queues are in use. Returns 0, or
	 * negative to break the device; it leaves nothing behind then, as reset() follows only an
	 * activate() that succeeded.
	 */
	int (*activate)(struct virtio_dev *dev);
	/* The driver notified a queue (it is enabled, the device active). */
	void (*kick)(struct virtio_dev *dev, unsigned queue);
	/*
	 * Stop: drop the queues, wait for what is under way in guest memory, then call
	 * drained(user), maybe at once. No touch of guest memory after that until activate().
	 */
	void (*reset)(struct virtio_dev *dev, void (*drained)(void *user), void *user);
	/* Frees the device after a reset has drained. */
	void (*destroy)(struct virtio_dev *dev);
};

struct virtio_dev {
	const struct virtio_ops *ops;
	uint64_t offered; /* features, VIRTIO_F_VERSION_1 included; set by the device's constructor
			   */
	uint64_t negotiated; /* set by the transport */
	bool active, broken;
	struct vq *queues; /* n_queues, the transport's */

	/* The transport's. */
	/* Calls ops->kick for this queue again in a later turn of the loop: how a device bounds its
	 * work in one turn. */
	void (*kick_again)(struct virtio_dev *dev, unsigned queue);
	void (*config_changed)(struct virtio_dev *dev);
	void (*on_broken)(struct virtio_dev *dev);
	void *transport;

	struct log_limit log_limit; /* virtio_dev_broken()'s; outlives resets, so that they do not
				       renew it */
};

/* Marks the device broken (once), logs `why` with a rate limit, tells the driver by NEEDS_RESET. */
void virtio_dev_broken(struct virtio_dev *dev, const char *why);

/* The part [off, off + len) of a configuration of config_len bytes, for config_read(): zeroes
 * beyond its end. */
void virtio_config_copy(const void *config, size_t config_len, uint32_t off, void *data,
			uint32_t len);
