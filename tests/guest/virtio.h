// SPDX-License-Identifier: Apache-2.0
/*
 * A small virtio driver over PCI for guest programs: finds a function, negotiates, sets up queue
 * rings in guest memory and polls them. A hostile program breaks the rings behind its back.
 */
#pragma once

#include "guest.h"

#define ECAM	   0xe0000000u
#define QUEUE_SIZE 16u

#define VIRTIO_CONSOLE 3u
#define VIRTIO_RNG     4u
#define VIRTIO_BLK     2u
#define VIRTIO_VSOCK   19u

#define STATUS_ACKNOWLEDGE 1u
#define STATUS_DRIVER	   2u
#define STATUS_DRIVER_OK   4u
#define STATUS_FEATURES_OK 8u
#define STATUS_NEEDS_RESET 0x40u

#define DESC_NEXT     1u
#define DESC_WRITE    2u
#define DESC_INDIRECT 4u

/* Offsets in the common configuration (virtio 1.2 §4.1.4.3). */
enum {
	COMMON_DEVICE_FEATURE_SELECT = 0,
	COMMON_DEVICE_FEATURE = 4,
	COMMON_DRIVER_FEATURE_SELECT = 8,
	COMMON_DRIVER_FEATURE = 12,
	COMMON_NUM_QUEUES = 18,
	COMMON_STATUS = 20,
	COMMON_QUEUE_SELECT = 22,
	COMMON_QUEUE_SIZE = 24,
	COMMON_QUEUE_ENABLE = 28,
	COMMON_QUEUE_NOTIFY_OFF = 30,
	COMMON_QUEUE_DESC = 32,
	COMMON_QUEUE_DRIVER = 40,
	COMMON_QUEUE_DEVICE = 48,
	COMMON_QUEUE_RESET = 58,
};

struct desc {
	uint64_t address;
	uint32_t len;
	uint16_t flags, next;
};

struct device {
	uint32_t config;		 /* address of its configuration space */
	uint32_t common, notify, device; /* addresses of its structures */
	uint32_t notify_multiplier;
};

struct queue {
	volatile struct desc desc[QUEUE_SIZE];
	volatile uint16_t avail_flags, avail_idx, avail_ring[QUEUE_SIZE], used_event;
	volatile uint16_t used_flags __attribute__((aligned(4))), used_idx;
	volatile struct {
		uint32_t id, len;
	} used_ring[QUEUE_SIZE];
	volatile uint16_t avail_event;
	uint16_t index, seen;
	uint32_t doorbell;
} __attribute__((aligned(4096)));

/* The function with this virtio device id (0 if there is none): memory decoding on, structures
 * found. */
bool virtio_find(struct device *dev, unsigned id);

/* The same for one slot. */
bool virtio_at(struct device *dev, unsigned slot, unsigned id);

/* Reset, acknowledge, take VERSION_1 only, FEATURES_OK. */
void virtio_start(struct device *dev);

/* The same with these features (bits 0 to 31, and 32 to 63). */
void virtio_start_with(struct device *dev, uint32_t low, uint32_t high);

/* Enables a queue of so many entries whose rings lie there. Returns the address of its doorbell. */
uint32_t virtio_enable_queue(struct device *dev, uint16_t index, uint16_t size,
			     const volatile void *desc, const volatile void *avail,
			     const volatile void *used);

/* Sets up a queue of QUEUE_SIZE entries and enables it. */
void virtio_queue(struct device *dev, struct queue *queue, uint16_t index);

void virtio_driver_ok(struct device *dev);
uint8_t virtio_status(const struct device *dev);

/* Makes a head available and notifies. */
void virtio_submit(struct queue *queue, uint16_t head);

/* Waits for the next used entry; false when it does not come. */
bool virtio_wait(struct queue *queue, uint32_t *len);

/* Waits until the device says NEEDS_RESET; false when it does not. */
bool virtio_wait_broken(const struct device *dev);
