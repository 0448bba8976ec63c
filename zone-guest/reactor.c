// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/reactor.h"

#include <errno.h>
#include <sys/epoll.h>

#include "base/cleanup.h"
#include "base/clock.h"

int reactor_init(struct reactor *reactor)
{
	*reactor = (struct reactor){.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
	return reactor->epoll_fd < 0 ? -errno : 0;
}

void reactor_deinit(struct reactor *reactor)
{
	close_fdp(&reactor->epoll_fd);
}

int reactor_watch(struct reactor *reactor, struct reactor_watch *watch, int fd, uint32_t events)
{
	watch->fd = fd;
	watch->events = 0;
	return reactor_rewatch(reactor, watch, events);
}

int reactor_rewatch(struct reactor *reactor, struct reactor_watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};
	int op = !watch->events ? EPOLL_CTL_ADD : events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;

	if (watch->fd < 0 || events == watch->events)
		return 0;
	/* epoll always reports hang-ups, so pausing has to take the descriptor out. */
	if (epoll_ctl(reactor->epoll_fd, op, watch->fd, &event) < 0)
		return -errno;
	watch->events = events;
	return 0;
}

void reactor_unwatch(struct reactor *reactor, struct reactor_watch *watch)
{
	reactor_rewatch(reactor, watch, 0);
	watch->fd = -1;
}

void reactor_timer_stop(struct reactor *reactor, struct reactor_timer *timer)
{
	for (struct reactor_timer **at = &reactor->timers; *at; at = &(*at)->next) {
		if (*at == timer) {
			*at = timer->next;
			break;
		}
	}
	timer->next = NULL;
	timer->deadline_ns = 0;
}

void reactor_timer_start(struct reactor *reactor, struct reactor_timer *timer, uint64_t deadline_ns)
{
	reactor_timer_stop(reactor, timer);
	timer->deadline_ns = deadline_ns ? deadline_ns : 1;
	timer->next = reactor->timers;
	reactor->timers = timer;
}

static struct reactor_timer *earliest(const struct reactor *reactor)
{
	struct reactor_timer *first = reactor->timers;

	for (struct reactor_timer *t = first; t; t = t->next)
		if (t->deadline_ns < first->deadline_ns)
			first = t;
	return first;
}

/*
 * The wait until the first timer in whole milliseconds, rounded up, if that is shorter than
 * timeout_ms.
 */
static int wait_ms(const struct reactor_timer *first, int timeout_ms)
{
	uint64_t now = clock_now_ns(), ms;

	if (!first)
		return timeout_ms;
	if (first->deadline_ns <= now)
		return 0;
	ms = (first->deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS;
	return timeout_ms >= 0 && (uint64_t)timeout_ms < ms ? timeout_ms
	       : ms > 3600000				    ? 3600000
							    : (int)ms;
}

int reactor_turn(struct reactor *reactor, int timeout_ms)
{
	struct reactor_timer *first = earliest(reactor);
	struct epoll_event event;
	int n = epoll_wait(reactor->epoll_fd, &event, 1, wait_ms(first, timeout_ms));

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (first && first->deadline_ns <= clock_now_ns()) {
		reactor_timer_stop(reactor, first);
		first->fired(first);
		return 0; /* the event, if any, is level-triggered: the next turn finds it again */
	}
	if (n == 1) {
		struct reactor_watch *watch = event.data.ptr;

		watch->ready(watch, event.events);
	}
	return 0;
}
