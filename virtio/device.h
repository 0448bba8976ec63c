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

/* A vector each, and one for the configuration (virtio/msix.h). */
#define VIRTIO_QUEUES_MAX 31u

/* Entries of a disk's or a NIC's queue, unless its parameters say more (a power of two up to
 * VQ_SIZE_MAX). A Linux guest takes all there are, and memory for each. */
#define VIRTIO_QUEUE_SIZE 256u

struct virtio_dev;

/* One number about a device, for hv-debug-info. */
struct virtio_counter {
	const char *name; /* a literal */
	uint64_t value;
};

#define VIRTIO_COUNTERS_MAX 16

struct virtio_ops {
	uint32_t id;	    /* virtio 1.2 §5 */
	uint32_t pci_class; /* 24 bits, class code of the PCI function */
	const char *name;   /* for logs */

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
	/*
	 * Stop one queue, while the others go on (virtio 1.2 §2.6.1): as reset(), for what came
	 * from this queue. NULL: VIRTIO_F_RING_RESET is not offered. An enabled queue may be in use
	 * again after it, of another size maybe, without another activate(). The transport calls
	 * reset() only when no reset_queue() is under way.
	 */
	void (*reset_queue)(struct virtio_dev *dev, unsigned queue, void (*drained)(void *user),
			    void *user);
	/*
	 * Whether anything under way is going to write to memory that was unplugged since its chain
	 * was popped (virtio/mem.h). NULL: nothing is ever under way from one turn to the next.
	 */
	bool (*writes_unplugged)(const struct virtio_dev *dev, const struct mem *mem);
	/*
	 * What the device stands for is taken from it, though its driver has not let go: from now
	 * on every request is answered with an error, those under way too, so that nobody waits for
	 * them in vain. For good. NULL: no driver waits for answers of such a device.
	 */
	void (*revoke)(struct virtio_dev *dev);
	/* Statistics since the device was made: fills at most max, returns how many. NULL: none. */
	unsigned (*counters)(const struct virtio_dev *dev, struct virtio_counter *out,
			     unsigned max);
	/* Frees the device after a reset has drained. */
	void (*destroy)(struct virtio_dev *dev);
};

struct virtio_dev {
	const struct virtio_ops *ops;
	uint64_t offered; /* features, VIRTIO_F_VERSION_1 included; set by the device's constructor,
			     but RING_RESET, which the transport adds */
	uint64_t negotiated; /* set by the transport */
	bool active, broken;
	/* Set by the device's constructor, unchanged after. */
	unsigned n_queues;	 /* ≤ VIRTIO_QUEUES_MAX */
	uint16_t queue_size_max; /* a power of two ≤ VQ_SIZE_MAX */
	struct vq *queues;	 /* n_queues, the transport's */

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

/* What a parameter queue_size means: VIRTIO_QUEUE_SIZE for 0, and 0 for what cannot be. */
uint16_t virtio_queue_size(unsigned wanted);

/* The end of counters(): copies those of `all` that there is room for, returns how many. */
unsigned virtio_counters_copy(const struct virtio_counter *all, size_t n,
			      struct virtio_counter *out, unsigned max);
