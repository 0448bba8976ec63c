// SPDX-License-Identifier: Apache-2.0
/* Tars that no decent tool writes: headers byte by byte (POSIX.1-2017, pax, "ustar Interchange
 * Format"), in memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "supervisor/storage/layers.h"

#define RAW_BLOCK 512u

struct raw_tar {
	char *data;
	size_t len, size;
};

/* A header block with its checksum. type: '0' file, '1' hard link, '2' symbolic link, '3'
 * character device, '5' folder, '6' fifo, 'x' extended header … size goes into its field as it is
 * given (11 octal digits, or any 12 bytes). name is cut to 100 bytes. */
void raw_header(struct raw_tar *tar, char type, const char *name, const char *link,
		const char *size);

/* Appends bytes and the zeros that fill their last block. */
void raw_data(struct raw_tar *tar, const void *data, size_t len);

/* Appends bytes as they are. */
void raw_bytes(struct raw_tar *tar, const void *data, size_t len);

/* A file (folder …) without content. */
void raw_entry(struct raw_tar *tar, char type, const char *name, const char *link);

/* A file with this text. */
void raw_file(struct raw_tar *tar, const char *name, const char *text);

/* An extended header with one record KEY=VALUE; value_len bytes, which may hold anything. Several
 * records: raw_pax_record() into a text of one's own, then raw_pax(). */
void raw_pax_one(struct raw_tar *tar, const char *key, const void *value, size_t value_len);
void raw_pax_record(struct raw_tar *records, const char *key, const void *value, size_t value_len);
void raw_pax(struct raw_tar *tar, const struct raw_tar *records);

/* The two empty blocks at the end. */
void raw_end(struct raw_tar *tar);

/* Puts the compressed form in place of what is there ("gzip", "zstd", "bzip2"). */
void raw_compress(struct raw_tar *tar, const char *filter);

void raw_free(struct raw_tar *tar);

/*
 * Lays n tars over each other as the bottom layers of an image, with room for max_bytes
 * unpacked. Returns 0 with *out, which layers_plan_free() ends, or a negative errno with *err set.
 */
int raw_plan(const struct raw_tar *tars, unsigned n, uint64_t max_bytes, struct layers_plan **out,
	     struct error *err);
