// SPDX-License-Identifier: Apache-2.0
/*
 * The zone's disks, served by the kernel's blkback (xen/io/blkif.h): what it needs to know is
 * written into xenstore, what is no block device becomes one. They come and go while the zone runs.
 * The zone says in its own nodes how far it is; that is looked at by time. Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "runner/spec.h"
#include "xen-compat/domain.h"

#define DISKS_MAX 24u /* xvda to xvdx */

/* code: 0, or a negative errno: -ETIMEDOUT if the zone did not let go. */
typedef void disk_detached_fn(void *user, int code);

struct disk {
	char serial[SPEC_SERIAL_MAX + 1]; /* empty: free */
	struct disks *disks;
	bool read_only;
	uint64_t size_bytes;
	int device_fd;		 /* holds the block device */
	struct loop_timer timer; /* while it is detached */
	bool force;
	uint64_t deadline_ns;
	disk_detached_fn *detached; /* NULL: nobody waits */
	void *user;
};

struct disks {
	struct loop *loop;
	struct xen *xen;
	uint32_t domid;
	struct disk all[DISKS_MAX];
};

/* What is given is borrowed. */
void disks_init(struct disks *disks, struct loop *loop, struct xen *xen, uint32_t domid);

/* Attaches a disk; its descriptor is borrowed. Returns 0 or a negative errno with *err. */
int disks_attach(struct disks *disks, const struct spec_disk *disk, struct error *err);

/*
 * Asks the zone to let go. detached() follows, not from in here: when it has, or when the time is
 * up, and then the disk stays unless force. Returns 0 or a negative errno with *err, and then it
 * does not follow.
 */
int disks_detach(struct disks *disks, const char *serial, uint32_t timeout_ms, bool force,
		 disk_detached_fn *detached, void *user, struct error *err);

/* After the domain is gone: so are its disks. */
void disks_drop(struct disks *disks);

/* Removes what blkback knows of a domain that is gone; see domain_destroy(). */
void disks_forget(struct xen *xen, uint32_t domid);
