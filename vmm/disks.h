// SPDX-License-Identifier: Apache-2.0
/*
 * The disks of a zone, known by serial: virtio-blk functions on the PCI bus, those of the spec and
 * those that come and go while it runs. Loop thread.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/loop.h"
#include "proto/runner.pb-c.h"
#include "virtio/blk.h"
#include "vmm/pci_bus.h"
#include "vmm/spec.h"

#define DISKS_MAX (PCI_SLOTS - 4)

typedef void disk_detached_fn(void *user, int error);

struct disk {
	struct disks *disks;
	char serial[SPEC_SERIAL_MAX + 1]; /* "": free */
	bool read_only;
	bool detaching; /* the guest is being asked to let go */
	bool asking;	/* ask_timer is under way */
	bool leaving;	/* off the bus; its I/O drains */
	unsigned slot;
	uint64_t deadline_ns;
	struct virtio_dev *blk;
	struct pci_dev *function;
	struct loop_timer ask_timer;
	disk_detached_fn *detached;
	void *detached_user;
};

struct disks {
	struct loop *loop;
	const struct mem *mem;
	struct pci_bus *pci;
	void *pci_host;
	struct disk disks[DISKS_MAX];
};

/* All borrowed. */
void disks_init(struct disks *disks, struct loop *loop, const struct mem *mem, struct pci_bus *pci,
		void *pci_host);

/*
 * Adds a disk; fd is borrowed. hot: the guest runs, tell it. Returns 0, -EEXIST (serial taken),
 * -EINVAL, -ENOSPC (no slot), or another negative errno, with *err.
 */
int disks_attach(struct disks *disks, int fd, bool read_only, const char *serial, bool hot,
		 struct error *err);

/*
 * Asks the guest to let go of a disk, again every second until it does or timeout_ms passed: then
 * detached(user, 0 or -ETIMEDOUT), once. Returns 0, -ENOENT, -EBUSY (asked already) or -EPERM (not
 * removable), with *err.
 */
int disks_detach(struct disks *disks, const char *serial, uint32_t timeout_ms,
		 disk_detached_fn *detached, void *user, struct error *err);

/* The machine ends: whoever waits for a detach is answered -ECANCELED. */
void disks_abandon(struct disks *disks);

/* The guest ejected this function, which is off the bus already. */
void disks_ejected(struct disks *disks, struct pci_dev *function);

/* Whether no ejected disk is still draining. */
bool disks_are_settled(const struct disks *disks);
