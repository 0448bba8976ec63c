// SPDX-License-Identifier: Apache-2.0
/*
 * A virtio driver in this process, honest or hostile, for the tests of virtio/: guest memory in two
 * adjoining regions, a PCI host that keeps interrupts and doorbells in tables, and rings written by
 * hand. No assertions of a test framework, so fuzz targets use it too.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_ring.h>

#include "base/loop.h"
#include "virtio/device.h"
#include "virtio/pci.h"

#define DRIVER_RAM_LEN	       (4u << 20)
#define DRIVER_REGION_LEN      (2u << 20) /* the second region starts here */
#define DRIVER_DATA	       0x100000u  /* free for buffers from here on */
#define DRIVER_QUEUES	       8u
#define DRIVER_BAR	       0xe0000000u
#define DRIVER_TABLE	       0x3000u /* where the MSI-X table is */
#define DRIVER_PBA	       0x3800u
#define DRIVER_COMMON_FEATURES (1ull << 32 /* VERSION_1 */ | 1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define DRIVER_EVENT_IDX       (1ull << VIRTIO_RING_F_EVENT_IDX)
#define DRIVER_RING_RESET      (1ull << 40)

struct driver_irq {
	bool used, routed;
	int eventfd;
	uint64_t address;
	uint32_t data;
};

struct driver_doorbell {
	bool used;
	gpa_t gpa;
	int eventfd;
};

struct driver_queue {
	uint16_t size, next_desc, avail_idx, last_used;
	gpa_t desc_gpa, driver_gpa, device_gpa;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
};

struct driver {
	struct loop *loop;
	uint8_t *ram;
	struct mem mem;
	struct pci_dev *pci;
	struct virtio_dev *dev;
	struct driver_irq irqs[64];
	struct driver_doorbell doorbells[16];
	struct driver_queue queues[DRIVER_QUEUES];
	bool gone;
	gpa_t next_data;
};

/* A segment of a request. */
struct segment {
	gpa_t gpa;
	uint32_t len;
	bool writable;
};

/* Guest memory and a loop; driver_attach() then puts dev behind PCI. 0 or a negative errno.
 * driver_deinit() ends all of it. */
int driver_init(struct driver *d);
int driver_attach(struct driver *d, struct virtio_dev *dev);
void driver_detach(struct driver *d);
void driver_deinit(struct driver *d);

/* Registers of the common structure, and the status register. */
uint64_t driver_reg_read(struct driver *d, unsigned off, unsigned len);
void driver_reg_write(struct driver *d, unsigned off, unsigned len, uint64_t value);
uint8_t driver_status(struct driver *d);
void driver_set_status(struct driver *d, uint8_t status);

/* Everything an ordinary driver does until DRIVER_OK, MSI-X included (vector 0: configuration, q +
 * 1: queue q). */
void driver_start(struct driver *d, uint64_t features, uint16_t queue_size);
void driver_enable_msix(struct driver *d);
void driver_setup_queue(struct driver *d, unsigned queue, uint16_t size);
/* Resets and waits for the end of it; false when it does not come. */
bool driver_reset(struct driver *d);

/* The same for one queue, which is then to be set up again. */
bool driver_reset_queue(struct driver *d, unsigned queue);

/* Fresh guest memory, and where it is. */
gpa_t driver_alloc(struct driver *d, uint32_t len);
void *driver_at(struct driver *d, gpa_t gpa);

/* Makes a chain available; returns its head. indirect: by a table of its own. */
uint16_t driver_add(struct driver *d, unsigned queue, const struct segment *segments, unsigned n);
uint16_t driver_add_indirect(struct driver *d, unsigned queue, const struct segment *segments,
			     unsigned n);
/* Puts any number into the available ring and moves its index. */
void driver_make_available(struct driver *d, unsigned queue, uint16_t head);
void driver_kick(struct driver *d, unsigned queue);

/* The next used buffer, if there is one. */
bool driver_take_used(struct driver *d, unsigned queue, uint32_t *id, uint32_t *len);

/* Runs the loop for a time, or until a used buffer is there (false: none within 5 s). */
void driver_run(struct driver *d, unsigned ms);
bool driver_wait_used(struct driver *d, unsigned queue, uint32_t *id, uint32_t *len);
bool driver_wait(struct driver *d, bool (*condition)(struct driver *d, void *user), void *user);

/* How many interrupts came by a vector since the last call. */
uint64_t driver_interrupts(struct driver *d, unsigned vector);
