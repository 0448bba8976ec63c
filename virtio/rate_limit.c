// SPDX-License-Identifier: Apache-2.0
#include "virtio/rate_limit.h"

#include "base/clock.h"
#include "base/util.h"

#define DEFAULT_BURSTS_PER_S 10
/* A timer that cannot be cancelled holds up a reset for no longer than this. */
#define WAIT_MAX_NS NS_PER_S

/* Nanoseconds times a rate: any product of the two fits. */
__extension__ typedef unsigned __int128 wide_t;

static void init_bucket(struct rate_bucket *bucket, uint64_t per_s, uint64_t burst)
{
	if (burst == 0)
		burst = per_s / DEFAULT_BURSTS_PER_S;
	if (burst == 0)
		burst = 1;
	if (burst > INT64_MAX)
		burst = INT64_MAX;
	*bucket = (struct rate_bucket){.per_s = per_s, .burst = burst, .tokens = (int64_t)burst};
}

/* How many tokens lack until the bucket is full. */
static uint64_t room(const struct rate_bucket *bucket)
{
	return bucket->burst - (uint64_t)bucket->tokens; /* right for a debt too: modulo 2^64 */
}

static void refill(struct rate_bucket *bucket, uint64_t now_ns)
{
	wide_t gained;

	if (bucket->per_s == 0 || now_ns <= bucket->filled_ns)
		return;
	gained = (wide_t)(now_ns - bucket->filled_ns) * bucket->per_s + bucket->rest;
	bucket->filled_ns = now_ns;
	if (gained / NS_PER_S >= room(bucket)) {
		bucket->tokens = (int64_t)bucket->burst;
		bucket->rest = 0;
	} else {
		bucket->tokens += (int64_t)(gained / NS_PER_S);
		bucket->rest = (uint64_t)(gained % NS_PER_S);
	}
}

/* Nanoseconds from its last filling until `cost` may go; 0: now. */
static uint64_t wait_ns(const struct rate_bucket *bucket, uint64_t cost)
{
	uint64_t wanted = cost < bucket->burst ? cost : bucket->burst;
	wide_t missing, wait;

	if (bucket->per_s == 0 || bucket->tokens >= (int64_t)wanted)
		return 0;
	missing = (wide_t)(wanted - (uint64_t)bucket->tokens) * NS_PER_S - bucket->rest;
	wait = (missing + bucket->per_s - 1) / bucket->per_s;
	return wait < WAIT_MAX_NS ? (uint64_t)wait : WAIT_MAX_NS;
}

static void charge(struct rate_bucket *bucket, uint64_t cost)
{
	if (bucket->per_s == 0)
		return;
	/* A debt beyond all bounds stays one. */
	if (cost > INT64_MAX ||
	    __builtin_sub_overflow(bucket->tokens, (int64_t)cost, &bucket->tokens))
		bucket->tokens = -INT64_MAX;
}

static void on_timer(struct loop_op *op, int res, uint32_t flags)
{
	struct rate_limit *limit = container_of(op, struct rate_limit, timer.op);

	(void)res;
	(void)flags;
	limit->waiting = false;
	limit->ready(limit->user); /* who may free the limit */
}

void rate_limit_init(struct rate_limit *limit, struct loop *loop, const struct rate *rate,
		     void (*ready)(void *user), void *user)
{
	*limit = (struct rate_limit){
		.loop = loop, .timer.op.done = on_timer, .ready = ready, .user = user};
	init_bucket(&limit->bytes, rate->bytes_per_s, rate->burst_bytes);
	init_bucket(&limit->ops, rate->ops_per_s, rate->burst_ops);
}

static void wait_until(struct rate_limit *limit, uint64_t due_ns)
{
	if (limit->waiting)
		return;
	limit->waiting = true;
	limit->due_ns = due_ns;
	if (loop_timer_start(limit->loop, &limit->timer, due_ns) < 0)
		loop_defer(limit->loop, &limit->timer.op); /* ready() comes early and asks again */
}

bool rate_limit_take(struct rate_limit *limit, uint64_t bytes, uint64_t now_ns)
{
	uint64_t wait, wait_ops;

	if (limit->bytes.per_s == 0 && limit->ops.per_s == 0)
		return true;
	if (limit->waiting)
		return false;
	/* Who waited goes when it was due, and what the timer came late is not lost to a full
	 * bucket. */
	if (limit->due_ns && limit->due_ns < now_ns)
		now_ns = limit->due_ns;
	limit->due_ns = 0;
	refill(&limit->bytes, now_ns);
	refill(&limit->ops, now_ns);
	wait = wait_ns(&limit->bytes, bytes);
	wait_ops = wait_ns(&limit->ops, 1);
	if (wait < wait_ops)
		wait = wait_ops;
	if (wait > 0) {
		wait_until(limit, now_ns + wait);
		return false;
	}
	charge(&limit->bytes, bytes);
	charge(&limit->ops, 1);
	return true;
}

bool rate_limit_stop(struct rate_limit *limit)
{
	limit->due_ns = 0;
	if (!limit->waiting)
		return true;
	loop_cancel(limit->loop, &limit->timer.op);
	return false;
}
