// SPDX-License-Identifier: Apache-2.0
#include "virtio/blk.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "base/util.h"

#define SECTOR		 512u
#define QUEUE_SIZE	 256u
#define SEG_MAX		 (QUEUE_SIZE / 2 - 2)
#define TRIM_SECTORS_MAX 0x3fffffu
/* Of one operation: what lies in the page cache is copied within the submission, which must not
 * hold up the loop. */
#define OP_BYTES_MAX (4u << 20)
/* Of the requests that a queue starts in one turn, for the same reason. */
#define TURN_BYTES_MAX (16u << 20)

enum request_kind { REQUEST_READ, REQUEST_WRITE, REQUEST_SYNC, REQUEST_TRIM };

/* One request in flight; its place in the table is its head, which is in flight only once. */
struct request {
	struct loop_op op;
	struct blk *blk;
	enum request_kind kind;
	uint16_t head;
	bool busy;	 /* from its start to its end */
	bool deferred;	 /* waits for room in the loop */
	uint8_t *status; /* guest memory */
	uint32_t written;
	uint64_t offset, remaining; /* bytes, of the file and of the request */
	int trim_mode;
	unsigned iov_at, n_iov; /* iov[iov_at, n_iov) is still to do */
	size_t cut;		/* by so much the operation's last segment was shortened */
	unsigned n_op;		/* segments of the operation under way */
	struct iovec iov[VQ_IOV_MAX];
};

struct blk {
	struct virtio_dev dev;
	struct loop *loop;
	int slot;
	bool read_only;
	uint64_t capacity; /* bytes, a multiple of SECTOR */
	uint8_t serial[VIRTIO_BLK_SERIAL_MAX];
	struct request *requests; /* of the queue's size; while active */
	unsigned n_busy;
	struct loop_op flush_op;
	bool flush_pending;
	bool resetting;
	void (*drained)(void *user);
	void *drained_user;
	struct vq_chain chain; /* the one being looked at */
};

static struct blk *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct blk, dev);
}

static bool negotiated(const struct blk *blk, unsigned feature)
{
	return blk->dev.negotiated & (UINT64_C(1) << feature);
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *data, uint32_t len)
{
	const struct virtio_blk_config config = {
		.capacity = htole64(from_dev(dev)->capacity / SECTOR),
		.seg_max = htole32(SEG_MAX),
		.blk_size = htole32(SECTOR),
		.physical_block_exp = 3,
		.min_io_size = htole16(8),
		.num_queues = htole16(1),
		.max_discard_sectors = htole32(TRIM_SECTORS_MAX),
		.max_discard_seg = htole32(1),
		.discard_sector_alignment = htole32(8),
		.max_write_zeroes_sectors = htole32(TRIM_SECTORS_MAX),
		.max_write_zeroes_seg = htole32(1),
		.write_zeroes_may_unmap = 1,
	};

	virtio_config_copy(&config, sizeof(config), off, data, len);
}

static int activate(struct virtio_dev *dev)
{
	struct blk *blk = from_dev(dev);
	unsigned n = dev->queues[0].size;

	/* Untouched entries cost no memory: pages come from the kernel as heads are used. */
	blk->requests = calloc(n, sizeof(*blk->requests));
	if (!blk->requests)
		return -ENOMEM;
	return 0;
}

static void maybe_drained(struct blk *blk)
{
	void (*drained)(void *user) = blk->drained;

	if (!blk->resetting || blk->n_busy > 0 || blk->flush_pending)
		return;
	blk->resetting = false;
	blk->drained = NULL;
	free(blk->requests);
	blk->requests = NULL;
	drained(blk->drained_user);
}

/* The end of a turn: all that was completed in it is published together. */
static void on_flush(struct loop_op *op, int res, uint32_t flags)
{
	struct blk *blk = container_of(op, struct blk, flush_op);

	(void)res;
	(void)flags;
	blk->flush_pending = false;
	if (blk->resetting)
		maybe_drained(blk);
	else
		vq_flush(&blk->dev.queues[0]);
}

static void complete(struct blk *blk, uint16_t head, uint8_t *status_byte, uint8_t status,
		     uint32_t written)
{
	*status_byte = status;
	vq_push(&blk->dev.queues[0], head, written + 1);
	if (blk->flush_pending)
		return;
	blk->flush_pending = true;
	loop_defer(blk->loop, &blk->flush_op);
}

