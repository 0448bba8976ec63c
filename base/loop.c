// SPDX-License-Identifier: Apache-2.0
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"

#define ENTRIES_MAX  4096
#define DEFER_ROUNDS 8 /* of operations that defer themselves again, in one turn */

struct loop {
	struct io_uring ring;
	struct loop_op *deferred;
	struct loop_op **deferred_tail;
	bool stopping;
	bool ring_made;
	unsigned n_slots;
	unsigned next_free;
	uint8_t slot_used[];
};

/* Completions of cancel requests carry this address: nobody waits for them. */
static struct loop_op nobody;

static const uint8_t allowed_ops[] = {
	IORING_OP_READ,	    IORING_OP_WRITE,	 IORING_OP_READV,	 IORING_OP_WRITEV,
	IORING_OP_FSYNC,    IORING_OP_FALLOCATE, IORING_OP_RECV,	 IORING_OP_SEND,
	IORING_OP_POLL_ADD, IORING_OP_TIMEOUT,	 IORING_OP_ASYNC_CANCEL,
};

static int restrict_ring(struct io_uring *ring)
{
	struct io_uring_restriction rules[ARRAY_SIZE(allowed_ops) + 3];
	unsigned n = 0;

	memset(rules, 0, sizeof(rules));
	for (unsigned i = 0; i < ARRAY_SIZE(allowed_ops); i++)
		rules[n++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_OP,
							   .sqe_op = allowed_ops[i]};
	rules[n++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED,
						   .sqe_flags = IOSQE_FIXED_FILE};
	rules[n++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_REGISTER_OP,
						   .register_op = IORING_REGISTER_FILES_UPDATE};
	rules[n++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_REGISTER_OP,
						   .register_op = IORING_REGISTER_FILES_UPDATE2};
	return io_uring_register_restrictions(ring, rules, n);
}

/* The newer flags save interrupts and locks; a kernel that lacks them gives the plain ring. */
static int make_ring(struct io_uring *ring, unsigned entries)
{
	const unsigned flags[] = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN, 0};
	int r = -EINVAL;

	for (unsigned i = 0; i < ARRAY_SIZE(flags) && r == -EINVAL; i++) {
		struct io_uring_params params = {.flags = flags[i] | IORING_SETUP_R_DISABLED |
							  IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE,
						 .cq_entries = entries * 4};

		r = io_uring_queue_init_params(entries, ring, &params);
	}
	return r;
}

int loop_new(struct loop **out, unsigned entries, unsigned slots)
{
	struct loop *loop;
	int r;

	if (!is_power_of_two(entries) || entries > ENTRIES_MAX || slots == 0)
		return -EINVAL;
	loop = calloc(1, sizeof(*loop) + slots);
	if (!loop)
		return -ENOMEM;
	loop->n_slots = slots;
	loop->deferred_tail = &loop->deferred;
	r = make_ring(&loop->ring, entries);
	if (r == 0) {
		loop->ring_made = true;
		r = io_uring_register_files_sparse(&loop->ring, slots);
	}
	if (r == 0)
		r = restrict_ring(&loop->ring);
	if (r == 0)
		r = io_uring_enable_rings(&loop->ring);
	if (r < 0) {
		loop_free(loop);
		return r;
	}
	*out = loop;
	return 0;
}

struct loop *loop_free(struct loop *loop)
{
	if (!loop)
		return NULL;
	if (loop->ring_made)
		io_uring_queue_exit(&loop->ring);
	free(loop);
	return NULL;
}

int loop_slot_add(struct loop *loop, int fd)
{
	for (unsigned i = 0; i < loop->n_slots; i++) {
		unsigned slot = (loop->next_free + i) % loop->n_slots;
		int r;

		if (loop->slot_used[slot])
			continue;
		r = io_uring_register_files_update(&loop->ring, slot, &fd, 1);
		if (r < 0)
			return r;
		loop->slot_used[slot] = 1;
		loop->next_free = slot + 1;
		return (int)slot;
	}
	return -ENOSPC;
}

void loop_slot_remove(struct loop *loop, int slot)
{
	int none = -1;

	if (slot < 0)
		return;
	assert((unsigned)slot < loop->n_slots && loop->slot_used[slot]);
	/* Operations prepared in this turn still mean the old file: hand them to the kernel before
	 * it goes. */
	io_uring_submit(&loop->ring);
	io_uring_register_files_update(&loop->ring, (unsigned)slot, &none, 1);
	loop->slot_used[slot] = 0;
}

static struct io_uring_sqe *next_sqe(struct loop *loop)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);

	if (sqe)
		return sqe;
	io_uring_submit(&loop->ring);
	return io_uring_get_sqe(&loop->ring);
}

static int start(struct loop_op *op, struct io_uring_sqe *sqe)
{
	io_uring_sqe_set_data(sqe, op);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	return 0;
}

