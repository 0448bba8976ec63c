// SPDX-License-Identifier: Apache-2.0
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/poll_ring.h"
#include "base/ring.h"
#include "base/util.h"

#define ENTRIES_MAX  4096
#define DEFER_ROUNDS 8 /* of operations that defer themselves again, in one turn */

struct loop {
	struct ring ring;
	struct loop_op *deferred;
	struct loop_op **deferred_tail;
	struct loop_op *lasting; /* under way, and perhaps for long */
	struct loop_op *again;	 /* ended by restart_lasting(), not started again yet */
	bool file_removed;
	bool stopping;
	unsigned n_slots;
	unsigned next_free;
	uint8_t slot_used[];
};

/* Completions of cancel requests carry this address: nobody waits for them. */
static struct loop_op nobody;

static int make(struct loop **out, unsigned entries, unsigned slots, bool always_poll)
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
	r = ring_init(&loop->ring, entries, slots, always_poll);
	if (r < 0) {
		free(loop);
		return r;
	}
	*out = loop;
	return 0;
}

int loop_new(struct loop **out, unsigned entries, unsigned slots)
{
	return make(out, entries, slots, false);
}

int loop_new_polling(struct loop **out, unsigned entries, unsigned slots)
{
	return make(out, entries, slots, true);
}

bool loop_is_polling(const struct loop *loop)
{
	return loop->ring.poll;
}

struct loop_state loop_state(const struct loop *loop)
{
	struct loop_state state = {.polling = loop_is_polling(loop),
				   .n_slots = loop->n_slots,
				   .n_under_way = ring_under_way(&loop->ring)};

	for (unsigned i = 0; i < loop->n_slots; i++)
		state.n_slots_used += loop->slot_used[i];
	return state;
}

int loop_start_workers(struct loop *loop, int (*confine)(void))
{
	return loop->ring.poll ? poll_ring_start_workers(loop->ring.poll, confine) : 0;
}

struct loop *loop_free(struct loop *loop)
{
	if (!loop)
		return NULL;
	ring_exit(&loop->ring);
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
		r = ring_set_file(&loop->ring, slot, fd);
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
	if (slot < 0)
		return;
	assert((unsigned)slot < loop->n_slots && loop->slot_used[slot]);
	/* Operations prepared in this turn still mean the old file: hand them to the kernel before
	 * it goes. */
	ring_submit(&loop->ring);
	ring_set_file(&loop->ring, (unsigned)slot, -1);
	loop->slot_used[slot] = 0;
	loop->file_removed = !loop_is_polling(loop);
}

static struct io_uring_sqe *next_sqe(struct loop *loop)
{
	struct io_uring_sqe *sqe = ring_get_entry(&loop->ring);

	if (sqe)
		return sqe;
	ring_submit(&loop->ring);
	return ring_get_entry(&loop->ring);
}

static void link_lasting(struct loop *loop, struct loop_op *op)
{
	op->lasting_next = loop->lasting;
	if (op->lasting_next)
		op->lasting_next->lasting_prev = &op->lasting_next;
	op->lasting_prev = &loop->lasting;
	loop->lasting = op;
}

static void unlink_lasting(struct loop_op *op)
{
	if (!op->lasting_prev)
		return;
	*op->lasting_prev = op->lasting_next;
	if (op->lasting_next)
		op->lasting_next->lasting_prev = op->lasting_prev;
	op->lasting_prev = NULL;
}

static void start(struct loop_op *op, struct io_uring_sqe *sqe)
{
	io_uring_sqe_set_data(sqe, op);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	op->lasting_prev = NULL;
	op->cancelled = op->restarting = false;
}

static void start_lasting(struct loop *loop, struct loop_op *op, struct io_uring_sqe *sqe)
{
	static_assert(sizeof(*sqe) == sizeof(op->request), "an entry of the plain size");

	start(op, sqe);
	memcpy(op->request, sqe, sizeof(*sqe));
	link_lasting(loop, op);
}

