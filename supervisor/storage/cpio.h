// SPDX-License-Identifier: Apache-2.0
/*
 * Writes an uncompressed "newc" cpio archive (Linux,
 * Documentation/driver-api/early-userspace/buffer-format.rst) into a file that already holds
 * another one. The same input gives the same bytes: root owns everything, times are 0. One thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cpio {
	int fd; /* borrowed */
	uint64_t offset;
	uint32_t inode;
};

#define CPIO_BLOCK 512 /* each archive starts and ends at a multiple of this */

/* Starts behind `offset` bytes that fd holds already (its position is there), padded to CPIO_BLOCK.
 * 0 or a negative errno. */
int cpio_begin(struct cpio *cpio, int fd, uint64_t offset);

/* Adds a directory. name is relative. 0 or a negative errno. */
int cpio_add_dir(struct cpio *cpio, const char *name, mode_t mode);

/* Adds a regular file of len bytes. 0, -EFBIG beyond 4 GiB, or a negative errno. */
int cpio_add_file(struct cpio *cpio, const char *name, mode_t mode, const void *data, size_t len);

/* Writes the trailer and pads to CPIO_BLOCK. 0 or a negative errno. */
int cpio_end(struct cpio *cpio);
