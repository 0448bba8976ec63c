// SPDX-License-Identifier: Apache-2.0
#include "virtio/blk.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "base/clock.h"
#include "base/util.h"
#include "virtio/blk_request.h"

#define SEG_MAX		 (VIRTIO_QUEUE_SIZE / 2 - 2)
#define TRIM_SECTORS_MAX 0x3fffffu
#define PHYSICAL_BLOCK	 4096u
/*
 * With so many requests of a queue in flight the next completion is near: it looks at the ring, and
 * the driver need not notify. That spares an exit of the guest and a turn of ours for nearly each
 * request, and delays one by a small part of what it takes anyway. Where requests end at once
 * (the page cache, a fast disk) there is no such completion, and the driver's pace counts.
 */
#define QUIET_REQUESTS 8u
/* Of the requests that a queue starts in one turn: what lies in the page cache is copied within the
 * submission, which must not hold up the loop. */
#define TURN_BYTES_MAX (16u << 20)

static struct blk *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct blk, dev);
}

static struct vq *vq_of(const struct blk_queue *queue)
{
	return &queue->blk->dev.queues[queue->index];
}

static bool negotiated(const struct blk *blk, unsigned feature)
{
	return blk->dev.negotiated & (UINT64_C(1) << feature);
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *data, uint32_t len)
{
	const struct blk *blk = from_dev(dev);
	unsigned per_physical = blk->block < PHYSICAL_BLOCK ? PHYSICAL_BLOCK / blk->block : 1;
	const struct virtio_blk_config config = {
		.capacity = htole64(blk->capacity / BLK_SECTOR),
		.seg_max = htole32(SEG_MAX),
		.blk_size = htole32(blk->block),
		.physical_block_exp = (uint8_t)__builtin_ctz(per_physical),
		.min_io_size = htole16((uint16_t)per_physical),
		.num_queues = htole16((uint16_t)dev->n_queues),
		.max_discard_sectors = htole32(TRIM_SECTORS_MAX),
		.max_discard_seg = htole32(1),
		.discard_sector_alignment = htole32(PHYSICAL_BLOCK / BLK_SECTOR),
		.max_write_zeroes_sectors = htole32(TRIM_SECTORS_MAX),
		.max_write_zeroes_seg = htole32(1),
		.write_zeroes_may_unmap = 1,
	};

	virtio_config_copy(&config, sizeof(config), off, data, len);
}

static int activate(struct virtio_dev *dev)
{
	(void)dev;
	return 0;
}

/* Ends. */

static bool is_idle(const struct blk_queue *queue)
{
	return queue->n_busy == 0 && !queue->flush_pending && !queue->pace.timing;
}

static void go_on(struct blk_queue *queue)
{
	queue->stopping = queue->starved = queue->quiet = queue->prompt = false;
}

static void queue_maybe_drained(struct blk_queue *queue)
{
	void (*drained)(void *user) = queue->drained;

	if (!drained || !is_idle(queue))
		return;
	queue->drained = NULL;
	go_on(queue);
	drained(queue->drained_user);
}

static void maybe_drained(struct blk *blk)
{
	void (*drained)(void *user) = blk->drained;

	if (!drained || blk->limit.waiting)
		return;
	for (unsigned i = 0; i < blk->dev.n_queues; i++)
		if (!is_idle(&blk->queues[i]))
			return;
	blk->drained = NULL;
	for (unsigned i = 0; i < blk->dev.n_queues; i++)
		go_on(&blk->queues[i]);
	blk_requests_drop(blk);
	drained(blk->drained_user);
}

/* A queue has ended something: who waits for it may free it all. */
static void settled(struct blk_queue *queue)
{
	if (queue->drained)
		queue_maybe_drained(queue);
	else
		maybe_drained(queue->blk);
}

static void look(struct blk_queue *queue, bool late);

/* The end of a turn: all that was completed in it is published together. */
static void on_flush(struct loop_op *op, int res, uint32_t flags)
{
	struct blk_queue *queue = container_of(op, struct blk_queue, flush_op);
	bool was_prompt = queue->prompt;

	(void)res;
	(void)flags;
	queue->flush_pending = false;
	if (queue->stopping) {
		settled(queue);
		return;
	}
	vq_flush(vq_of(queue));
	queue->prompt = queue->n_busy == 0;
	if ((queue->quiet || (was_prompt && !queue->prompt)) && !queue->blk->dev.broken)
		look(queue, false);
}

