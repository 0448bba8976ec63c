// SPDX-License-Identifier: Apache-2.0
/*
 * Headers of a tar stream of plain files: POSIX.1-2017, pax interchange format. Our own, since
 * loading libarchive with the 12 libraries behind it took a command longer than all it did. Any
 * thread; trusts its caller's paths.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TAR_BLOCK	512u
#define TAR_HEADER_MAX	(4 * TAR_BLOCK)
#define TAR_PATH_MAX	512u
#define TAR_TRAILER_MAX (2 * TAR_BLOCK)

/*
 * Writes what stands before the bytes of the file `path` of size_bytes, mode 0644, to `out`; behind
 * its bytes come zeroes up to a whole block, behind the last file TAR_TRAILER_MAX zeroes. Returns
 * the header's length, a number of blocks, or -ENAMETOOLONG from TAR_PATH_MAX bytes on.
 */
int tar_header(const char *path, uint64_t size_bytes, uint8_t out[static TAR_HEADER_MAX]);

/* How many zeroes follow a file of size_bytes. */
static inline size_t tar_padding(uint64_t size_bytes)
{
	return (size_t)(-size_bytes % TAR_BLOCK);
}