#define PREPARE(loop, op, prep, ...)                                                               \
	({                                                                                         \
		struct io_uring_sqe *sqe_ = next_sqe(loop);                                        \
		int r_ = -EAGAIN;                                                                  \
		if (sqe_) {                                                                        \
			prep(sqe_, ##__VA_ARGS__);                                                 \
			r_ = start(op, sqe_);                                                      \
		}                                                                                  \
		r_;                                                                                \
	})

int loop_read(struct loop *loop, struct loop_op *op, int slot, void *buf, uint32_t len,
	      uint64_t off)
{
	return PREPARE(loop, op, io_uring_prep_read, slot, buf, len, off);
}

int loop_write(struct loop *loop, struct loop_op *op, int slot, const void *buf, uint32_t len,
	       uint64_t off)
{
	return PREPARE(loop, op, io_uring_prep_write, slot, buf, len, off);
}

int loop_readv(struct loop *loop, struct loop_op *op, int slot, const struct iovec *iov, unsigned n,
	       uint64_t off)
{
	return PREPARE(loop, op, io_uring_prep_readv, slot, iov, n, off);
}

int loop_writev(struct loop *loop, struct loop_op *op, int slot, const struct iovec *iov,
		unsigned n, uint64_t off)
{
	return PREPARE(loop, op, io_uring_prep_writev, slot, iov, n, off);
}

int loop_fsync(struct loop *loop, struct loop_op *op, int slot, bool data_only)
{
	return PREPARE(loop, op, io_uring_prep_fsync, slot, data_only ? IORING_FSYNC_DATASYNC : 0);
}

int loop_fallocate(struct loop *loop, struct loop_op *op, int slot, int mode, uint64_t off,
		   uint64_t len)
{
	return PREPARE(loop, op, io_uring_prep_fallocate, slot, mode, (off_t)off, (off_t)len);
}

int loop_recv(struct loop *loop, struct loop_op *op, int slot, void *buf, size_t len, int flags)
{
	return PREPARE(loop, op, io_uring_prep_recv, slot, buf, len, flags);
}

int loop_send(struct loop *loop, struct loop_op *op, int slot, const void *buf, size_t len,
	      int flags)
{
	return PREPARE(loop, op, io_uring_prep_send, slot, buf, len, flags);
}

int loop_poll(struct loop *loop, struct loop_op *op, int slot, uint32_t events)
{
	return PREPARE(loop, op, io_uring_prep_poll_add, slot, events);
}

int loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns)
{
	timer->at.tv_sec = (int64_t)(deadline_ns / NS_PER_S);
	timer->at.tv_nsec = (long long)(deadline_ns % NS_PER_S);
	return PREPARE(loop, &timer->op, io_uring_prep_timeout, &timer->at, 0, IORING_TIMEOUT_ABS);
}

int loop_cancel(struct loop *loop, struct loop_op *op)
{
	/* TIMEOUT_REMOVE refuses FIXED_FILE, which the restriction demands; ASYNC_CANCEL ends
	 * timeouts as well. */
	return PREPARE(loop, &nobody, io_uring_prep_cancel, op, 0);
}

void loop_defer(struct loop *loop, struct loop_op *op)
{
	op->next = NULL;
	*loop->deferred_tail = op;
	loop->deferred_tail = &op->next;
}

/* Whoever waits for room in the rings defers himself again and again: completions must get their
 * turn in between. */
static void run_deferred(struct loop *loop)
{
	for (unsigned round = 0; loop->deferred && round < DEFER_ROUNDS; round++) {
		struct loop_op *op = loop->deferred, *next;

		loop->deferred = NULL;
		loop->deferred_tail = &loop->deferred;
		for (; op; op = next) {
			next = op->next;
			op->done(op, 0, 0);
		}
	}
}

static void run_completions(struct loop *loop)
{
	struct io_uring_cqe *cqe;
	unsigned budget = 256;

	/* Each entry is given back before its done() runs: done() may start operations that need
	 * the room. */
	while (budget-- && io_uring_peek_cqe(&loop->ring, &cqe) == 0) {
		struct loop_op *op = io_uring_cqe_get_data(cqe);
		uint32_t flags = cqe->flags;
		int res = cqe->res;

		io_uring_cqe_seen(&loop->ring, cqe);
		if (op != &nobody)
			op->done(op, res, flags);
	}
}

int loop_run(struct loop *loop)
{
	loop->stopping = false;
	for (;;) {
		int r;

		run_deferred(loop);
		if (loop->stopping)
			return 0;
		r = io_uring_submit_and_wait(&loop->ring, loop->deferred ? 0 : 1);
		if (r < 0 && r != -EINTR && r != -EBUSY && r != -EAGAIN)
			return r;
		run_completions(loop);
	}
}

void loop_stop(struct loop *loop)
{
	loop->stopping = true;
}
