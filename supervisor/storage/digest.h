// SPDX-License-Identifier: Apache-2.0
/*
 * SHA-256 digests, the names of everything in the store. A digest from outside is only ever a
 * claim: it becomes a name after bytes were hashed to it here. Plain values and streams owned by
 * one thread each.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE	 32
#define DIGEST_HEX_SIZE	 65 /* 64 digits and the NUL */
#define DIGEST_TEXT_SIZE 72 /* "sha256:", 64 digits and the NUL */

struct digest {
	uint8_t bytes[DIGEST_SIZE];
};

/*
 * Reads "sha256:" and 64 lower-case hexadecimal digits (OCI image-spec, descriptor.md, "Digests").
 * Returns 0, -ENOTSUP for another algorithm, or -EINVAL; *out is touched only on success.
 */
int digest_parse(const char *text, struct digest *out);

/* Writes the 64 digits and a NUL. */
void digest_hex(const struct digest *digest, char hex[DIGEST_HEX_SIZE]);

/* Writes "sha256:", the 64 digits and a NUL. */
void digest_text(const struct digest *digest, char text[DIGEST_TEXT_SIZE]);

/* Whether both are the same. */
bool digest_equal(const struct digest *a, const struct digest *b);

/* A hash under way. Opaque; made by digest_begin(), ended by digest_end() or digest_drop(). */
struct digest_stream;

/* Starts a hash. Returns NULL when memory is short. */
struct digest_stream *digest_begin(void);

/* Adds len bytes. */
void digest_add(struct digest_stream *stream, const void *data, size_t len);

/* The digest of all bytes added; frees the stream. */
void digest_end(struct digest_stream *stream, struct digest *out);

/* Frees a stream (NULL is allowed). For _cleanup_: digest_dropp(). */
void digest_drop(struct digest_stream *stream);

static inline void digest_dropp(struct digest_stream **stream)
{
	digest_drop(*stream);
}

/* The digest of len bytes. Returns 0 or -ENOMEM. */
int digest_of(const void *data, size_t len, struct digest *out);

/* The digest of a whole file from its start, by pread. Returns 0 or a negative errno. */
int digest_of_fd(int fd, struct digest *out);
