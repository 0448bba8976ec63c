// SPDX-License-Identifier: Apache-2.0
/*
 * Unpacks the payload of a bzImage on the host, with the ordinary libraries: gzip, xz, zstd and the
 * kernel's lz4 ("legacy" frames). Memory is bounded by one block (lz4, 8 MiB) or the window of the
 * format (at most 128 MiB); the sink says when it has enough.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct unpack_source {
	int fd; /* borrowed */
	uint64_t off, left;
};

/* Takes the next bytes: 0 = go on, 1 = enough, negative = stop with this error. */
typedef int unpack_sink(void *user, const void *data, size_t len);

/*
 * Reads the source, finds the format by its magic, and feeds sink. Returns 0 when the data ended or
 * the sink had enough, or a negative errno with *err.
 */
int unpack(struct unpack_source *source, unpack_sink *sink, void *user, struct error *err);
