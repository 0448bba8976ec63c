// SPDX-License-Identifier: Apache-2.0
/*
 * The inside of virtio-blk, for blk.c (the device: queues, resets, what a chain asks for) and
 * blk_request.c (a request from its start to its end). A request belongs to one queue and one file;
 * its queue ends it by blk_request_ended(). Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/blk.h"
#include "virtio/blk_file.h"
#include "virtio/pace.h"

/* Segments that most requests have at most; for more there is memory of their own. */
#define BLK_OWN_SEGMENTS 8u

enum blk_kind { BLK_READ, BLK_WRITE, BLK_SYNC, BLK_DISCARD, BLK_ZERO };

enum blk_state {
	BLK_FREE,
	BLK_RUNNING,  /* its operation is under way */
	BLK_DEFERRED, /* waits for room in the loop */
	BLK_WAITING   /* for its turn: by the rate limit, or with the buffer */
};

struct blk_request {
	struct loop_op op;
	struct blk_queue *queue;
	struct blk_file *file;
	struct blk_request *next; /* while free, or waiting for the buffer */
	enum blk_kind kind;
	enum blk_state state;
	bool uneven;	 /* its memory is not aligned as the file wants: through the buffer */
	bool other_mode; /* the first way to discard or zero failed */
	bool unmap;
	uint16_t head;
	uint8_t *status;	    /* guest memory */
	uint32_t written;	    /* bytes into guest memory, without the status */
	uint64_t offset, remaining; /* bytes, of the file and of the request */
	unsigned iov_at, n_iov;	    /* iov[iov_at, n_iov) is still to do */
	unsigned n_op;		    /* segments of the operation under way */
	size_t cut;		    /* by so much its last segment was shortened */
	struct iovec *iov;	    /* own, or allocated */
	struct iovec own[BLK_OWN_SEGMENTS];
};

struct blk_slab;

struct blk_counters {
	uint64_t reads, writes, flushes, discards, bytes_read, bytes_written, errors, throttled;
};

/* Requests of one device, as many as were ever in flight at once; the last used comes first. */
struct blk_pool {
	struct blk_slab *slabs;
	struct blk_request *free;
};

/* One buffer a device for memory that direct I/O cannot use, and who waits for it. */
struct blk_bounce {
	uint8_t *memory; /* made when it is needed first */
	struct blk_request *owner;
	struct blk_request *waiting, **waiting_tail;
};

struct blk_queue {
	struct blk *blk;
	unsigned index;
	unsigned n_busy; /* requests that have not ended */
	struct loop_op flush_op;
	bool flush_pending;
	bool starved; /* not looked at as the rate limit held requests back */
	bool quiet;   /* the driver does not notify: the next completions look at the ring */
	bool prompt;  /* what was taken last had ended before the next came: a disk without delay */
	struct pace pace;
	bool stopping;
	void (*drained)(void *user); /* of a reset of this queue */
	void *drained_user;
};

struct blk {
	struct virtio_dev dev;
	struct loop *loop;
	struct blk_file *file;
	bool read_only, direct;
	bool revoked;	   /* for good: nothing is asked of the file any more */
	uint32_t block;	   /* bytes, as the guest was told */
	uint64_t capacity; /* bytes, a multiple of block */
	uint8_t serial[VIRTIO_BLK_SERIAL_MAX];
	struct blk_pool pool;
	struct blk_bounce bounce;
	struct blk_counters counters;
	struct rate_limit limit;
	bool limited;
	struct blk_request *held; /* by the rate limit; meanwhile nothing is popped */
	unsigned first;		  /* queues take turns at what the limit lets pass */
	void (*drained)(void *user);
	void *drained_user;
	struct blk_queue queues[VIRTIO_BLK_QUEUES_MAX];
	struct vq_chain chain; /* the one being looked at */
};

/*
 * A request for a head of a queue, on the disk's present file; status is where its end is to be
 * written. NULL without memory. It has no segments.
 */
struct blk_request *blk_request_new(struct blk_queue *queue, enum blk_kind kind, uint16_t head,
				    uint8_t *status);

/* Copies the segments, from byte `skip` on. 0 or -ENOMEM. */
int blk_request_set_segments(struct blk_request *request, const struct iovec *iov, unsigned n,
			     size_t skip);

/* Frees a request that was not started. */
void blk_request_free(struct blk_request *request);

/* Starts it: blk_request_ended() follows, at once if there is no memory or the disk is revoked. */
void blk_request_start(struct blk_request *request);

/* blk.c's: it has ended, with a status of virtio-blk. Frees it. */
void blk_request_ended(struct blk_request *request, uint8_t status);

/* Ends the requests of a queue, which is stopping or whose disk is revoked, as soon as can be. */
void blk_requests_cancel(struct blk_queue *queue);

/* Whether any request is going to write to memory that the guest has no more. */
bool blk_requests_write_unplugged(const struct blk *blk, const struct mem *mem);

/* Frees the memory of requests, none of which is in use. */
void blk_requests_drop(struct blk *blk);
