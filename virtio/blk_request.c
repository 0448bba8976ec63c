// SPDX-License-Identifier: Apache-2.0
#include "virtio/blk_request.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/falloc.h>
#include <linux/virtio_blk.h>

#include "base/util.h"

#define SLAB_REQUESTS 32u
/* Of one operation: what lies in the page cache is copied within the submission, which must not
 * hold up the loop. */
#define OP_BYTES_MAX (4u << 20)
#define BOUNCE_LEN   (128u << 10)
#define BOUNCE_ALIGN 4096u

struct blk_slab {
	struct blk_slab *next;
	struct blk_request requests[SLAB_REQUESTS];
};

static struct blk *blk_of(const struct blk_request *request)
{
	return request->queue->blk;
}

static bool is_transfer(const struct blk_request *request)
{
	return request->kind == BLK_READ || request->kind == BLK_WRITE;
}

/* The pool. */

static void on_done(struct loop_op *op, int res, uint32_t flags);

static int grow_pool(struct blk_pool *pool)
{
	struct blk_slab *slab = malloc(sizeof(*slab));

	if (!slab)
		return -ENOMEM;
	slab->next = pool->slabs;
	pool->slabs = slab;
	for (unsigned i = 0; i < SLAB_REQUESTS; i++) {
		struct blk_request *request = &slab->requests[i];

		memset(request, 0, sizeof(*request));
		request->op.done = on_done;
		request->next = pool->free;
		pool->free = request;
	}
	return 0;
}

struct blk_request *blk_request_new(struct blk_queue *queue, enum blk_kind kind, uint16_t head,
				    uint8_t *status)
{
	struct blk *blk = queue->blk;
	struct blk_request *request;

	if (!blk->pool.free && grow_pool(&blk->pool) < 0)
		return NULL;
	request = blk->pool.free;
	blk->pool.free = request->next;
	assert(request->state == BLK_FREE);
	request->queue = queue;
	request->file = blk->file;
	request->kind = kind;
	request->state = BLK_WAITING;
	request->uneven = request->other_mode = request->unmap = false;
	request->head = head;
	request->status = status;
	request->written = 0;
	request->iov_at = request->n_iov = 0;
	request->cut = 0;
	request->iov = request->own;
	blk_file_get(request->file);
	queue->n_busy++;
	return request;
}

void blk_request_free(struct blk_request *request)
{
	struct blk *blk = blk_of(request);

	if (request->iov != request->own)
		free(request->iov);
	request->state = BLK_FREE;
	request->next = blk->pool.free;
	blk->pool.free = request;
	request->queue->n_busy--;
	blk_file_put(request->file);
}

void blk_requests_drop(struct blk *blk)
{
	while (blk->pool.slabs) {
		struct blk_slab *slab = blk->pool.slabs;

		blk->pool.slabs = slab->next;
		free(slab);
	}
	blk->pool.free = NULL;
	free(blk->bounce.memory);
	blk->bounce.memory = NULL;
}

/* Whether direct I/O cannot use this memory. */
static bool is_uneven(const struct blk_request *request)
{
	uintptr_t bits = 0;

	for (unsigned i = request->iov_at; i < request->n_iov; i++)
		bits |= (uintptr_t)request->iov[i].iov_base | request->iov[i].iov_len;
	return bits & (request->file->align - 1);
}

int blk_request_set_segments(struct blk_request *request, const struct iovec *iov, unsigned n,
			     size_t skip)
{
	if (n > BLK_OWN_SEGMENTS) {
		request->iov = malloc(n * sizeof(*iov));
		if (!request->iov) {
			request->iov = request->own;
			return -ENOMEM;
		}
	}
	for (unsigned i = 0; i < n; i++) {
		size_t len = iov[i].iov_len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		request->iov[request->n_iov++] = (struct iovec){
			.iov_base = (uint8_t *)iov[i].iov_base + skip, .iov_len = len - skip};
		skip = 0;
	}
	request->uneven = request->file->align > 1 && is_uneven(request);
	return 0;
}

/* The buffer. */

static void copy_part(const struct blk_request *request, uint8_t *ours, size_t len)
{
	for (unsigned i = request->iov_at; len > 0; i++) {
		size_t part = request->iov[i].iov_len < len ? request->iov[i].iov_len : len;

		if (request->kind == BLK_READ)
			memcpy(request->iov[i].iov_base, ours, part);
		else
			memcpy(ours, request->iov[i].iov_base, part);
		ours += part;
		len -= part;
	}
}

