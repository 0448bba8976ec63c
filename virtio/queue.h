// SPDX-License-Identifier: Apache-2.0
/*
 * The split virtqueue (virtio 1.2 §2.7), device side: the only reader and writer of rings. Every
 * field of the rings is read once into our memory and checked there. Whatever is wrong breaks the
 * queue (-EBADMSG, for good until reset), and the device then sets NEEDS_RESET. A head that is
 * still in flight may not come again; a chain is bounded by the queue's size and VQ_IOV_MAX;
 * zero-length descriptors, loops, readable after writable, and addresses outside memory break it.
 * INDIRECT_DESC and EVENT_IDX are supported. Owned by the loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/mem.h"

#define VQ_SIZE_MAX 1024
#define VQ_IOV_MAX  160 /* segments of one chain, after translation */

struct vq {
	const struct mem *mem;
	/* Set by the transport before vq_enable(), unchanged after (virtio 1.2 §4.1.4.3.2). */
	uint16_t size, max_size;
	gpa_t desc_gpa, driver_gpa, device_gpa;
	bool indirect; /* INDIRECT_DESC was negotiated; without it such a descriptor breaks the
			  queue */

	/* Set by the transport while the function may not reach guest memory: the queue looks empty
	 * and publishes nothing. */
	bool stopped;

	bool enabled, broken, event_idx;
	uint16_t next_avail;	 /* next entry of the available ring to look at */
	uint16_t next_used;	 /* next entry of the used ring to fill; published by vq_flush() */
	uint16_t published_used; /* what the guest saw last */
	uint16_t n_in_flight;
	const struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint64_t in_flight[VQ_SIZE_MAX / 64];

	void (*interrupt)(void *user); /* the transport's: tell the driver of used buffers */
	void *interrupt_user;
};

/* One request: first n_out readable segments, then n_in writable ones. */
struct vq_chain {
	uint16_t head;
	unsigned n_out, n_in;
	uint32_t out_len, in_len; /* bytes; sums are checked to fit */
	struct iovec iov[VQ_IOV_MAX];
};

/*
 * Takes the queue into use with the addresses and the size in it: size a power of two ≤ max_size,
 * rings aligned (16, 2, 4) and wholly in memory. Returns 0 or -EINVAL.
 */
int vq_enable(struct vq *vq, bool event_idx);

/* Whether a ring of an enabled queue lies in memory that was unplugged since. */
bool vq_is_lost(const struct vq *vq);

/* Back to the state before vq_enable(); addresses and size are the transport's to reset. */
void vq_reset(struct vq *vq);

/* Next chain: 1 and *out, 0 when there is none, -EBADMSG when the guest broke the queue (stays so).
 */
int vq_pop(struct vq *vq, struct vq_chain *out);

/* Gives a chain back with `written` bytes written to it; the guest learns of it at vq_flush(). Out
 * of order is fine. */
void vq_push(struct vq *vq, uint16_t head, uint32_t written);

/* Publishes what was pushed and sends at most one interrupt, if the driver wants one. */
void vq_flush(struct vq *vq);

/*
 * Asks the driver for a notification of the next buffer, or to be left alone. After vq_want_kicks()
 * true is returned if buffers came in the meantime: pop again before waiting.
 * vq_want_kicks_after() asks for one when n buffers are there, or the next one where the driver
 * does without EVENT_IDX; true: so many came in the meantime.
 */
bool vq_want_kicks(struct vq *vq);
bool vq_want_kicks_after(struct vq *vq, unsigned n);
void vq_no_kicks(struct vq *vq);

/* Copies between a chain's segments and our memory, at most len bytes from `offset` on; return how
 * many were copied. */
size_t vq_copy_out(const struct vq_chain *chain, size_t offset, void *to,
		   size_t len); /* from readable */
size_t vq_copy_in(const struct vq_chain *chain, size_t offset, const void *from,
		  size_t len); /* to writable */
