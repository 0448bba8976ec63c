// SPDX-License-Identifier: Apache-2.0
/*
 * Finds the zone's disks by their serial (/sys/block/vdX/serial; of a Xen disk, which has none,
 * what the runner wrote beside its node in xenstore); they appear while the zone runs, which the
 * kernel tells through a netlink socket.
 */
#pragma once

#include <stddef.h>

#define DISK_SERIAL_MAX 20u /* VIRTIO_BLK_ID_BYTES */

/*
 * Writes the path of the block device with this serial. Returns 0, -ENODEV while there is none, or
 * another negative errno.
 */
int disk_find(const char *serial, char *path, size_t size);

/*
 * A non-blocking socket that becomes readable when a device comes or goes. Returns it or a negative
 * errno.
 */
int disk_events_open(void);

/* Empties the socket. */
void disk_events_drain(int fd);
