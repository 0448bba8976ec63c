// SPDX-License-Identifier: Apache-2.0
/*
 * How many requests a driver may gather before it notifies (by EVENT_IDX), for a device that ends
 * requests as it takes them. A notification costs the guest an exit, and what it brings another one
 * for the interrupt: a driver that has more to send goes on without either.
 *
 * Nothing tells how many requests the driver has, so it is tried out. The batch grows while the
 * driver fills it; where it stops short, as it waits for an answer, a timer of twice the time that
 * such a batch takes has the device look, and the batch becomes half of what was found (once that
 * is forgiven, if it had been right for long). Each try that fails at once doubles the number of
 * batches until the next. A driver with one request at a time is never held up, nor is the first
 * one after a rest. Loop thread; all a guest can do is to slow its own queue down, by no more than
 * PACE_WAIT_MAX_NS a look.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

#define PACE_BATCH_MAX	 8u
#define PACE_WAIT_MAX_NS UINT64_C(5000000)

struct pace {
	struct loop *loop;
	struct loop_timer timer;
	bool timing; /* the timer is under way */
	bool stopped;
	bool resting;	   /* there was nothing to take: the next request is notified of at once */
	unsigned batch;	   /* what a notification stands for: a power of two */
	unsigned n_full;   /* so many were filled */
	unsigned patience; /* so many are, before it grows */
	uint64_t gap_ns;   /* from one request to the next, on average */
	uint64_t took_ns, due_ns;
	void (*late)(void *user);
	void *user;
};

/* late(user) follows when the driver stopped short: requests are to be taken as they are. loop is
 * borrowed and outlives it. */
void pace_init(struct pace *pace, struct loop *loop, void (*late)(void *user), void *user);

/* n requests were taken, as late() said or otherwise. */
void pace_took(struct pace *pace, unsigned n, bool late, uint64_t now_ns);

/* How many requests to be notified of, at least 1. With more than 1, late() comes when they do not.
 */
unsigned pace_wait(struct pace *pace);

/* No late() any more, except that one whose timer is under way still runs once if this returns
 * false: the owner waits for it before it goes. What was learned is forgotten. */
bool pace_stop(struct pace *pace);
