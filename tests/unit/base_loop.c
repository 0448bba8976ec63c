// SPDX-License-Identifier: Apache-2.0
/* The event loop: each operation ends once, cancelled or not; slots come back; deferred work runs
 * at the end of its turn. */
#include "tests/unit/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"
#include "base/util.h"

/* Built twice: for the loop that the host offers, and for its fallback. */
#ifndef LOOP_NEW
#define LOOP_NEW loop_new
#endif

UNIT_SUITE(loop);

struct counted {
	struct loop_timer timer; /* its op serves for other operations too */
	struct loop *loop;
	int res;
	unsigned ended;
	bool stops;
};

static void ended(struct loop_op *op, int res, uint32_t flags)
{
	struct counted *counted = container_of(op, struct counted, timer.op);

	(void)flags;
	counted->res = res;
	counted->ended++;
	if (counted->stops)
		loop_stop(counted->loop);
}

static struct counted counted_in(struct loop *loop, bool stops)
{
	return (struct counted){.loop = loop, .timer.op.done = ended, .stops = stops};
}

Test(loop, reads_and_writes_through_slots)
{
	struct loop *loop;
	struct counted in, out;
	char got[8] = "";
	int pipe_ends[2], slots[2];

	cr_assert_eq(LOOP_NEW(&loop, 8, 4), 0);
	in = counted_in(loop, true);
	out = counted_in(loop, false);
	cr_assert_eq(pipe(pipe_ends), 0);
	for (unsigned i = 0; i < 2; i++) {
		slots[i] = loop_slot_add(loop, pipe_ends[i]);
		cr_assert_geq(slots[i], 0);
		close(pipe_ends[i]);
	}
	cr_assert_eq(loop_read(loop, &in.timer.op, slots[0], got, sizeof(got), (uint64_t)-1), 0);
	cr_assert_eq(loop_write(loop, &out.timer.op, slots[1], "hello", 5, (uint64_t)-1), 0);
	cr_assert_eq(loop_run(loop), 0);
	cr_assert_eq(in.res, 5);
	cr_assert_eq(out.ended, 1);
	cr_assert_str_eq(got, "hello");
	loop_free(loop);
}

