// SPDX-License-Identifier: Apache-2.0
/*
 * A token bucket for bytes and operations, refilled by the nanosecond, so that a limit holds at any
 * scale: what may go goes at once, what may not waits exactly until it may. One waiter a limit.
 * Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

/* 0 is no limit; a burst of 0 is what 100 ms allow. */
struct rate {
	uint64_t bytes_per_s, ops_per_s, burst_bytes, burst_ops;
};

struct rate_bucket {
	uint64_t per_s, burst;
	int64_t tokens; /* negative: what the last taker owes */
	uint64_t filled_ns;
	uint64_t rest; /* of a token, in its 10^9th parts: what was filled in is exact */
};

struct rate_limit {
	struct loop *loop;
	struct rate_bucket bytes, ops;
	struct loop_timer timer;
	bool waiting;	 /* the timer is under way */
	uint64_t due_ns; /* when the waiter may go; 0: nobody waited */
	void (*ready)(void *user);
	void *user;
};

/* ready(user) follows in the loop thread after a rate_limit_take() that returned false. loop is
 * borrowed and outlives it. Buckets start full. */
void rate_limit_init(struct rate_limit *limit, struct loop *loop, const struct rate *rate,
		     void (*ready)(void *user), void *user);

/*
 * Whether an operation of so many bytes may go now; then it is charged. An operation larger than
 * the burst goes from a full bucket and leaves a debt. False: nothing was charged, ready() comes
 * when it is worth asking again.
 */
bool rate_limit_take(struct rate_limit *limit, uint64_t bytes, uint64_t now_ns);

/* No ready() any more, except that one whose timer is under way still runs once if this returns
 * false: the owner waits for it before it goes. After that the limit may be used again. */
bool rate_limit_stop(struct rate_limit *limit);