/* Makes the request the buffer's owner: 1, 0 when it waits now, or -ENOMEM. */
static int take_bounce(struct blk_request *request)
{
	struct blk_bounce *bounce = &blk_of(request)->bounce;

	if (!bounce->memory)
		bounce->memory = aligned_alloc(BOUNCE_ALIGN, BOUNCE_LEN);
	if (!bounce->memory)
		return -ENOMEM;
	if (!bounce->owner || bounce->owner == request) {
		bounce->owner = request;
		return 1;
	}
	if (!bounce->waiting)
		bounce->waiting_tail = &bounce->waiting;
	request->state = BLK_WAITING;
	request->next = NULL;
	*bounce->waiting_tail = request;
	bounce->waiting_tail = &request->next;
	return 0;
}

static void leave_bounce(struct blk_request *request)
{
	struct blk_bounce *bounce = &blk_of(request)->bounce;
	struct blk_request *next = bounce->waiting;

	if (bounce->owner != request)
		return;
	bounce->owner = NULL;
	if (!next)
		return;
	bounce->waiting = next->next;
	blk_request_start(next);
}

static void stop_waiting(struct blk_request *request)
{
	struct blk_bounce *bounce = &blk_of(request)->bounce;
	struct blk_request **p = &bounce->waiting;

	while (*p && *p != request)
		p = &(*p)->next;
	if (!*p)
		return;
	*p = request->next;
	if (!*p)
		bounce->waiting_tail = p;
}

/* Operations. */

/* Picks the segments of the next operation, shortening the last one where the operation would get
 * too long. */
static void pick_segments(struct blk_request *request)
{
	size_t len = 0;
	unsigned n = request->iov_at;

	while (n < request->n_iov && len < OP_BYTES_MAX)
		len += request->iov[n++].iov_len;
	request->cut = len > OP_BYTES_MAX ? len - OP_BYTES_MAX : 0;
	request->n_op = n - request->iov_at;
	request->iov[n - 1].iov_len -= request->cut;
}

static void restore_cut(struct blk_request *request)
{
	if (request->cut == 0)
		return;
	request->iov[request->iov_at + request->n_op - 1].iov_len += request->cut;
	request->cut = 0;
}

static int start_vectored(struct blk_request *request)
{
	struct loop *loop = blk_of(request)->loop;
	const struct iovec *iov = &request->iov[request->iov_at];

	if (request->kind == BLK_READ)
		return loop_readv(loop, &request->op, request->file->slot, iov, request->n_op,
				  request->offset);
	return loop_writev(loop, &request->op, request->file->slot, iov, request->n_op,
			   request->offset);
}

static int start_plain(struct blk_request *request, void *memory, size_t len)
{
	struct loop *loop = blk_of(request)->loop;

	if (request->kind == BLK_READ)
		return loop_pread(loop, &request->op, request->file->slot, memory, (uint32_t)len,
				  request->offset);
	return loop_pwrite(loop, &request->op, request->file->slot, memory, (uint32_t)len,
			   request->offset);
}

static int start_transfer(struct blk_request *request)
{
	const struct iovec *iov = &request->iov[request->iov_at];
	int r;

	pick_segments(request);
	/* One segment without its vector is cheaper for the kernel, and most requests are that. */
	if (request->n_op == 1)
		r = start_plain(request, iov->iov_base, iov->iov_len);
	else
		r = start_vectored(request);
	if (r < 0)
		restore_cut(request);
	return r;
}

static int start_bounced(struct blk_request *request)
{
	uint8_t *memory = blk_of(request)->bounce.memory;
	size_t len = request->remaining < BOUNCE_LEN ? request->remaining : BOUNCE_LEN;

	if (request->kind == BLK_WRITE)
		copy_part(request, memory, len);
	return start_plain(request, memory, len);
}

/* A hole reads as zeroes, and keeps its place in the file only by ZERO_RANGE; where one way does
 * not exist the other does it as well. A discard is a hole or nothing. */
