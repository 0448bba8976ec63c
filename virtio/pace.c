// SPDX-License-Identifier: Apache-2.0
#include "virtio/pace.h"

#include "base/clock.h"
#include "base/util.h"

#define WAIT_MIN_NS  UINT64_C(250000) /* a timer costs as much as a request from memory */
#define PATIENCE     8u
#define PATIENCE_MAX 1024u
#define GAP_WEIGHT   8u /* the newest one is that part of the average */

static void forget(struct pace *pace)
{
	pace->batch = 1;
	pace->n_full = 0;
	pace->patience = PATIENCE;
	pace->gap_ns = pace->took_ns = pace->due_ns = 0;
	pace->resting = true;
}

static void start_timer(struct pace *pace)
{
	pace->timing = true;
	if (loop_timer_start(pace->loop, &pace->timer, pace->due_ns) < 0)
		loop_defer(pace->loop, &pace->timer.op);
}

/* The timer is not moved when requests come: it looks whether they did, and goes on. */
static void on_timer(struct loop_op *op, int res, uint32_t flags)
{
	struct pace *pace = container_of(op, struct pace, timer.op);

	(void)res;
	(void)flags;
	pace->timing = false;
	if (!pace->stopped && pace->due_ns == 0)
		return;
	if (!pace->stopped && clock_now_ns() < pace->due_ns)
		start_timer(pace);
	else
		pace->late(pace->user); /* who may free it */
}

void pace_init(struct pace *pace, struct loop *loop, void (*late)(void *user), void *user)
{
	*pace = (struct pace){.loop = loop, .timer.op.done = on_timer, .late = late, .user = user};
	forget(pace);
}

static void measure_gap(struct pace *pace, unsigned n, uint64_t now_ns)
{
	uint64_t gap = (now_ns - pace->took_ns) / n;

	if (pace->took_ns == 0) /* the first after a rest */
		return;
	if (gap > PACE_WAIT_MAX_NS)
		gap = PACE_WAIT_MAX_NS;
	if (pace->gap_ns == 0)
		pace->gap_ns = gap;
	pace->gap_ns += gap / GAP_WEIGHT;
	pace->gap_ns -= pace->gap_ns / GAP_WEIGHT;
}

static void grow(struct pace *pace)
{
	if (++pace->n_full < pace->patience || pace->batch == PACE_BATCH_MAX)
		return;
	pace->batch *= 2;
	pace->n_full = 0;
}

/* A batch that was right for long is forgiven once: the guest may only have lost its processor. */
static void shrink(struct pace *pace, unsigned n)
{
	bool forgiven = pace->n_full >= PATIENCE;

	pace->n_full = 0;
	if (forgiven) {
		pace->patience = PATIENCE;
		return;
	}
	if (pace->patience < PATIENCE_MAX)
		pace->patience *= 2;
	while (pace->batch > 1 && pace->batch > n / 2)
		pace->batch /= 2;
}

void pace_took(struct pace *pace, unsigned n, bool late, uint64_t now_ns)
{
	pace->due_ns = 0;
	pace->resting = n == 0;
	if (n == 0) {
		pace->took_ns = 0;
		return;
	}
	if (!late)
		measure_gap(pace, n, now_ns);
	pace->took_ns = now_ns;
	if (late && n < pace->batch)
		shrink(pace, n);
	else if (n >= 2 && n >= pace->batch)
		grow(pace);
}

unsigned pace_wait(struct pace *pace)
{
	unsigned batch = pace->resting || pace->gap_ns == 0 ? 1 : pace->batch;
	uint64_t wait;

	while (batch > 1 && 2 * batch * pace->gap_ns > PACE_WAIT_MAX_NS)
		batch /= 2;
	if (batch == 1)
		return 1;
	wait = 2 * batch * pace->gap_ns;
	pace->due_ns = pace->took_ns + (wait < WAIT_MIN_NS ? WAIT_MIN_NS : wait);
	pace->stopped = false;
	if (!pace->timing)
		start_timer(pace);
	return batch;
}

bool pace_stop(struct pace *pace)
{
	forget(pace);
	if (!pace->timing)
		return true;
	pace->stopped = true;
	loop_cancel(pace->loop, &pace->timer.op);
	return false;
}
