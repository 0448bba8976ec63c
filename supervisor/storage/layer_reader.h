// SPDX-License-Identifier: Apache-2.0
/*
 * Reads one tar, plain or compressed with gzip or zstd, entry by entry, and hashes the uncompressed
 * bytes as they pass: the diff_id of a layer. The tar is hostile. What bounds it: the uncompressed
 * bytes taken from a common budget, one compression, and 4 MiB of headers for each entry.
 * libarchive only parses here; nothing is ever written to a file system under a name from the tar.
 *
 * Names with bytes beyond ASCII need the LC_CTYPE "C.UTF-8" (main sets it). One thread owns a
 * reader.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/error.h"
#include "supervisor/storage/digest.h"

/* Fills buf with up to len bytes. Returns their number, 0 at the end, or a negative errno. */
typedef ssize_t (*layer_read_fn)(void *context, void *buf, size_t len);

struct layer_reader;

/*
 * Opens a tar that read(context, …) delivers. budget (borrowed) is lowered by every uncompressed
 * byte; beyond it reading fails with -EFBIG. what (borrowed) names the tar in errors. Returns 0 or
 * a negative errno with *err set; *out is freed with layer_reader_close().
 */
int layer_reader_open(struct layer_reader **out, layer_read_fn read, void *context,
		      uint64_t *budget, const char *what, struct error *err);

/* As layer_reader_open(), from the start of a file, read with pread: the position of fd (borrowed)
 * is not used. */
int layer_reader_open_fd(struct layer_reader **out, int fd, uint64_t *budget, const char *what,
			 struct error *err);

/* The next entry, valid until the next call. Returns 1, 0 at the end, or a negative errno with *err
 * set. */
int layer_reader_next(struct layer_reader *reader, struct archive_entry **entry, struct error *err);

/* The present entry's data, holes as zeros. Returns the bytes read, 0 at the end, or a negative
 * errno with *err set. */
ssize_t layer_reader_data(struct layer_reader *reader, void *buf, size_t len, struct error *err);

/* Reads what follows the last entry and yields the digest of all uncompressed bytes. Returns 0 or a
 * negative errno. */
int layer_reader_finish(struct layer_reader *reader, struct digest *diff_id, struct error *err);

/* Frees a reader (NULL is allowed). */
void layer_reader_close(struct layer_reader *reader);

static inline void layer_reader_closep(struct layer_reader **reader)
{
	layer_reader_close(*reader);
}