static int trim_mode(const struct blk_request *request)
{
	bool hole = request->kind == BLK_DISCARD || request->unmap != request->other_mode;

	return FALLOC_FL_KEEP_SIZE | (hole ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

static int start_op(struct blk_request *request)
{
	struct loop *loop = blk_of(request)->loop;

	switch (request->kind) {
	case BLK_READ:
	case BLK_WRITE:
		return request->uneven ? start_bounced(request) : start_transfer(request);
	case BLK_SYNC:
		return loop_fsync(loop, &request->op, request->file->slot, true);
	case BLK_DISCARD:
	case BLK_ZERO:
		return loop_fallocate(loop, &request->op, request->file->slot, trim_mode(request),
				      request->offset, request->remaining);
	}
	return -EINVAL;
}

static void finish(struct blk_request *request, uint8_t status)
{
	if (request->uneven)
		leave_bounce(request);
	blk_request_ended(request, status);
}

void blk_request_start(struct blk_request *request)
{
	if (blk_of(request)->revoked) {
		finish(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (request->uneven && is_transfer(request)) {
		int r = take_bounce(request);

		if (r == 0)
			return;
		if (r < 0) {
			finish(request, VIRTIO_BLK_S_IOERR);
			return;
		}
	}
	request->state = BLK_RUNNING;
	if (start_op(request) == 0)
		return;
	request->state = BLK_DEFERRED;
	loop_defer(blk_of(request)->loop, &request->op);
}

/* Steps over n bytes that are done. */
static void advance(struct blk_request *request, size_t n)
{
	request->offset += n;
	request->remaining -= n;
	if (request->kind == BLK_READ)
		request->written += (uint32_t)n;
	if (request->remaining == 0)
		return;
	while (n > 0) {
		struct iovec *iov = &request->iov[request->iov_at];
		size_t part = n < iov->iov_len ? n : iov->iov_len;

		iov->iov_base = (uint8_t *)iov->iov_base + part;
		iov->iov_len -= part;
		n -= part;
		if (iov->iov_len == 0)
			request->iov_at++;
	}
}

static void on_transfer(struct blk_request *request, int res)
{
	struct blk *blk = blk_of(request);

	if (res <= 0) { /* 0: the file became shorter than the device */
		finish(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (request->uneven && request->kind == BLK_READ)
		copy_part(request, blk->bounce.memory, (size_t)res);
	advance(request, (size_t)res);
	if (request->remaining > 0) {
		blk_request_start(request);
	} else if (request->kind == BLK_WRITE &&
		   !(blk->dev.negotiated & (UINT64_C(1) << VIRTIO_BLK_F_FLUSH))) {
		/* This driver cannot ask for it: what is completed must be stable (§5.2.6.2). */
		if (request->uneven)
			leave_bounce(request);
		request->uneven = false;
		request->kind = BLK_SYNC;
		blk_request_start(request);
	} else {
		finish(request, VIRTIO_BLK_S_OK);
	}
}

static void on_trimmed(struct blk_request *request, int res)
{
	if (res == -EOPNOTSUPP && request->kind == BLK_ZERO && !request->other_mode) {
		request->other_mode = true;
		blk_request_start(request);
		return;
	}
	if (res == -EOPNOTSUPP)
		finish(request, VIRTIO_BLK_S_UNSUPP);
	else
		finish(request, (uint8_t)(res < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK));
}

static void on_done(struct loop_op *op, int res, uint32_t flags)
{
	struct blk_request *request = container_of(op, struct blk_request, op);

	(void)flags;
	restore_cut(request);
	if (request->queue->stopping) {
		finish(request, VIRTIO_BLK_S_IOERR);
	} else if (request->state == BLK_DEFERRED || res == -EINTR) {
		blk_request_start(request);
	} else if (is_transfer(request)) {
		on_transfer(request, res);
	} else if (request->kind == BLK_SYNC) {
		finish(request, (uint8_t)(res < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK));
	} else {
		on_trimmed(request, res);
	}
}

static void cancel(struct blk_request *request)
{
	struct blk *blk = blk_of(request);

	if (request->state == BLK_RUNNING) {
		/* What cannot be cancelled any more ends by itself: it is I/O on files. */
		loop_cancel(blk->loop, &request->op);
	} else if (request->state == BLK_WAITING) {
		if (blk->held == request)
			blk->held = NULL;
		stop_waiting(request);
		finish(request, VIRTIO_BLK_S_IOERR);
	}
}

void blk_requests_cancel(struct blk_queue *queue)
{
	for (struct blk_slab *slab = queue->blk->pool.slabs; slab; slab = slab->next)
		for (unsigned i = 0; i < SLAB_REQUESTS; i++)
			if (slab->requests[i].state != BLK_FREE && slab->requests[i].queue == queue)
				cancel(&slab->requests[i]);
}

static bool writes_unplugged(const struct blk_request *request, const struct mem *mem)
{
	if (!mem_is_plugged(mem, request->status, 1))
		return true;
	/* What was cut off the last segment lies right behind it. */
	for (unsigned i = request->iov_at; request->kind == BLK_READ && i < request->n_iov; i++)
		if (!mem_is_plugged(mem, request->iov[i].iov_base,
				    request->iov[i].iov_len + request->cut))
			return true;
	return false;
}

bool blk_requests_write_unplugged(const struct blk *blk, const struct mem *mem)
{
	for (const struct blk_slab *slab = blk->pool.slabs; slab; slab = slab->next)
		for (unsigned i = 0; i < SLAB_REQUESTS; i++)
			if (slab->requests[i].state != BLK_FREE &&
			    writes_unplugged(&slab->requests[i], mem))
				return true;
	return false;
}
