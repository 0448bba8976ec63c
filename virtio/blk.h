// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-blk (virtio 1.2 §5.2) over io_uring: guest segments go straight into READV/WRITEV. Raw
 * files and block devices; the format of their content is never looked at. In flight are at most as
 * many requests as the queue has entries; nothing is allocated per request.
 */
#pragma once

#include "base/loop.h"
#include "virtio/device.h"

#define VIRTIO_BLK_SERIAL_MAX 20

/*
 * fd is a regular file or block device, borrowed for the call only (the loop keeps it). serial: 1
 * to 20 characters. Returns 0 and *out, or a negative errno (-EINVAL: not a file or block device,
 * or smaller than a sector).
 */
int virtio_blk_new(struct virtio_dev **out, struct loop *loop, int fd, bool read_only,
		   const char *serial);

/* Capacity in bytes, a multiple of 512. */
uint64_t virtio_blk_size(const struct virtio_dev *dev);
