// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/hub.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/daemon/link.h"

static void run_sweep(struct loop_op *op, int res, uint32_t flags)
{
	struct hub *hub = container_of(op, struct hub, sweep);

	(void)res;
	(void)flags;
	hub->sweep_pending = false;
	links_sweep(hub);
}

void hub_touch(struct hub *hub)
{
	if (hub->sweep_pending)
		return;
	hub->sweep_pending = true;
	loop_defer(hub->loop, &hub->sweep);
}

static uint64_t earliest_deadline(const struct hub *hub)
{
	uint64_t earliest = 0;

	for (const struct timer *t = hub->timers; t; t = t->next)
		if (earliest == 0 || t->deadline_ns < earliest)
			earliest = t->deadline_ns;
	return earliest;
}

/* Keeps the one loop timer at the earliest deadline; one that is set too late is cancelled and comes back here. */
static void arm(struct hub *hub)
{
	uint64_t earliest = earliest_deadline(hub);

	if (earliest == 0)
		return;
	if (hub->alarm_ns) {
		if (earliest < hub->alarm_ns) {
			loop_cancel(hub->loop, &hub->alarm.op);
			hub->alarm_ns = earliest;
		}
		return;
	}
	if (loop_timer_start(hub->loop, &hub->alarm, earliest) == 0)
		hub->alarm_ns = earliest;
	else
		log_error("err=\"the loop takes no timer\"");
}

static struct timer *find_expired(struct hub *hub, uint64_t now_ns)
{
	for (struct timer *t = hub->timers; t; t = t->next)
		if (t->deadline_ns <= now_ns)
			return t;
	return NULL;
}

static void run_timers(struct loop_op *op, int res, uint32_t flags)
{
	struct hub *hub = container_of(op, struct hub, alarm.op);
	uint64_t now_ns = clock_now_ns();
	struct timer *t;

	(void)res;
	(void)flags;
	hub->alarm_ns = 0;
	/* One that is set again meanwhile lies after now_ns, so this ends. */
	while ((t = find_expired(hub, now_ns))) {
		timer_stop(t);
		t->fn(t->user);
	}
	arm(hub);
	hub_touch(hub);
}

void timer_set(struct hub *hub, struct timer *timer, uint64_t deadline_ns, void (*fn)(void *user), void *user)
{
	timer_stop(timer);
	timer->deadline_ns = deadline_ns;
	timer->fn = fn;
	timer->user = user;
	timer->next = hub->timers;
	if (timer->next)
		timer->next->place = &timer->next;
	timer->place = &hub->timers;
	hub->timers = timer;
	arm(hub);
}

void timer_stop(struct timer *timer)
{
	if (!timer->place)
		return;
	*timer->place = timer->next;
	if (timer->next)
		timer->next->place = timer->place;
	timer->place = NULL;
}

int hub_init(struct hub *hub, unsigned entries, unsigned slots)
{
	*hub = (struct hub){.sweep.done = run_sweep, .alarm.op.done = run_timers};
	return loop_new(&hub->loop, entries, slots);
}

struct watch {
	struct watch *next, **place;
	struct loop_op op;
	struct hub *hub;
	watch_fn *fn;
	void *user;
	int slot;
	uint32_t wanted, armed; /* armed: events of the poll under way, 0 = none */
	bool in_callback, freed;
};

static void watch_destroy(struct watch *watch)
{
	*watch->place = watch->next;
	if (watch->next)
		watch->next->place = watch->place;
	loop_slot_remove(watch->hub->loop, watch->slot);
	free(watch);
}

void hub_deinit(struct hub *hub)
{
	/* The kernel writes to no watch: those that are still polled can go with the loop. */
	while (hub->watches)
		watch_destroy(hub->watches);
	hub->loop = loop_free(hub->loop);
}

static void watch_arm(struct watch *watch)
{
	if (watch->armed || !watch->wanted)
		return;
	if (loop_poll(watch->hub->loop, &watch->op, watch->slot, watch->wanted) == 0)
		watch->armed = watch->wanted;
	else
		log_error("err=\"the loop takes no poll\"");
}

static void watch_done(struct loop_op *op, int res, uint32_t flags)
{
	struct watch *watch = container_of(op, struct watch, op);

	(void)flags;
	watch->armed = 0;
	if (!watch->freed && res != -ECANCELED) {
		watch->in_callback = true;
		watch->fn(watch->user, res < 0 ? POLLERR : (uint32_t)res);
		watch->in_callback = false;
		hub_touch(watch->hub);
	}
	if (watch->freed)
		watch_destroy(watch);
	else
		watch_arm(watch);
}

int watch_new(struct hub *hub, int fd, watch_fn *fn, void *user, struct watch **out)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	*watch = (struct watch){.op.done = watch_done, .hub = hub, .fn = fn, .user = user};
	watch->slot = loop_slot_add(hub->loop, fd);
	if (watch->slot < 0) {
		int r = watch->slot;

		free(watch);
		return r;
	}
	watch->next = hub->watches;
	if (watch->next)
		watch->next->place = &watch->next;
	watch->place = &hub->watches;
	hub->watches = watch;
	*out = watch;
	return 0;
}

void watch_set(struct watch *watch, uint32_t events)
{
	watch->wanted = events;
	if (watch->in_callback)
		return;
	if (watch->armed && watch->armed != events)
		loop_cancel(watch->hub->loop, &watch->op);
	else
		watch_arm(watch);
}

struct watch *watch_free(struct watch *watch)
{
	if (!watch)
		return NULL;
	watch->freed = true;
	if (watch->armed)
		loop_cancel(watch->hub->loop, &watch->op);
	else if (!watch->in_callback)
		watch_destroy(watch);
	return NULL;
}
