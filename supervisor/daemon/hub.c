// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/hub.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/daemon/link.h"

#define RING_ENTRIES 64u
#define RING_SLOTS   4u
#define BATCH	     64u /* events in one turn, so that timers and the sweep get theirs */

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

/* Keeps the one loop timer at the earliest deadline; one that is set too late is cancelled and
 * comes back here. */
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

void timer_set(struct hub *hub, struct timer *timer, uint64_t deadline_ns, void (*fn)(void *user),
	       void *user)
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

struct watch {
	struct watch *next, **place;
	struct hub *hub;
	watch_fn *fn;
	void *user;
	int fd;
	uint32_t wanted; /* what epoll waits for; 0 = it does not know the descriptor */
	bool in_callback, freed;
};

static void watch_destroy(struct watch *watch)
{
	*watch->place = watch->next;
	if (watch->next)
		watch->next->place = watch->place;
	free(watch);
}

static void run_watch(struct watch *watch, uint32_t events)
{
	watch->in_callback = true;
	watch->fn(watch->user, events);
	watch->in_callback = false;
	hub_touch(watch->hub);
	if (watch->freed)
		watch_destroy(watch);
}

static void wait_for_events(struct hub *hub)
{
	if (loop_poll(hub->loop, &hub->events, hub->epoll_slot, POLLIN) < 0)
		log_error("err=\"the loop takes no poll\"");
}

/* #syscalls daemon: epoll_ctl epoll_wait */
/* One event at a time: a callback may free any watch without leaving a stale event behind. */
static void take_events(struct loop_op *op, int res, uint32_t flags)
{
	struct hub *hub = container_of(op, struct hub, events);
	struct epoll_event event;

	(void)res;
	(void)flags;
	for (unsigned i = 0; i < BATCH && epoll_wait(hub->epoll_fd, &event, 1, 0) == 1; i++)
		run_watch(event.data.ptr, event.events);
	wait_for_events(hub);
}

int hub_init(struct hub *hub)
{
	_cleanup_(close_fdp) int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	int r;

	*hub = (struct hub){.sweep.done = run_sweep,
			    .alarm.op.done = run_timers,
			    .events.done = take_events,
			    .epoll_fd = -1};
	if (epoll_fd < 0)
		return -errno;
	r = loop_new(&hub->loop, RING_ENTRIES, RING_SLOTS);
	if (r < 0)
		return r;
	hub->epoll_slot = loop_slot_add(hub->loop, epoll_fd);
	if (hub->epoll_slot < 0) {
		hub->loop = loop_free(hub->loop);
		return hub->epoll_slot;
	}
	hub->epoll_fd = steal_fd(&epoll_fd);
	wait_for_events(hub);
	return 0;
}

void hub_deinit(struct hub *hub)
{
	while (hub->watches)
		watch_destroy(hub->watches);
	hub->loop = loop_free(hub->loop);
	close_fdp(&hub->epoll_fd);
}

/* #syscalls daemon: close */
int watch_new(struct hub *hub, int fd, watch_fn *fn, void *user, struct watch **out)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	*watch = (struct watch){.hub = hub, .fn = fn, .user = user, .fd = fd, .next = hub->watches};
	if (watch->next)
		watch->next->place = &watch->next;
	watch->place = &hub->watches;
	hub->watches = watch;
	*out = watch;
	return 0;
}

void watch_set(struct watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};
	int op = !watch->wanted ? EPOLL_CTL_ADD : events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;

	if (events == watch->wanted)
		return;
	if (epoll_ctl(watch->hub->epoll_fd, op, watch->fd, &event) < 0)
		log_error("fd=%d err=\"%s\" not watched", watch->fd, strerror(errno));
	else
		watch->wanted = events;
}

struct watch *watch_free(struct watch *watch)
{
	if (!watch)
		return NULL;
	watch_set(watch, 0);
	watch->freed = true;
	if (!watch->in_callback)
		watch_destroy(watch);
	return NULL;
}
