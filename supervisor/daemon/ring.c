// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/util.h"

#define RECORD_MAX   4095u
#define TAGS_MAX     16u
#define POSITION_MAX (UINT64_MAX / 2)

#define FILE_MAGIC  UINT64_C(0x474e495254525031) /* "1PRTRING"; 0 had no times */
#define FILE_OFFSET 4096			 /* of the bytes */

struct ring {
	uint64_t start, end; /* positions; a position's byte is at position modulo size */
	size_t size;
	int file; /* a mirror, or -1 */
	bool file_behind;
	uint8_t bytes[];
};

/* What a mirror begins with. */
struct file_head {
	uint64_t magic, size, start, end;
};

/* In front of each record. */
struct header {
	uint64_t time_ms; /* since 1970 */
	unsigned tag, len;
};

/* It takes eight bytes, so that short lines need not much more than themselves: 48 bits of time, 4
 * of the tag, 12 of the length. */
#define HEADER_SIZE 8u

static uint64_t pack(const struct header *header)
{
	return header->time_ms << 16 | (uint64_t)(header->tag % TAGS_MAX) << 12 |
	       (header->len & RECORD_MAX);
}

static struct header unpack(uint64_t word)
{
	return (struct header){.time_ms = word >> 16,
			       .tag = (unsigned)(word >> 12) % TAGS_MAX,
			       .len = (unsigned)word & RECORD_MAX};
}

struct ring *ring_new(size_t size_bytes)
{
	struct ring *ring;

	assert(is_power_of_two(size_bytes) && size_bytes >= 64 * KIB);
	ring = calloc(1, sizeof(*ring) + size_bytes);
	if (!ring)
		return NULL;
	ring->size = size_bytes;
	ring->file = -1;
	return ring;
}

struct ring *ring_free(struct ring *ring)
{
	if (ring)
		close_fdp(&ring->file);
	free(ring);
	return NULL;
}

static void copy_in(struct ring *ring, uint64_t at, const void *data, size_t len)
{
	size_t place = at & (ring->size - 1);
	size_t first = len < ring->size - place ? len : ring->size - place;

	memcpy(ring->bytes + place, data, first);
	memcpy(ring->bytes, (const uint8_t *)data + first, len - first);
}

static struct header header_at(const struct ring *ring, uint64_t at)
{
	uint8_t raw[HEADER_SIZE];
	uint64_t word;

	for (size_t i = 0; i < sizeof(raw); i++)
		raw[i] = ring->bytes[(at + i) & (ring->size - 1)];
	memcpy(&word, raw, sizeof(word));
	return unpack(word);
}

static int write_head(struct ring *ring, uint64_t end)
{
	const struct file_head head = {
		.magic = FILE_MAGIC, .size = ring->size, .start = ring->start, .end = end};
	ssize_t n = pwrite(ring->file, &head, sizeof(head), 0);

	return n == (ssize_t)sizeof(head) ? 0 : n < 0 ? -errno : -ENOSPC;
}

/* The bytes from one position to another, as they are in memory. */
/* #syscalls daemon: pread64 pwrite64 ftruncate fdatasync newfstatat(_, _, _, AT_EMPTY_PATH) */
static int write_bytes(struct ring *ring, uint64_t from, uint64_t to)
{
	while (from < to) {
		size_t place = from & (ring->size - 1), len = ring->size - place;
		ssize_t n;

		if (len > to - from)
			len = (size_t)(to - from);
		n = pwrite(ring->file, ring->bytes + place, len, (off_t)(FILE_OFFSET + place));
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		from += (uint64_t)n;
	}
	return 0;
}

/* At every instant the head names only records that are there as a whole. */
static int write_record(struct ring *ring, uint64_t old_start, uint64_t old_end)
{
	int r = ring->start == old_start ? 0 : write_head(ring, old_end);

	if (r == 0)
		r = write_bytes(ring, old_end, ring->end);
	return r < 0 ? r : write_head(ring, ring->end);
}

static int write_all(struct ring *ring)
{
	const struct file_head nothing = {0};
	int r = pwrite(ring->file, &nothing, sizeof(nothing), 0) == (ssize_t)sizeof(nothing)
			? write_bytes(ring, ring->start, ring->end)
			: -errno;

	return r < 0 ? r : write_head(ring, ring->end);
}

