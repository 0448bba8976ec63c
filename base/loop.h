// SPDX-License-Identifier: Apache-2.0
/*
 * The event loop over io_uring, or what stands in for it (base/ring.h). One thread creates it, runs
 * it and calls every function here; nothing is locked.
 *
 * Descriptors are registered into slots, and every operation names a slot: the ring is created
 * disabled, restricted to the operations below on registered files, and then enabled, because
 * seccomp cannot see what a ring does. An operation is embedded in its owner, which must outlive
 * it: done() runs exactly once for each operation that was started with return value 0
 * (loop_cancel() included), never from inside the call that started it. Inside done() the operation
 * is free again and may be started anew or its owner freed.
 *
 * All that was started during one turn is submitted by the one io_uring_enter(2) that also waits
 * for the next turn.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <linux/time_types.h>

struct loop;

struct loop_op {
	/* res: result or negative errno of the operation (-ECANCELED after loop_cancel()). */
	void (*done)(struct loop_op *op, int res, uint32_t cqe_flags);
	struct loop_op *next; /* the loop's, while deferred */
	/* The loop's, while it may last (see loop_slot_remove()). */
	struct loop_op *lasting_next, **lasting_prev;
	uint64_t request[8]; /* what started it */
	bool cancelled, restarting;
};

/* A loop_op with the room for its deadline. */
struct loop_timer {
	struct loop_op op;
	struct __kernel_timespec at;
};

/*
 * Makes a loop with a submission queue of `entries` (a power of two ≤ 4096) and `slots` places for
 * descriptors. Where the host has disabled io_uring, poll(2) and a few threads do the same, slower.
 * loop_new_polling() does so on every host. Returns 0 or a negative errno. loop_free() ends it;
 * operations under way are abandoned, so their buffers must outlive the call.
 */
int loop_new(struct loop **out, unsigned entries, unsigned slots);
int loop_new_polling(struct loop **out, unsigned entries, unsigned slots);
bool loop_is_polling(const struct loop *loop);
struct loop *loop_free(struct loop *loop); /* always NULL */

/*
 * Registers a borrowed descriptor; the kernel holds its own reference from here on, so the caller
 * may close it. Returns the slot (≥ 0), -ENOSPC when all are taken, or a negative errno.
 */
int loop_slot_add(struct loop *loop, int fd);

/*
 * Frees a slot. Cancel or await what is under way on it before. Negative slots are ignored. Up to
 * Linux 6.12 a ring lets go of a removed file only when every operation that is older than the
 * removal has ended, on whatever slot; so reads, writes, sends, receives and polls under way are
 * ended and started again by the loop, which their owners do not notice. The file is then closed
 * within about a second.
 */
void loop_slot_remove(struct loop *loop, int slot);

/*
 * Start one operation: 0, or -EAGAIN when the submission queue is full even after a submit. off is
 * a file offset, or (uint64_t)-1 for "the current position" (sockets, pipes, eventfds). Buffers and
 * iovecs stay the caller's until done().
 */
int loop_read(struct loop *loop, struct loop_op *op, int slot, void *buf, uint32_t len,
	      uint64_t off);
int loop_write(struct loop *loop, struct loop_op *op, int slot, const void *buf, uint32_t len,
	       uint64_t off);
/* The same for files and block devices, where nothing lasts: cheaper. */
int loop_pread(struct loop *loop, struct loop_op *op, int slot, void *buf, uint32_t len,
	       uint64_t off);
int loop_pwrite(struct loop *loop, struct loop_op *op, int slot, const void *buf, uint32_t len,
		uint64_t off);
int loop_readv(struct loop *loop, struct loop_op *op, int slot, const struct iovec *iov, unsigned n,
	       uint64_t off);
int loop_writev(struct loop *loop, struct loop_op *op, int slot, const struct iovec *iov,
		unsigned n, uint64_t off);
int loop_fsync(struct loop *loop, struct loop_op *op, int slot, bool data_only);
int loop_fallocate(struct loop *loop, struct loop_op *op, int slot, int mode, uint64_t off,
		   uint64_t len);
int loop_recv(struct loop *loop, struct loop_op *op, int slot, void *buf, size_t len, int flags);
int loop_send(struct loop *loop, struct loop_op *op, int slot, const void *buf, size_t len,
	      int flags);

/* Waits once for any of the poll(2) events; done() gets the events that are there. */
int loop_poll(struct loop *loop, struct loop_op *op, int slot, uint32_t events);

/* Ends at deadline_ns of the monotonic clock with res = -ETIME. */
int loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns);

/* Asks to end an operation early; its done() still runs, once, with -ECANCELED or with its result
 * if that came first. */
int loop_cancel(struct loop *loop, struct loop_op *op);

/*
 * Starts what threads the loop will ever have, before any operation on a file; each calls confine()
 * first, and this returns when all have. Without it they are started when they are needed. Returns
 * 0 (a loop on io_uring has none), or a negative errno: confine()'s, or -EAGAIN.
 */
int loop_start_workers(struct loop *loop, int (*confine)(void));

/*
 * Runs done(op, 0, 0) at the end of this turn, before the submission: the place to publish a batch.
 * Deferring an op that is deferred already is a bug of the caller. Deferring again from done() is
 * how to wait for room after -EAGAIN: completions are handled in between.
 */
void loop_defer(struct loop *loop, struct loop_op *op);

/* Runs turns until loop_stop(). Returns 0 or a negative errno of io_uring_enter(2). */
int loop_run(struct loop *loop);

/* What a loop is made of and does, for people who look at it. */
struct loop_state {
	bool polling; /* without io_uring */
	unsigned n_slots, n_slots_used;
	unsigned n_under_way; /* operations, cancellations included; not those deferred */
};
struct loop_state loop_state(const struct loop *loop);

/* Makes loop_run() return after the present turn. */
void loop_stop(struct loop *loop);