static void finish(struct request *request, uint8_t status)
{
	struct blk *blk = request->blk;

	request->busy = false;
	blk->n_busy--;
	if (blk->resetting)
		maybe_drained(blk);
	else
		complete(blk, request->head, request->status, status, request->written);
}

/* Picks the segments of the next operation, shortening the last one where the operation would get
 * too long. */
static void pick_segments(struct request *request)
{
	size_t len = 0;
	unsigned n = request->iov_at;

	while (n < request->n_iov && len < OP_BYTES_MAX)
		len += request->iov[n++].iov_len;
	request->cut = len > OP_BYTES_MAX ? len - OP_BYTES_MAX : 0;
	request->n_op = n - request->iov_at;
	request->iov[n - 1].iov_len -= request->cut;
}

static int start_op(struct request *request)
{
	struct blk *blk = request->blk;
	const struct iovec *iov = &request->iov[request->iov_at];

	switch (request->kind) {
	case REQUEST_READ:
		pick_segments(request);
		return loop_readv(blk->loop, &request->op, blk->slot, iov, request->n_op,
				  request->offset);
	case REQUEST_WRITE:
		pick_segments(request);
		return loop_writev(blk->loop, &request->op, blk->slot, iov, request->n_op,
				   request->offset);
	case REQUEST_SYNC:
		return loop_fsync(blk->loop, &request->op, blk->slot, true);
	case REQUEST_TRIM:
		return loop_fallocate(blk->loop, &request->op, blk->slot, request->trim_mode,
				      request->offset, request->remaining);
	}
	return -EINVAL;
}

static void restore_cut(struct request *request)
{
	request->iov[request->iov_at + request->n_op - 1].iov_len += request->cut;
	request->cut = 0;
}

static void start(struct request *request)
{
	if (start_op(request) == 0)
		return;
	if (request->kind == REQUEST_READ || request->kind == REQUEST_WRITE)
		restore_cut(request);
	request->deferred = true;
	loop_defer(request->blk->loop, &request->op);
}

