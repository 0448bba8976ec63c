// SPDX-License-Identifier: Apache-2.0
/*
 * The folders of the host that a zone has, known by tag: virtio-fs functions on the PCI bus, each
 * with a server of its own behind a socket, which come and go while the zone runs. Loop thread.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "virtio/fs.h"
#include "vmm/slots.h"

#define SHARES_MAX 8

struct share {
	struct slot slot;
	char tag[VIRTIO_FS_TAG_MAX + 1]; /* "": free */
};

struct shares {
	struct slots *slots;
	struct share shares[SHARES_MAX];
};

/* slots is borrowed. */
void shares_init(struct shares *shares, struct slots *slots);

/*
 * Adds a folder to the running zone; fd, a connection to its server, is borrowed. Returns 0,
 * -EEXIST (tag taken), -EBUSY (just leaving), -EINVAL, -ENOSPC, or another negative errno, with
 * *err.
 */
int shares_attach(struct shares *shares, const char *tag, int fd, struct error *err);

/* The place of the folder with this tag, to detach it; NULL: there is none. */
struct slot *shares_slot(struct shares *shares, const char *tag);