/* The driver gathers requests for longer than it should. */
static void on_late(void *user)
{
	struct blk_queue *queue = user;

	if (queue->stopping)
		settled(queue);
	else if (!queue->quiet && !queue->starved && !queue->blk->dev.broken)
		look(queue, true);
}

static void complete(struct blk_queue *queue, uint16_t head, uint8_t *status_byte, uint8_t status,
		     uint32_t written)
{
	if (status != VIRTIO_BLK_S_OK)
		queue->blk->counters.errors++;
	*status_byte = status;
	vq_push(vq_of(queue), head, written + 1);
	if (queue->flush_pending)
		return;
	queue->flush_pending = true;
	loop_defer(queue->blk->loop, &queue->flush_op);
}

void blk_request_ended(struct blk_request *request, uint8_t status)
{
	struct blk_queue *queue = request->queue;
	uint8_t *status_byte = request->status;
	uint32_t written = request->written;
	uint16_t head = request->head;

	blk_request_free(request);
	if (queue->stopping)
		settled(queue);
	else
		complete(queue, head, status_byte, status, written);
}

/* Beginnings. */

/* Starts a request when the rate limit lets it; until then it is held, and nobody else comes. */
static void start_limited(struct blk *blk, struct blk_request *request)
{
	bool transfer = request->kind == BLK_READ || request->kind == BLK_WRITE;

	if (!blk->limited ||
	    rate_limit_take(&blk->limit, transfer ? request->remaining : 0, clock_now_ns()))
		blk_request_start(request);
	else
		blk->held = request;
}

static void start(struct blk *blk, struct blk_request *request)
{
	start_limited(blk, request);
	if (blk->held == request)
		blk->counters.throttled++;
}

static void on_rate_ready(void *user)
{
	struct blk *blk = user;
	struct blk_request *request = blk->held;

	if (blk->drained) {
		maybe_drained(blk);
		return;
	}
	blk->held = NULL;
	if (request)
		start_limited(blk, request);
	blk->first++;
	for (unsigned i = 0; i < blk->dev.n_queues && !blk->held; i++) {
		struct blk_queue *queue = &blk->queues[(blk->first + i) % blk->dev.n_queues];

		if (!queue->starved)
			continue;
		queue->starved = false;
		blk->dev.kick_again(&blk->dev, queue->index);
	}
}

/* The byte range of `len` bytes at a sector, if it is whole blocks inside the device. */
static bool valid_range(const struct blk *blk, uint64_t sector, uint64_t len, uint64_t *offset)
{
	return checked_mul(sector, (uint64_t)BLK_SECTOR, offset) &&
	       ((*offset | len) & (blk->block - 1)) == 0 && range_fits(*offset, len, blk->capacity);
}

/* The functions below return a status to complete the request with at once, or IN_FLIGHT. */
#define IN_FLIGHT (-1)

static int start_transfer(struct blk_queue *queue, struct blk_request *request)
{
	const struct vq_chain *chain = &queue->blk->chain;
	struct blk_counters *counters = &queue->blk->counters;
	int r;

	if (request->kind == BLK_READ) {
		r = blk_request_set_segments(request, chain->iov + chain->n_out, chain->n_in, 0);
		counters->reads++;
		counters->bytes_read += request->remaining;
	} else {
		r = blk_request_set_segments(request, chain->iov, chain->n_out,
					     sizeof(struct virtio_blk_outhdr));
		counters->writes++;
		counters->bytes_written += request->remaining;
	}
	if (r < 0) {
		blk_request_free(request);
		return VIRTIO_BLK_S_IOERR;
	}
	start(queue->blk, request);
	return IN_FLIGHT;
}

static int do_transfer(struct blk_queue *queue, enum blk_kind kind, uint64_t sector,
		       uint8_t *status)
{
	const struct blk *blk = queue->blk;
	const struct vq_chain *chain = &blk->chain;
	bool reading = kind == BLK_READ;
	uint64_t len = reading ? chain->in_len : chain->out_len - sizeof(struct virtio_blk_outhdr);
	struct blk_request *request;
	uint64_t offset;

	if (!valid_range(blk, sector, len, &offset) || (!reading && blk->read_only))
		return VIRTIO_BLK_S_IOERR;
	/* Data of the other direction means that the driver and we do not understand each other. */
	if (reading ? chain->out_len != sizeof(struct virtio_blk_outhdr) : chain->in_len != 0)
		return VIRTIO_BLK_S_IOERR;
	if (len == 0)
		return VIRTIO_BLK_S_OK;
	request = blk_request_new(queue, kind, chain->head, status);
	if (!request)
		return VIRTIO_BLK_S_IOERR;
	request->offset = offset;
	request->remaining = len;
	return start_transfer(queue, request);
}

