// SPDX-License-Identifier: Apache-2.0
/*
 * The disks of a zone, known by serial: virtio-blk functions on the PCI bus, those of the spec and
 * those that come and go while it runs. Loop thread.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "vmm/slots.h"
#include "runner/spec.h"

#define DISKS_MAX (PCI_SLOTS - 4)

struct disk {
	struct slot slot;
	char serial[SPEC_SERIAL_MAX + 1]; /* "": free */
	bool read_only;
};

struct disks {
	struct slots *slots;
	unsigned n_queues; /* of a disk that says nothing of them */
	struct disk disks[DISKS_MAX];
};

/* slots is borrowed. n_vcpus: the most that the zone may have. */
void disks_init(struct disks *disks, struct slots *slots, unsigned n_vcpus);

/*
 * Adds a disk; its descriptor is borrowed. hot: the guest runs, tell it. Returns 0, -EEXIST (serial
 * taken), -EINVAL, -ENOSPC (no slot), or another negative errno, with *err.
 */
int disks_attach(struct disks *disks, const struct spec_disk *spec, bool hot, struct error *err);

/* The place of the disk with this serial, to detach it; NULL: there is none. */
struct slot *disks_slot(struct disks *disks, const char *serial);

/*
 * From now on the disk is what fd (borrowed) is: as large as before or larger.
 * What is under way ends on the old one. The guest notices nothing but a change of size. Returns 0
 * or a negative errno with *err.
 */
int disks_swap(struct disks *disks, const char *serial, int fd, struct error *err);

/* The file has grown: tells the guest. Returns 0 or a negative errno with *err. */
int disks_resize(struct disks *disks, const char *serial, struct error *err);
