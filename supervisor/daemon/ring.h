// SPDX-License-Identifier: Apache-2.0
/*
 * The last bytes that something printed, in order, each run of them with when it came and tagged
 * with where it came from (console, stdout, stderr). Fixed memory; the oldest records go first.
 * Readers hold cursors of their own, so that one that is slow skips what is gone and holds up
 * nobody. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_BYTES (1024u * 1024)

struct ring;

/* Zero = from the oldest record on. */
struct ring_cursor {
	uint64_t record; /* position of a record */
	uint32_t offset; /* bytes of it that were read */
};

/* size_bytes: a power of two from 64 KiB. Returns NULL without memory. ring_free() takes NULL and
 * returns NULL. */
struct ring *ring_new(size_t size_bytes);
struct ring *ring_free(struct ring *ring);

/*
 * A file that holds the same, written with every append, so that a kill at any instant loses
 * nothing of it: what comes after it takes it with ring_restore(). Takes the descriptor over, and
 * writes what is in the ring already. A file that takes no more (a full disk) is behind from then
 * on.
 */
void ring_mirror(struct ring *ring, int fd);

/* Writes all of it once more if the file is behind, and closes it. Returns 0 or a negative errno;
 * without a file, -EBADF. */
int ring_unmirror(struct ring *ring);

/* Takes what is in the file, if it is a ring of this size, in place of what it has. The descriptor
 * is borrowed. Returns 0, or -EBADMSG or another negative errno and is empty. */
int ring_restore(struct ring *ring, int fd);

/* Forgets everything. */
void ring_clear(struct ring *ring);

/* Adds bytes, as of now by the wall clock; a tag is below 16. */
void ring_append(struct ring *ring, unsigned tag, const void *data, size_t len);

/* Where the next record will be: what a reader that wants only what there is now compares its
 * cursor with. */
uint64_t ring_end(const struct ring *ring);

/*
 * The next bytes at the cursor: a part of the ring, valid until the next append. Moves the cursor
 * on to the oldest record if its own is gone. Returns false at the end.
 */
bool ring_peek(const struct ring *ring, struct ring_cursor *cursor, unsigned *tag,
	       const void **data, size_t *len);

/* When the bytes came that ring_peek() gave, in ms since 1970. */
uint64_t ring_time_ms(const struct ring *ring, const struct ring_cursor *cursor);

/* Moves the cursor to the beginning of the next record. The cursor's own is there. */
void ring_skip(const struct ring *ring, struct ring_cursor *cursor);

/* The reader took len of the bytes that ring_peek() gave. */
void ring_advance(const struct ring *ring, struct ring_cursor *cursor, size_t len);