static int do_flush(struct blk_queue *queue, uint8_t *status)
{
	struct blk *blk = queue->blk;
	struct blk_request *request;

	blk->counters.flushes++;
	if (blk->read_only)
		return VIRTIO_BLK_S_OK;
	request = blk_request_new(queue, BLK_SYNC, blk->chain.head, status);
	if (!request)
		return VIRTIO_BLK_S_IOERR;
	start(blk, request);
	return IN_FLIGHT;
}

/* Reads and checks the one range of a DISCARD or WRITE_ZEROES (§5.2.6): a status. */
static uint8_t read_range(const struct blk *blk, bool zero, uint64_t *offset, uint64_t *len,
			  bool *unmap)
{
	const size_t header = sizeof(struct virtio_blk_outhdr);
	struct virtio_blk_discard_write_zeroes range;
	uint32_t flags;

	if (!negotiated(blk, zero ? VIRTIO_BLK_F_WRITE_ZEROES : VIRTIO_BLK_F_DISCARD))
		return VIRTIO_BLK_S_UNSUPP;
	if (blk->chain.out_len != header + sizeof(range) ||
	    vq_copy_out(&blk->chain, header, &range, sizeof(range)) != sizeof(range))
		return VIRTIO_BLK_S_IOERR;
	flags = le32toh(range.flags);
	if (flags & ~(zero ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u))
		return VIRTIO_BLK_S_UNSUPP;
	*unmap = flags;
	*len = (uint64_t)le32toh(range.num_sectors) * BLK_SECTOR;
	if (le32toh(range.num_sectors) > TRIM_SECTORS_MAX ||
	    !valid_range(blk, le64toh(range.sector), *len, offset))
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

static int do_trim(struct blk_queue *queue, bool zero, uint8_t *status)
{
	struct blk *blk = queue->blk;
	struct blk_request *request;
	uint64_t offset, len = 0;
	bool unmap;
	uint8_t r = read_range(blk, zero, &offset, &len, &unmap);

	if (r != VIRTIO_BLK_S_OK || len == 0)
		return r;
	request = blk_request_new(queue, zero ? BLK_ZERO : BLK_DISCARD, blk->chain.head, status);
	if (!request)
		return VIRTIO_BLK_S_IOERR;
	blk->counters.discards++;
	request->offset = offset;
	request->remaining = len;
	request->unmap = unmap;
	start(blk, request);
	return IN_FLIGHT;
}

static int do_request(struct blk_queue *queue, uint8_t *status, uint32_t *written)
{
	struct blk *blk = queue->blk;
	struct virtio_blk_outhdr header;

	if (blk->revoked)
		return VIRTIO_BLK_S_IOERR;
	vq_copy_out(&blk->chain, 0, &header, sizeof(header));
	switch (le32toh(header.type)) {
	case VIRTIO_BLK_T_IN:
		return do_transfer(queue, BLK_READ, le64toh(header.sector), status);
	case VIRTIO_BLK_T_OUT:
		return do_transfer(queue, BLK_WRITE, le64toh(header.sector), status);
	case VIRTIO_BLK_T_FLUSH:
		return do_flush(queue, status);
	case VIRTIO_BLK_T_GET_ID:
		*written = (uint32_t)vq_copy_in(&blk->chain, 0, blk->serial, sizeof(blk->serial));
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_DISCARD:
		return do_trim(queue, false, status);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return do_trim(queue, true, status);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/* Splits the status byte, which is the last writable one wherever that lies, off the chain. */
static uint8_t *take_status(struct vq_chain *chain)
{
	struct iovec *last = &chain->iov[chain->n_out + chain->n_in - 1];

	chain->in_len--;
	last->iov_len--;
	if (last->iov_len == 0)
		chain->n_in--;
	return (uint8_t *)last->iov_base + last->iov_len;
}

/* Handles the chain just popped. A negative return breaks the device: there is no status byte to
 * write to, or no header. */
static int handle_chain(struct blk_queue *queue)
{
	struct vq_chain *chain = &queue->blk->chain;
	uint32_t written = 0;
	uint8_t *status;
	int result;

	if (chain->in_len < 1 || chain->out_len < sizeof(struct virtio_blk_outhdr))
		return -EBADMSG;
	status = take_status(chain);
	result = do_request(queue, status, &written);
	if (result != IN_FLIGHT)
		complete(queue, chain->head, status, (uint8_t)result, written);
	return 0;
}

/* Starts requests and counts them: 1 when the queue is empty, 0 when more may come, negative when
 * it is broken. */
static int serve(struct blk_queue *queue, unsigned *n_taken)
{
	struct blk *blk = queue->blk;
	struct vq *vq = vq_of(queue);
	uint64_t bytes = 0;

	for (*n_taken = 0; *n_taken < vq->size && bytes < TURN_BYTES_MAX && !blk->held;
	     ++*n_taken) {
		int r = vq_pop(vq, &blk->chain);

		if (r <= 0)
			return r < 0 ? r : 1;
		bytes += (uint64_t)blk->chain.in_len + blk->chain.out_len;
		r = handle_chain(queue);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Of how many requests to be notified, now that the queue is empty. */
static unsigned kicks_after(struct blk_queue *queue, unsigned n_taken, bool late)
{
	const struct vq *vq = vq_of(queue);

	if (!queue->prompt || !vq->event_idx || vq->size < 2 * PACE_BATCH_MAX)
		return 1;
	pace_took(&queue->pace, n_taken, late, clock_now_ns());
	return pace_wait(&queue->pace);
}

/* Takes what is there, and sees to it that somebody looks again. */
static void look(struct blk_queue *queue, bool late)
{
	struct virtio_dev *dev = &queue->blk->dev;
	struct vq *vq = vq_of(queue);
	unsigned n_taken;
	int r;

	vq_no_kicks(vq);
	queue->quiet = false;
	r = serve(queue, &n_taken);
	if (r < 0)
		virtio_dev_broken(dev, "a request without header or status, or its queue");
	else if (queue->blk->held)
		queue->starved = true;
	else if (r > 0 && queue->n_busy >= QUIET_REQUESTS && !queue->prompt)
		queue->quiet = true;
	else if (r == 0 || vq_want_kicks_after(vq, kicks_after(queue, n_taken, late)))
		dev->kick_again(dev, queue->index);
}

static void kick(struct virtio_dev *dev, unsigned index)
{
	look(&from_dev(dev)->queues[index], false);
}

/* Resets. */

static void reset(struct virtio_dev *dev, void (*drained)(void *user), void *user)
{
	struct blk *blk = from_dev(dev);

	for (unsigned i = 0; i < dev->n_queues; i++) {
		blk->queues[i].stopping = true;
		(void)pace_stop(&blk->queues[i].pace); /* is_idle() looks whether it waits */
	}
	for (unsigned i = 0; i < dev->n_queues; i++)
		blk_requests_cancel(&blk->queues[i]);
	(void)rate_limit_stop(&blk->limit); /* maybe_drained() looks whether it waits */
	blk->drained = drained;
	blk->drained_user = user;
	maybe_drained(blk);
}

static void reset_queue(struct virtio_dev *dev, unsigned index, void (*drained)(void *user),
			void *user)
{
	struct blk_queue *queue = &from_dev(dev)->queues[index];

	queue->stopping = true;
	(void)pace_stop(&queue->pace);
	blk_requests_cancel(queue);
	queue->drained = drained;
	queue->drained_user = user;
	queue_maybe_drained(queue);
}

static void on_revoke(struct virtio_dev *dev)
{
	struct blk *blk = from_dev(dev);

	blk->revoked = true;
	for (unsigned i = 0; i < dev->n_queues; i++)
		blk_requests_cancel(&blk->queues[i]);
	(void)rate_limit_stop(&blk->limit); /* on_rate_ready() is next: for who was not looked at */
}

static bool writes_unplugged(const struct virtio_dev *dev, const struct mem *mem)
{
	return blk_requests_write_unplugged((const struct blk *)(const void *)dev, mem);
}

static unsigned counters(const struct virtio_dev *dev, struct virtio_counter *out, unsigned max)
{
	const struct blk *blk = (const struct blk *)(const void *)dev;
	const struct blk_counters *c = &blk->counters;
	uint64_t n_busy = 0;

	_Static_assert(offsetof(struct blk, dev) == 0, "a cast that keeps the const");
	for (unsigned i = 0; i < dev->n_queues; i++)
		n_busy += blk->queues[i].n_busy;
	const struct virtio_counter all[] = {
		{"reads", c->reads},	       {"writes", c->writes},
		{"flushes", c->flushes},       {"discards", c->discards},
		{"bytes_read", c->bytes_read}, {"bytes_written", c->bytes_written},
		{"errors", c->errors},	       {"throttled", c->throttled},
		{"in_flight", n_busy},
	};
	return virtio_counters_copy(all, ARRAY_SIZE(all), out, max);
}

static void destroy(struct virtio_dev *dev)
{
	struct blk *blk = from_dev(dev);

	blk_file_put(blk->file);
	blk_requests_drop(blk);
	free(blk);
}

static const struct virtio_ops blk_ops = {
	.id = VIRTIO_ID_BLOCK,
	.pci_class = 0x018000, /* mass storage controller, other */
	.name = "blk",
	.config_read = config_read,
	.activate = activate,
	.kick = kick,
	.reset = reset,
	.reset_queue = reset_queue,
	.writes_unplugged = writes_unplugged,
	.revoke = on_revoke,
	.counters = counters,
	.destroy = destroy,
};

static uint64_t features_of(const struct virtio_blk_params *params, unsigned n_queues)
{
	uint64_t features =
		UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC |
		UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX | UINT64_C(1) << VIRTIO_BLK_F_SEG_MAX |
		UINT64_C(1) << VIRTIO_BLK_F_BLK_SIZE | UINT64_C(1) << VIRTIO_BLK_F_TOPOLOGY |
		UINT64_C(1) << VIRTIO_BLK_F_FLUSH;

	if (params->read_only)
		features |= UINT64_C(1) << VIRTIO_BLK_F_RO;
	else
		features |= UINT64_C(1) << VIRTIO_BLK_F_DISCARD |
			    UINT64_C(1) << VIRTIO_BLK_F_WRITE_ZEROES;
	if (n_queues > 1)
		features |= UINT64_C(1) << VIRTIO_BLK_F_MQ;
	return features;
}

static void init_queues(struct blk *blk, const struct virtio_blk_params *params)
{
	unsigned n = params->n_queues;

	if (n == 0)
		n = 1;
	if (n > VIRTIO_BLK_QUEUES_MAX)
		n = VIRTIO_BLK_QUEUES_MAX;
	blk->dev.n_queues = n;
	blk->dev.queue_size_max = virtio_queue_size(params->queue_size);
	blk->dev.offered = features_of(params, n);
	for (unsigned i = 0; i < n; i++) {
		blk->queues[i] =
			(struct blk_queue){.blk = blk, .index = i, .flush_op.done = on_flush};
		pace_init(&blk->queues[i].pace, blk->loop, on_late, &blk->queues[i]);
	}
}

/* The size may have become another one. */
static void update_capacity(struct blk *blk)
{
	uint64_t capacity = blk->file->size / blk->block * blk->block;
	bool same = capacity == blk->capacity;

	blk->capacity = capacity;
	if (!same && blk->dev.config_changed)
		blk->dev.config_changed(&blk->dev);
}

int virtio_blk_new(struct virtio_dev **out, struct loop *loop,
		   const struct virtio_blk_params *params)
{
	size_t serial_len = strlen(params->serial);
	struct blk *blk;
	int r;

	if (serial_len == 0 || serial_len > VIRTIO_BLK_SERIAL_MAX ||
	    virtio_queue_size(params->queue_size) == 0)
		return -EINVAL;
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return -ENOMEM;
	r = blk_file_open(&blk->file, loop, params->fd, params->read_only, params->direct);
	if (r < 0) {
		free(blk);
		return r;
	}
	blk->dev.ops = &blk_ops;
	blk->loop = loop;
	blk->read_only = params->read_only;
	blk->direct = params->direct;
	blk->block = blk->file->block;
	memcpy(blk->serial, params->serial, serial_len);
	blk->limited = params->rate.bytes_per_s || params->rate.ops_per_s;
	rate_limit_init(&blk->limit, loop, &params->rate, on_rate_ready, blk);
	init_queues(blk, params);
	update_capacity(blk);
	*out = &blk->dev;
	return 0;
}

uint64_t virtio_blk_size(const struct virtio_dev *dev)
{
	return ((const struct blk *)(const void *)dev)->capacity;
}

int virtio_blk_swap(struct virtio_dev *dev, int fd)
{
	struct blk *blk = from_dev(dev);
	struct blk_file *file;
	int r = blk_file_open(&file, blk->loop, fd, blk->read_only, blk->direct);

	if (r < 0)
		return r;
	if (file->block > blk->block)
		r = -EINVAL;
	else if (file->size < blk->capacity)
		r = -ENOSPC;
	if (r < 0) {
		blk_file_put(file);
		return r;
	}
	blk_file_put(blk->file);
	blk->file = file;
	update_capacity(blk);
	return 0;
}

int virtio_blk_resize(struct virtio_dev *dev)
{
	struct blk *blk = from_dev(dev);
	int r = blk_file_measure(blk->file);

	if (r == 0)
		update_capacity(blk);
	return r;
}