#define PREPARE(loop, op, lasts, prep, ...)                                                        \
	({                                                                                         \
		struct io_uring_sqe *sqe_ = next_sqe(loop);                                        \
		int r_ = -EAGAIN;                                                                  \
		if (sqe_) {                                                                        \
			prep(sqe_, ##__VA_ARGS__);                                                 \
			if (lasts)                                                                 \
				start_lasting(loop, op, sqe_);                                     \
			else                                                                       \
				start(op, sqe_);                                                   \
			r_ = 0;                                                                    \
		}                                                                                  \
		r_;                                                                                \
	})

int loop_read(struct loop *loop, struct loop_op *op, int slot, void *buf, uint32_t len,
	      uint64_t off)
{
	return PREPARE(loop, op, true, io_uring_prep_read, slot, buf, len, off);
}

int loop_write(struct loop *loop, struct loop_op *op, int slot, const void *buf, uint32_t len,
	       uint64_t off)
{
	return PREPARE(loop, op, true, io_uring_prep_write, slot, buf, len, off);
}

int loop_pread(struct loop *loop, struct loop_op *op, int slot, void *buf, uint32_t len,
	       uint64_t off)
{
	return PREPARE(loop, op, false, io_uring_prep_read, slot, buf, len, off);
}

int loop_pwrite(struct loop *loop, struct loop_op *op, int slot, const void *buf, uint32_t len,
		uint64_t off)
{
	return PREPARE(loop, op, false, io_uring_prep_write, slot, buf, len, off);
}

int loop_readv(struct loop *loop, struct loop_op *op, int slot, const struct iovec *iov, unsigned n,
	       uint64_t off)
{
	return PREPARE(loop, op, false, io_uring_prep_readv, slot, iov, n, off);
}

int loop_writev(struct loop *loop, struct loop_op *op, int slot, const struct iovec *iov,
		unsigned n, uint64_t off)
{
	return PREPARE(loop, op, false, io_uring_prep_writev, slot, iov, n, off);
}

int loop_fsync(struct loop *loop, struct loop_op *op, int slot, bool data_only)
{
	return PREPARE(loop, op, false, io_uring_prep_fsync, slot,
		       data_only ? IORING_FSYNC_DATASYNC : 0);
}

int loop_fallocate(struct loop *loop, struct loop_op *op, int slot, int mode, uint64_t off,
		   uint64_t len)
{
	return PREPARE(loop, op, false, io_uring_prep_fallocate, slot, mode, (off_t)off,
		       (off_t)len);
}

int loop_recv(struct loop *loop, struct loop_op *op, int slot, void *buf, size_t len, int flags)
{
	return PREPARE(loop, op, true, io_uring_prep_recv, slot, buf, len, flags);
}

int loop_send(struct loop *loop, struct loop_op *op, int slot, const void *buf, size_t len,
	      int flags)
{
	return PREPARE(loop, op, true, io_uring_prep_send, slot, buf, len, flags);
}

int loop_poll(struct loop *loop, struct loop_op *op, int slot, uint32_t events)
{
	return PREPARE(loop, op, true, io_uring_prep_poll_add, slot, events);
}

int loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns)
{
	timer->at.tv_sec = (int64_t)(deadline_ns / NS_PER_S);
	timer->at.tv_nsec = (long long)(deadline_ns % NS_PER_S);
	return PREPARE(loop, &timer->op, false, io_uring_prep_timeout, &timer->at, 0,
		       IORING_TIMEOUT_ABS);
}

static void cancel(struct io_uring_sqe *sqe, struct loop_op *op)
{
	io_uring_prep_cancel(sqe, op, 0);
	io_uring_sqe_set_data(sqe, &nobody);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
}

int loop_cancel(struct loop *loop, struct loop_op *op)
{
	/* TIMEOUT_REMOVE refuses FIXED_FILE, which the restriction demands; ASYNC_CANCEL ends
	 * timeouts as well. */
	struct io_uring_sqe *sqe = next_sqe(loop);

	op->cancelled = true;
	if (!sqe)
		return -EAGAIN;
	cancel(sqe, op);
	return 0;
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

/* Ends what has been under way since before a file was removed, for the ring to let go of that. */
static void restart_lasting(struct loop *loop)
{
	for (struct loop_op *op = loop->lasting; op && loop->file_removed; op = op->lasting_next) {
		struct io_uring_sqe *sqe = next_sqe(loop);

		if (!sqe)
			return; /* all of it, next turn */
		op->restarting = true;
		cancel(sqe, op);
	}
	loop->file_removed = false;
}

/* Starts again what restart_lasting() ended, but for what its owner cancelled meanwhile. */
static void run_again(struct loop *loop)
{
	struct loop_op *op = loop->again, *next;

	loop->again = NULL;
	for (; op; op = next) {
		struct io_uring_sqe *sqe = op->cancelled ? NULL : next_sqe(loop);

		next = op->next;
		if (op->cancelled) {
			op->done(op, -ECANCELED, 0);
		} else if (sqe) {
			memcpy(sqe, op->request, sizeof(*sqe));
			op->restarting = false;
			link_lasting(loop, op);
		} else {
			op->next = loop->again;
			loop->again = op;
		}
	}
}

static void complete(struct loop *loop, struct loop_op *op, int res, uint32_t flags)
{
	unlink_lasting(op);
	if (op->restarting && !op->cancelled && (res == -ECANCELED || res == -EINTR)) {
		op->next = loop->again;
		loop->again = op;
	} else {
		op->done(op, res, flags);
	}
}

static void run_completions(struct loop *loop)
{
	struct ring_completion done;
	unsigned budget = 256;

	/* Each is taken before its done() runs: done() may start operations that need the room. */
	while (budget-- && ring_next(&loop->ring, &done))
		if (done.user != &nobody)
			complete(loop, done.user, done.res, done.flags);
}

int loop_run(struct loop *loop)
{
	loop->stopping = false;
	for (;;) {
		int r;

		run_again(loop);
		run_deferred(loop);
		if (loop->stopping)
			return 0;
		if (loop->file_removed)
			restart_lasting(loop);
		r = loop->deferred || loop->again || loop->file_removed
			    ? ring_submit(&loop->ring)
			    : ring_submit_and_wait(&loop->ring);
		if (r < 0 && r != -EINTR && r != -EBUSY && r != -EAGAIN)
			return r;
		run_completions(loop);
	}
}

void loop_stop(struct loop *loop)
{
	loop->stopping = true;
}