Test(loop, cancelling_ends_an_operation_once)
{
	struct loop *loop;
	struct counted poll_op, timer, stopper;
	int pipe_ends[2];

	cr_assert_eq(LOOP_NEW(&loop, 8, 4), 0);
	poll_op = counted_in(loop, false);
	timer = counted_in(loop, false);
	stopper = counted_in(loop, true);
	cr_assert_eq(pipe(pipe_ends), 0);
	cr_assert_eq(loop_poll(loop, &poll_op.timer.op, loop_slot_add(loop, pipe_ends[0]), POLLIN),
		     0);
	cr_assert_eq(loop_timer_start(loop, &timer.timer, clock_now_ns() + 100 * NS_PER_S), 0);
	cr_assert_eq(loop_cancel(loop, &poll_op.timer.op), 0);
	cr_assert_eq(loop_cancel(loop, &timer.timer.op), 0);
	cr_assert_eq(loop_timer_start(loop, &stopper.timer, clock_now_ns() + 20 * NS_PER_MS), 0);
	cr_assert_eq(loop_run(loop), 0);
	cr_assert_eq(poll_op.ended, 1);
	cr_assert_eq(poll_op.res, -ECANCELED);
	cr_assert_eq(timer.ended, 1);
	cr_assert_eq(timer.res, -ECANCELED);
	cr_assert_eq(stopper.res, -ETIME);
	loop_free(loop);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

Test(loop, tells_what_it_does)
{
	struct counted polls[3], timer;
	struct loop_state state;
	struct loop *loop;
	int pipe_ends[2], slot;

	cr_assert_eq(LOOP_NEW(&loop, 8, 4), 0);
	timer = counted_in(loop, true);
	cr_assert_eq(pipe(pipe_ends), 0);
	slot = loop_slot_add(loop, pipe_ends[0]);
	for (unsigned i = 0; i < 3; i++) {
		polls[i] = counted_in(loop, false);
		cr_assert_eq(loop_poll(loop, &polls[i].timer.op, slot, POLLIN), 0);
	}
	state = loop_state(loop);
	cr_expect_eq(state.polling, loop_is_polling(loop));
	cr_expect_eq(state.n_slots, 4);
	cr_expect_eq(state.n_slots_used, 1);
	cr_expect_eq(state.n_under_way, 3);
	cr_assert_eq(write(pipe_ends[1], "x", 1), 1);
	cr_assert_eq(loop_timer_start(loop, &timer.timer, clock_now_ns() + 50 * NS_PER_MS), 0);
	cr_expect_eq(loop_state(loop).n_under_way, 4);
	cr_assert_eq(loop_run(loop), 0);
	cr_expect_eq(polls[2].ended, 1);
	cr_expect_eq(loop_state(loop).n_under_way, 0);
	loop_slot_remove(loop, slot);
	cr_expect_eq(loop_state(loop).n_slots_used, 0);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	loop_free(loop);
}

Test(loop, slots_are_limited_and_come_back)
{
	struct loop *loop;
	int slots[2];

	cr_assert_eq(LOOP_NEW(&loop, 8, 2), 0);
	slots[0] = loop_slot_add(loop, 0);
	slots[1] = loop_slot_add(loop, 0);
	cr_assert(slots[0] >= 0 && slots[1] >= 0);
	cr_assert_eq(loop_slot_add(loop, 0), -ENOSPC);
	loop_slot_remove(loop, slots[0]);
	cr_assert_eq(loop_slot_add(loop, 0), slots[0]);
	loop_slot_remove(loop, -1);
	loop_free(loop);
}

Test(loop, more_operations_than_entries)
{
	struct loop *loop;
	struct counted timers[100], stopper;

	cr_assert_eq(LOOP_NEW(&loop, 8, 2), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(timers); i++) {
		timers[i] = counted_in(loop, false);
		cr_assert_eq(loop_timer_start(loop, &timers[i].timer, clock_now_ns()), 0);
	}
	stopper = counted_in(loop, true);
	cr_assert_eq(loop_timer_start(loop, &stopper.timer, clock_now_ns() + 50 * NS_PER_MS), 0);
	cr_assert_eq(loop_run(loop), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(timers); i++)
		cr_assert_eq(timers[i].ended, 1);
	loop_free(loop);
}

Test(loop, deferred_work_runs_before_the_wait)
{
	struct loop *loop;
	struct counted deferred;

	cr_assert_eq(LOOP_NEW(&loop, 8, 2), 0);
	deferred = counted_in(loop, true);
	loop_defer(loop, &deferred.timer.op);
	cr_assert_eq(loop_run(loop), 0);
	cr_assert_eq(deferred.ended, 1);
	loop_free(loop);
}

/* One operation on a file, from its start to its result. */
#define RUN_ON_FILE(loop, start, ...)                                                              \
	({                                                                                         \
		struct counted counted_ = counted_in(loop, true);                                  \
		cr_assert_eq(start(loop, &counted_.timer.op, ##__VA_ARGS__), 0);                   \
		cr_assert_eq(loop_run(loop), 0);                                                   \
		cr_assert_eq(counted_.ended, 1);                                                   \
		counted_.res;                                                                      \
	})

Test(loop, files_are_read_written_synced_and_punched)
{
	char path[] = "/tmp/unit-loop-XXXXXX", got[2][4];
	struct iovec out[] = {{(void *)"abc", 3}, {(void *)"defgh", 5}};
	struct iovec in[] = {{got[0], 4}, {got[1], 4}};
	struct loop *loop;
	int fd = mkstemp(path), slot;

	unlink(path);
	cr_assert_eq(LOOP_NEW(&loop, 8, 4), 0);
	slot = loop_slot_add(loop, fd);
	cr_assert_eq(RUN_ON_FILE(loop, loop_writev, slot, out, 2, 4096), 8);
	cr_assert_eq(RUN_ON_FILE(loop, loop_fsync, slot, true), 0);
	cr_assert_eq(RUN_ON_FILE(loop, loop_readv, slot, in, 2, 4096), 8);
	cr_assert_eq(memcmp(got, "abcdefgh", 8), 0);
	cr_assert_eq(RUN_ON_FILE(loop, loop_readv, slot, in, 1, 1 << 20), 0);
	cr_assert_eq(RUN_ON_FILE(loop, loop_fallocate, slot,
				 FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192),
		     0);
	cr_assert_eq(RUN_ON_FILE(loop, loop_readv, slot, in, 2, 4096), 8);
	cr_assert_eq(memcmp(got, "\0\0\0\0\0\0\0\0", 8), 0);
	cr_assert_lt(RUN_ON_FILE(loop, loop_readv, slot, in, 1, (uint64_t)INT64_MAX), 1);
	loop_free(loop);
	close(fd);
}

/* Many at once, more than there are workers or entries, and every one ends. */
static atomic_uint confined;

static int confine(void)
{
	atomic_fetch_add(&confined, 1);
	return 0;
}

static int confine_in_vain(void)
{
	return atomic_fetch_add(&confined, 1) == 0 ? -ENOSYS : 0;
}

Test(loop, threads_are_confined_before_the_first_work)
{
	struct loop *loop;
	struct counted op;
	int fd = memfd_create("file", 0), slot;
	unsigned n;

	cr_assert_eq(LOOP_NEW(&loop, 8, 4), 0);
	cr_assert_eq(loop_start_workers(loop, confine), 0);
	n = atomic_load(&confined);
	cr_expect_eq(n > 0, loop_is_polling(loop));
	slot = loop_slot_add(loop, fd);
	op = counted_in(loop, true);
	cr_assert_eq(loop_pwrite(loop, &op.timer.op, slot, "x", 1, 0), 0);
	cr_assert_eq(loop_run(loop), 0);
	cr_expect_eq(op.res, 1);
	cr_expect_eq(atomic_load(&confined), n);
	loop_free(loop);
	close(fd);
}

Test(loop, a_thread_that_cannot_be_confined_is_an_error)
{
	struct loop *loop;

	cr_assert_eq(LOOP_NEW(&loop, 8, 4), 0);
	cr_expect_eq(loop_start_workers(loop, confine_in_vain),
		     loop_is_polling(loop) ? -ENOSYS : 0);
	loop_free(loop);
}

Test(loop, many_file_operations_at_once)
{
	struct loop *loop;
	struct counted reads[200], stopper;
	char path[] = "/tmp/unit-loop-XXXXXX", byte[200] = {0};
	struct iovec iov[200];
	int fd = mkstemp(path), slot;

	unlink(path);
	cr_assert_eq(ftruncate(fd, 4096), 0);
	cr_assert_eq(LOOP_NEW(&loop, 8, 4), 0);
	slot = loop_slot_add(loop, fd);
	for (unsigned i = 0; i < ARRAY_SIZE(reads); i++) {
		reads[i] = counted_in(loop, false);
		iov[i] = (struct iovec){&byte[i], 1};
		cr_assert_eq(loop_readv(loop, &reads[i].timer.op, slot, &iov[i], 1, i), 0);
	}
	/* The file goes on to be what they read, though the slot is free again. */
	loop_slot_remove(loop, slot);
	stopper = counted_in(loop, true);
	cr_assert_eq(loop_timer_start(loop, &stopper.timer, clock_now_ns() + 100 * NS_PER_MS), 0);
	cr_assert_eq(loop_run(loop), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(reads); i++) {
		cr_assert_eq(reads[i].ended, 1);
		cr_assert_eq(reads[i].res, 1);
	}
	loop_free(loop);
	close(fd);
}

Test(loop, refuses_nonsense)
{
	struct loop *loop;

	cr_assert_eq(LOOP_NEW(&loop, 7, 2), -EINVAL);
	cr_assert_eq(LOOP_NEW(&loop, 8, 0), -EINVAL);
	cr_assert_null(loop_free(NULL));
}

/* While older operations are under way on other slots, a removed file still is closed soon (Linux
 * 6.1 to 6.12 would keep it), and those operations go on as if nothing had been. */
Test(loop, a_removed_file_is_closed_behind_older_operations, .timeout = 30)
{
	struct loop *loop;
	struct counted reads[2], stopper;
	int older[2][2], removed[2], older_slots[2], slot;
	struct pollfd other_end;
	char got[2][8] = {"", ""};

	cr_assert_eq(LOOP_NEW(&loop, 8, 8), 0);
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(pipe(older[i]), 0);
		older_slots[i] = loop_slot_add(loop, older[i][0]);
		reads[i] = counted_in(loop, false);
		cr_assert_eq(loop_read(loop, &reads[i].timer.op, older_slots[i], got[i],
				       sizeof(got[i]), (uint64_t)-1),
			     0);
	}
	cr_assert_eq(pipe(removed), 0);
	slot = loop_slot_add(loop, removed[1]);
	close(removed[1]);
	loop_slot_remove(loop, slot);
	/* One of them is given up in the same turn. */
	cr_assert_eq(loop_cancel(loop, &reads[1].timer.op), 0);
	other_end = (struct pollfd){.fd = removed[0], .events = POLLIN};
	for (unsigned i = 0; i < 50 && (i == 0 || poll(&other_end, 1, 0) == 0); i++) {
		stopper = counted_in(loop, true);
		loop_timer_start(loop, &stopper.timer, clock_now_ns() + 100 * NS_PER_MS);
		cr_assert_eq(loop_run(loop), 0);
	}
	cr_assert_eq(poll(&other_end, 1, 0), 1);
	cr_assert(other_end.revents & POLLHUP);
	cr_assert_eq(reads[0].ended, 0);
	cr_assert_eq(reads[1].ended, 1);
	cr_assert_eq(reads[1].res, -ECANCELED);
	cr_assert_eq(write(older[0][1], "still", 5), 5);
	reads[0].stops = true;
	cr_assert_eq(loop_run(loop), 0);
	cr_assert_eq(reads[0].res, 5);
	cr_assert_str_eq(got[0], "still");
	cr_assert_eq(reads[0].ended, 1);
	loop_free(loop);
	for (unsigned i = 0; i < 2; i++) {
		close(older[i][0]);
		close(older[i][1]);
	}
	close(removed[0]);
}
