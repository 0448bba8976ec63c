// SPDX-License-Identifier: Apache-2.0
/*
 * The registers a modern virtio driver sets a device up with (virtio 1.2 §2.1, §4.1.4.3): features,
 * status, queues. They know their layout but not where it is mapped. Invariants: features change
 * only before FEATURES_OK; a queue's registers only while it is disabled, and before DRIVER_OK or
 * after a reset of this queue; what is out of order is ignored; the only way back is a reset, of
 * the device or of a queue, which the device drains first. Loop thread only; every value comes from
 * the guest.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtio/device.h"
#include "virtio/msix.h"

#define VIRTIO_REGS_LEN		60u /* §4.1.4.3, to queue_reset */
#define VIRTIO_REGS_QUEUE_RESET 58u

struct virtio_regs_queue {
	struct virtio_regs *regs;
	unsigned index;
	uint16_t vector;
	bool draining;	  /* a reset of this queue is under way */
	bool reset_after; /* it may be set up again after DRIVER_OK, as it was reset */
};

struct virtio_regs {
	struct virtio_dev *dev; /* borrowed */
	struct msix *msix;	/* borrowed */
	uint32_t device_feature_select, driver_feature_select;
	uint64_t driver_features;
	uint16_t config_vector, queue_select;
	uint8_t status, generation;
	uint8_t isr;	     /* bit 0: a queue, bit 1: the configuration */
	bool config_pending; /* the configuration changed before DRIVER_OK */
	bool draining;
	bool reset_wanted; /* by the driver or the bus; else what drains was withdrawn */
	unsigned n_queues_draining;
	void (*idle)(void *user); /* a drain has ended; NULL: nobody waits */
	void *idle_user;
	struct vq *queues;
	struct virtio_regs_queue *queue_info;
};

/* Makes the registers of dev, which gets its queues and its transport's functions (but kick_again).
 * 0 or -ENOMEM; deinit is due in both cases. */
int virtio_regs_init(struct virtio_regs *regs, struct virtio_dev *dev, const struct mem *mem,
		     struct msix *msix);
void virtio_regs_deinit(struct virtio_regs *regs);

/* Reads any part; outside of the structure there are zeroes. */
void virtio_regs_read(const struct virtio_regs *regs, uint64_t off, void *data, unsigned len);

/* Writes one field, whole (64-bit ones also by halves: §4.1.3.1); anything else is ignored. */
void virtio_regs_write(struct virtio_regs *regs, uint64_t off, const void *data, unsigned len);

/* The interrupt status, which reading clears (§4.1.4.5). */
uint8_t virtio_regs_take_isr(struct virtio_regs *regs);

/* The driver's notification; ignored for what is not in use. */
void virtio_regs_kick(struct virtio_regs *regs, unsigned queue);

/*
 * Whether the function may touch guest memory and interrupt (PCI_COMMAND_MASTER; at first it may
 * not). While it may not, queues look empty to the device and nothing is published; what was under
 * way still lands in guest memory.
 */
void virtio_regs_set_master(struct virtio_regs *regs, bool on);

/*
 * To be called after memory was unplugged: a device with a ring there, or that is going to write
 * there, is broken and stopped, until the driver resets it. A driver that unplugs memory its device
 * uses has no other claim. Returns true while the device may still write there: ask again.
 */
bool virtio_regs_memory_unplugged(struct virtio_regs *regs);

/* Starts a reset; regs->draining tells whether it is still going on. */
void virtio_regs_reset(struct virtio_regs *regs);