void ring_mirror(struct ring *ring, int fd)
{
	close_fdp(&ring->file);
	ring->file = fd;
	ring->file_behind = write_all(ring) < 0;
}

int ring_unmirror(struct ring *ring)
{
	int r = ring->file < 0 ? -EBADF : ring->file_behind ? write_all(ring) : 0;

	close_fdp(&ring->file);
	return r;
}

void ring_clear(struct ring *ring)
{
	ring->start = ring->end;
	if (ring->file >= 0 && !ring->file_behind)
		ring->file_behind = write_head(ring, ring->end) < 0;
}

/* Whether records follow each other up to the end. */
static bool is_sound(const struct ring *ring)
{
	uint64_t at = ring->start;

	while (at < ring->end) {
		struct header header = header_at(ring, at);

		if (!header.len)
			return false;
		at += HEADER_SIZE + header.len;
	}
	return at == ring->end;
}

int ring_restore(struct ring *ring, int fd)
{
	struct file_head head = {0};
	ssize_t n = io_pread_full(fd, &head, sizeof(head), 0);

	ring->start = ring->end = 0;
	if (n < 0)
		return (int)n;
	if (head.magic != FILE_MAGIC || head.size != ring->size || head.start > head.end ||
	    head.end - head.start > head.size || head.end > POSITION_MAX)
		return -EBADMSG;
	n = io_pread_full(fd, ring->bytes, ring->size, FILE_OFFSET);
	if (n < 0)
		return (int)n;
	ring->start = head.start;
	ring->end = head.end;
	if (is_sound(ring))
		return 0;
	ring->start = ring->end = 0;
	return -EBADMSG;
}

static uint64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NS_PER_MS;
}

static void append_record(struct ring *ring, unsigned tag, const void *data, size_t len)
{
	struct header header = {.time_ms = wall_ms(), .tag = tag, .len = (unsigned)len};
	const uint64_t word = pack(&header);
	uint64_t old_start = ring->start, old_end = ring->end;

	while (ring->end + HEADER_SIZE + len - ring->start > ring->size)
		ring->start += HEADER_SIZE + header_at(ring, ring->start).len;
	copy_in(ring, ring->end, &word, sizeof(word));
	copy_in(ring, ring->end + HEADER_SIZE, data, len);
	ring->end += HEADER_SIZE + len;
	if (ring->file >= 0 && !ring->file_behind)
		ring->file_behind = write_record(ring, old_start, old_end) < 0;
}

void ring_append(struct ring *ring, unsigned tag, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	while (len) {
		size_t part = len < RECORD_MAX ? len : RECORD_MAX;

		append_record(ring, tag, bytes, part);
		bytes += part;
		len -= part;
	}
}

uint64_t ring_end(const struct ring *ring)
{
	return ring->end;
}

bool ring_peek(const struct ring *ring, struct ring_cursor *cursor, unsigned *tag,
	       const void **data, size_t *len)
{
	struct header header;
	size_t place, left;

	if (cursor->record < ring->start)
		*cursor = (struct ring_cursor){.record = ring->start};
	if (cursor->record >= ring->end)
		return false;
	header = header_at(ring, cursor->record);
	place = (cursor->record + HEADER_SIZE + cursor->offset) & (ring->size - 1);
	left = header.len - cursor->offset;
	*tag = header.tag;
	*data = ring->bytes + place;
	*len = left < ring->size - place ? left : ring->size - place;
	return true;
}

uint64_t ring_time_ms(const struct ring *ring, const struct ring_cursor *cursor)
{
	return header_at(ring, cursor->record).time_ms;
}

void ring_skip(const struct ring *ring, struct ring_cursor *cursor)
{
	*cursor = (struct ring_cursor){.record = cursor->record + HEADER_SIZE +
						 header_at(ring, cursor->record).len};
}

void ring_advance(const struct ring *ring, struct ring_cursor *cursor, size_t len)
{
	struct header header = header_at(ring, cursor->record);

	cursor->offset += (uint32_t)len;
	if (cursor->offset < header.len)
		return;
	cursor->record += HEADER_SIZE + header.len;
	cursor->offset = 0;
}
