// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-fs (virtio 1.2 §5.11): a folder of the host, which a server behind a socket knows
 * (zone-fs). The device moves FUSE messages (linux/fuse.h) and understands of them what it must:
 * how long each is, and which answer is which request's. It shares no memory with the server, and
 * the server gets no descriptor of the guest's.
 *
 * Neither side is trusted. A guest's header is copied once, and must tell the length of its chain;
 * the server is given a number of ours in place of the guest's, so an answer finds no other
 * request. The server's answer is read straight to where the guest wanted it, after its length was
 * checked against the room there. A server that says anything else, or goes, is lost for good: the
 * guest's requests, those under way too, are answered with EIO, and the zone lives on.
 *
 * The socket is read and written by plain calls in the loop thread, which never wait; so nothing is
 * ever under way in guest memory from one turn to the next. There is no shared memory region (DAX).
 */
#pragma once

#include <stdbool.h>

#include "base/loop.h"
#include "virtio/device.h"

#define VIRTIO_FS_TAG_MAX 36 /* §5.11.4 */

struct virtio_fs_params {
	int fd;		 /* a SOCK_STREAM socket, borrowed for the call only */
	const char *tag; /* 1 to 36 characters, copied */
};

/* Returns 0 and *out, or a negative errno (-EINVAL: no such socket, a bad tag). The server's end is
 * shut when the device goes, or is reset with requests under way. */
int virtio_fs_new(struct virtio_dev **out, struct loop *loop,
		  const struct virtio_fs_params *params);

/* Whether the server is lost. */
bool virtio_fs_is_lost(const struct virtio_dev *dev);