/* Steps over n bytes that are done. */
static void advance(struct request *request, size_t n)
{
	request->offset += n;
	request->remaining -= n;
	if (request->kind == REQUEST_READ)
		request->written += (uint32_t)n;
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

static void on_transfer(struct request *request, int res)
{
	restore_cut(request);
	if (res == -EINTR) {
		start(request);
		return;
	}
	if (res <= 0) { /* 0: the file became shorter than the device */
		finish(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	advance(request, (size_t)res);
	if (request->remaining > 0) {
		start(request);
	} else if (request->kind == REQUEST_WRITE &&
		   !negotiated(request->blk, VIRTIO_BLK_F_FLUSH)) {
		/* This driver cannot ask for it: what is completed must be stable (§5.2.6.2). */
		request->kind = REQUEST_SYNC;
		start(request);
	} else {
		finish(request, VIRTIO_BLK_S_OK);
	}
}

static void on_trimmed(struct request *request, int res)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	if (res == -EOPNOTSUPP && request->trim_mode != punch) {
		/* tmpfs, for one, has only holes, which read as zeroes as well. */
		request->trim_mode = punch;
		start(request);
		return;
	}
	if (res == 0)
		finish(request, VIRTIO_BLK_S_OK);
	else
		finish(request,
		       (uint8_t)(res == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR));
}

static void on_done(struct loop_op *op, int res, uint32_t flags)
{
	struct request *request = container_of(op, struct request, op);

	(void)flags;
	if (request->blk->resetting) {
		finish(request, VIRTIO_BLK_S_IOERR);
	} else if (request->deferred) {
		request->deferred = false;
		start(request);
	} else if (request->kind == REQUEST_SYNC) {
		finish(request, (uint8_t)(res < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK));
	} else if (request->kind == REQUEST_TRIM) {
		on_trimmed(request, res);
	} else {
		on_transfer(request, res);
	}
}

/* Takes the request's place in the table. */
static struct request *new_request(struct blk *blk, enum request_kind kind, uint8_t *status)
{
	struct request *request = &blk->requests[blk->chain.head];

	assert(!request->busy);
	request->op.done = on_done;
	request->blk = blk;
	request->kind = kind;
	request->head = blk->chain.head;
	request->busy = true;
	request->deferred = false;
	request->status = status;
	request->written = 0;
	request->cut = 0;
	request->iov_at = request->n_iov = 0;
	blk->n_busy++;
	return request;
}

/* Copies the segments from byte `skip` of the readable or writable ones. */
static void take_segments(struct request *request, const struct iovec *iov, unsigned n, size_t skip)
{
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
}

/* The byte range of `len` bytes at a sector, if it is whole sectors inside the device. */
static bool valid_range(const struct blk *blk, uint64_t sector, uint64_t len, uint64_t *offset)
{
	return checked_mul(sector, (uint64_t)SECTOR, offset) && len % SECTOR == 0 &&
	       range_fits(*offset, len, blk->capacity);
}

/* The functions below return a status to complete the request with at once, or IN_FLIGHT. */
#define IN_FLIGHT (-1)

static int do_transfer(struct blk *blk, enum request_kind kind, uint64_t sector, uint8_t *status)
{
	const struct vq_chain *chain = &blk->chain;
	bool reading = kind == REQUEST_READ;
	uint64_t len = reading ? chain->in_len : chain->out_len - sizeof(struct virtio_blk_outhdr);
	struct request *request;
	uint64_t offset;

	if (!valid_range(blk, sector, len, &offset) || (!reading && blk->read_only))
		return VIRTIO_BLK_S_IOERR;
	/* Data of the other direction means that the driver and we do not understand each other. */
	if (reading ? chain->out_len != sizeof(struct virtio_blk_outhdr) : chain->in_len != 0)
		return VIRTIO_BLK_S_IOERR;
	if (len == 0)
		return VIRTIO_BLK_S_OK;
	request = new_request(blk, kind, status);
	request->offset = offset;
	request->remaining = len;
	if (reading)
		take_segments(request, chain->iov + chain->n_out, chain->n_in, 0);
	else
		take_segments(request, chain->iov, chain->n_out, sizeof(struct virtio_blk_outhdr));
	start(request);
	return IN_FLIGHT;
}

static int do_flush(struct blk *blk, uint8_t *status)
{
	if (blk->read_only)
		return VIRTIO_BLK_S_OK;
	start(new_request(blk, REQUEST_SYNC, status));
	return IN_FLIGHT;
}

/* DISCARD and WRITE_ZEROES of one range (§5.2.6). */
static int do_trim(struct blk *blk, bool zero, uint8_t *status)
{
	const size_t header = sizeof(struct virtio_blk_outhdr);
	struct virtio_blk_discard_write_zeroes range;
	uint64_t offset, len;
	struct request *request;
	uint32_t flags;

	if (!negotiated(blk, zero ? VIRTIO_BLK_F_WRITE_ZEROES : VIRTIO_BLK_F_DISCARD))
		return VIRTIO_BLK_S_UNSUPP;
	if (blk->chain.out_len != header + sizeof(range) ||
	    vq_copy_out(&blk->chain, header, &range, sizeof(range)) != sizeof(range))
		return VIRTIO_BLK_S_IOERR;
	flags = le32toh(range.flags);
	if (flags & ~(zero ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u))
		return VIRTIO_BLK_S_UNSUPP;
	len = (uint64_t)le32toh(range.num_sectors) * SECTOR;
	if (le32toh(range.num_sectors) > TRIM_SECTORS_MAX ||
	    !valid_range(blk, le64toh(range.sector), len, &offset))
		return VIRTIO_BLK_S_IOERR;
	if (len == 0)
		return VIRTIO_BLK_S_OK;
	request = new_request(blk, REQUEST_TRIM, status);
	request->offset = offset;
	request->remaining = len;
	request->trim_mode = FALLOC_FL_KEEP_SIZE |
			     (zero && !flags ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE);
	start(request);
	return IN_FLIGHT;
}

static int do_request(struct blk *blk, uint8_t *status, uint32_t *written)
{
	struct virtio_blk_outhdr header;

	vq_copy_out(&blk->chain, 0, &header, sizeof(header));
	switch (le32toh(header.type)) {
	case VIRTIO_BLK_T_IN:
		return do_transfer(blk, REQUEST_READ, le64toh(header.sector), status);
	case VIRTIO_BLK_T_OUT:
		return do_transfer(blk, REQUEST_WRITE, le64toh(header.sector), status);
	case VIRTIO_BLK_T_FLUSH:
		return do_flush(blk, status);
	case VIRTIO_BLK_T_GET_ID:
		*written = (uint32_t)vq_copy_in(&blk->chain, 0, blk->serial, sizeof(blk->serial));
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_DISCARD:
		return do_trim(blk, false, status);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return do_trim(blk, true, status);
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
static int handle_chain(struct blk *blk)
{
	uint16_t head = blk->chain.head;
	uint32_t written = 0;
	uint8_t *status;
	int result;

	if (blk->chain.in_len < 1 || blk->chain.out_len < sizeof(struct virtio_blk_outhdr))
		return -EBADMSG;
	status = take_status(&blk->chain);
	result = do_request(blk, status, &written);
	if (result != IN_FLIGHT)
		complete(blk, head, status, (uint8_t)result, written);
	return 0;
}

/* Starts requests: 1 when the queue is empty, 0 when more may come, negative when it is broken. */
static int serve(struct blk *blk, struct vq *vq)
{
	uint64_t bytes = 0;

	for (unsigned n = 0; n < vq->size && bytes < TURN_BYTES_MAX; n++) {
		int r = vq_pop(vq, &blk->chain);

		if (r <= 0)
			return r < 0 ? r : 1;
		bytes += (uint64_t)blk->chain.in_len + blk->chain.out_len;
		r = handle_chain(blk);
		if (r < 0)
			return r;
	}
	return 0;
}

static void kick(struct virtio_dev *dev, unsigned queue)
{
	struct vq *vq = &dev->queues[queue];
	int r;

	vq_no_kicks(vq);
	r = serve(from_dev(dev), vq);
	if (r < 0)
		virtio_dev_broken(dev, "a request without header or status, or its queue");
	else if (r == 0 || vq_want_kicks(vq))
		dev->kick_again(dev, queue);
}

static void reset(struct virtio_dev *dev, void (*drained)(void *user), void *user)
{
	struct blk *blk = from_dev(dev);
	unsigned n = dev->queues[0].size;

	blk->resetting = true;
	blk->drained = drained;
	blk->drained_user = user;
	/* What cannot be cancelled any more ends by itself: it is I/O on files. */
	for (unsigned i = 0; i < n; i++)
		if (blk->requests[i].busy && !blk->requests[i].deferred)
			loop_cancel(blk->loop, &blk->requests[i].op);
	maybe_drained(blk);
}

static void destroy(struct virtio_dev *dev)
{
	struct blk *blk = from_dev(dev);

	loop_slot_remove(blk->loop, blk->slot);
	free(blk->requests);
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
	.destroy = destroy,
};

static uint64_t features_of(bool read_only, bool can_trim)
{
	uint64_t features =
		UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC |
		UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX | UINT64_C(1) << VIRTIO_BLK_F_SEG_MAX |
		UINT64_C(1) << VIRTIO_BLK_F_BLK_SIZE | UINT64_C(1) << VIRTIO_BLK_F_TOPOLOGY |
		UINT64_C(1) << VIRTIO_BLK_F_FLUSH;

	if (read_only)
		features |= UINT64_C(1) << VIRTIO_BLK_F_RO;
	else if (can_trim)
		features |= UINT64_C(1) << VIRTIO_BLK_F_DISCARD |
			    UINT64_C(1) << VIRTIO_BLK_F_WRITE_ZEROES;
	return features;
}

int virtio_blk_new(struct virtio_dev **out, struct loop *loop, int fd, bool read_only,
		   const char *serial)
{
	size_t serial_len = strlen(serial);
	struct stat st;
	struct blk *blk;
	off_t size;

	if (serial_len == 0 || serial_len > VIRTIO_BLK_SERIAL_MAX)
		return -EINVAL;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return -EINVAL;
	size = S_ISREG(st.st_mode) ? st.st_size : lseek(fd, 0, SEEK_END);
	if (size < (off_t)SECTOR)
		return -EINVAL;
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return -ENOMEM;
	blk->slot = loop_slot_add(loop, fd);
	if (blk->slot < 0) {
		int r = blk->slot;

		free(blk);
		return r;
	}
	blk->dev.ops = &blk_ops;
	blk->dev.n_queues = 1;
	blk->dev.queue_size_max = QUEUE_SIZE;
	blk->dev.offered = features_of(read_only, S_ISREG(st.st_mode));
	blk->loop = loop;
	blk->read_only = read_only;
	blk->capacity = (uint64_t)size / SECTOR * SECTOR;
	memcpy(blk->serial, serial, serial_len);
	blk->flush_op.done = on_flush;
	*out = &blk->dev;
	return 0;
}

uint64_t virtio_blk_size(const struct virtio_dev *dev)
{
	_Static_assert(offsetof(struct blk, dev) == 0, "a cast that keeps the const");
	return ((const struct blk *)(const void *)dev)->capacity;
}
