// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-blk (virtio 1.2 §5.2) over io_uring: guest segments go straight into READV/WRITEV. Raw
 * files and block devices; the format of their content is never looked at. In flight are at most as
 * many requests as the queues have entries, and that many at most are allocated, once. Several
 * queues share one thread: they are there for guests with several vCPUs, not for speed of ours.
 * Loop thread.
 */
#pragma once

#include "base/loop.h"
#include "virtio/device.h"
#include "virtio/rate_limit.h"

#define VIRTIO_BLK_SERIAL_MAX 20
#define VIRTIO_BLK_QUEUES_MAX 8u

struct virtio_blk_params {
	/* A regular file or block device, borrowed for the call only; open for writing unless
	 * read_only. */
	int fd;
	bool read_only;
	/*
	 * Past the host's page cache. Sets O_DIRECT on the open file; -EOPNOTSUPP where that cannot
	 * be. The guest sees blocks of the size that the file wants; memory that lies uneven goes
	 * through one small buffer.
	 */
	bool direct;
	const char *serial;  /* 1 to 20 characters, copied */
	unsigned n_queues;   /* 0: one; more than VIRTIO_BLK_QUEUES_MAX: that many */
	unsigned queue_size; /* 0: VIRTIO_QUEUE_SIZE, which is also the least */
	struct rate rate;    /* of reads and writes in bytes; flushes and discards are operations */
};

/*
 * Returns 0 and *out, or a negative errno (-EINVAL: not a file or block device, smaller than a
 * sector, a bad serial or queue size; -EACCES: not open for writing; -EOPNOTSUPP: no direct I/O).
 */
int virtio_blk_new(struct virtio_dev **out, struct loop *loop,
		   const struct virtio_blk_params *params);

/* Capacity in bytes, a multiple of 512. */
uint64_t virtio_blk_size(const struct virtio_dev *dev);

/*
 * From now on the disk is another file (fd as in the parameters), at least as large; what is under
 * way ends on the old one. The guest is told if the size is another one. Returns 0, -ENOSPC
 * (smaller), -EINVAL (or its direct I/O wants larger blocks than the guest was told), or as
 * virtio_blk_new(); on failure the old file stays.
 */
int virtio_blk_swap(struct virtio_dev *dev, int fd);

/* The file may have another size: the guest is told. Returns 0, or a negative errno, and then the
 * old size stays. */
int virtio_blk_resize(struct virtio_dev *dev);
