// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/ring.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define RECORD_MAX 4096u

struct ring {
	uint64_t start, end; /* positions; a position's byte is at position modulo size */
	size_t size;
	uint8_t bytes[];
};

/* In front of each record: tag in the upper bits, length in the lower ones. */
struct header {
	uint16_t tag;
	uint16_t len;
};

struct ring *ring_new(size_t size_bytes)
{
	struct ring *ring;

	assert(is_power_of_two(size_bytes) && size_bytes >= 64 * KIB);
	ring = calloc(1, sizeof(*ring) + size_bytes);
	if (ring)
		ring->size = size_bytes;
	return ring;
}

struct ring *ring_free(struct ring *ring)
{
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
	uint8_t raw[sizeof(struct header)];
	struct header header;

	for (size_t i = 0; i < sizeof(raw); i++)
		raw[i] = ring->bytes[(at + i) & (ring->size - 1)];
	memcpy(&header, raw, sizeof(header));
	return header;
}

static void append_record(struct ring *ring, unsigned tag, const void *data, size_t len)
{
	struct header header = {.tag = (uint16_t)tag, .len = (uint16_t)len};

	while (ring->end + sizeof(header) + len - ring->start > ring->size)
		ring->start += sizeof(header) + header_at(ring, ring->start).len;
	copy_in(ring, ring->end, &header, sizeof(header));
	copy_in(ring, ring->end + sizeof(header), data, len);
	ring->end += sizeof(header) + len;
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
	place = (cursor->record + sizeof(header) + cursor->offset) & (ring->size - 1);
	left = header.len - cursor->offset;
	*tag = header.tag;
	*data = ring->bytes + place;
	*len = left < ring->size - place ? left : ring->size - place;
	return true;
}

void ring_advance(const struct ring *ring, struct ring_cursor *cursor, size_t len)
{
	struct header header = header_at(ring, cursor->record);

	cursor->offset += (uint32_t)len;
	if (cursor->offset < header.len)
		return;
	cursor->record += sizeof(header) + header.len;
	cursor->offset = 0;
}
