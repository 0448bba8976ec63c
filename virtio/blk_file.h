// SPDX-License-Identifier: Apache-2.0
/*
 * The file or block device behind a disk: its slot in the loop, its size, and what O_DIRECT wants
 * aligned. Requests hold a reference each, so a disk that is given another file lets go of the old
 * one when the last of them has ended. Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

#define BLK_SECTOR 512u

struct blk_file {
	struct loop *loop;
	int fd; /* our own copy: to measure it again */
	int slot;
	uint32_t align; /* of memory, in bytes: BLK_SECTOR to 4096 if direct, else 1 */
	uint32_t block; /* of offsets and lengths, in bytes: a power of two ≥ BLK_SECTOR */
	uint64_t size;	/* bytes, a multiple of block, never 0 */
	unsigned n_users;
};

/*
 * Takes a file or block device (fd is borrowed) with one user. direct: past the page cache, by
 * O_DIRECT, which is then set on the open file that fd stands for. Returns 0 and *out, or a
 * negative errno: -EINVAL (neither file nor block device, or smaller than a sector), -EACCES (not
 * open for what read_only says), -EOPNOTSUPP (its file system cannot do direct I/O).
 */
int blk_file_open(struct blk_file **out, struct loop *loop, int fd, bool read_only, bool direct);

/* The last user closes it. */
static inline void blk_file_get(struct blk_file *file)
{
	file->n_users++;
}
void blk_file_put(struct blk_file *file);

/* Looks at its size again: 0, or a negative errno, and then the old one stays. */
int blk_file_measure(struct blk_file *file);
