// SPDX-License-Identifier: Apache-2.0
/*
 * A ring of bytes with a fixed size, which is a power of two; owned by one thread. head and tail
 * only grow (they wrap with the integer), so used is their difference and full and empty cannot be
 * confused.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct ring {
	uint8_t *bytes;
	uint32_t size; /* a power of two */
	uint32_t head; /* next byte to take */
	uint32_t tail; /* next byte to fill */
};

static inline uint32_t ring_used(const struct ring *ring)
{
	return ring->tail - ring->head;
}

static inline uint32_t ring_free(const struct ring *ring)
{
	return ring->size - ring_used(ring);
}

/* The longest run of bytes that lie side by side at the head. */
static inline uint32_t ring_peek(const struct ring *ring, const uint8_t **at)
{
	uint32_t start = ring->head & (ring->size - 1), used = ring_used(ring);

	*at = ring->bytes + start;
	return used < ring->size - start ? used : ring->size - start;
}

static inline void ring_take(struct ring *ring, uint32_t len)
{
	ring->head += len;
}

/* The longest run of free bytes that lie side by side at the tail; ring_filled() then adds them. */
static inline uint32_t ring_space(const struct ring *ring, uint8_t **at)
{
	uint32_t start = ring->tail & (ring->size - 1), room = ring_free(ring);

	*at = ring->bytes + start;
	return room < ring->size - start ? room : ring->size - start;
}

static inline void ring_filled(struct ring *ring, uint32_t len)
{
	ring->tail += len;
}

/* Copies in as much as fits. Returns how much. */
static inline uint32_t ring_put(struct ring *ring, const void *data, size_t len)
{
	uint32_t done = 0, run;
	uint8_t *at;

	while (done < len && (run = ring_space(ring, &at)) > 0) {
		if (run > len - done)
			run = (uint32_t)(len - done);
		memcpy(at, (const uint8_t *)data + done, run);
		ring_filled(ring, run);
		done += run;
	}
	return done;
}
