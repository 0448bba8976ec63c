// SPDX-License-Identifier: Apache-2.0
/*
 * What everything in the daemon hangs on: the loop, timers, watched descriptors. One thread owns
 * all of it.
 *
 * Descriptors are watched through one epoll set that the loop polls, not by a poll operation each:
 * up to Linux 6.3 a ring lets go of a registered file only when all older operations have ended, so
 * a closed pipe or socket would stay open behind a listener's poll, and its peer would wait for
 * ever. Timers share one loop timer. So nothing of the loop's points to an owner, and owners can
 * free themselves at any moment, their own callbacks included.
 *
 * After each callback the hub runs its sweep once, at the end of the loop's turn: the links
 * (link.h) then send what was written to their sessions by whomever, and connections that ended are
 * taken down, with no session code on the stack.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

struct link;
struct watch;

struct timer {
	struct timer *next, **place; /* place is NULL while it is not set */
	uint64_t deadline_ns;
	void (*fn)(void *user);
	void *user;
};

struct hub {
	struct loop *loop;
	struct link *links;
	struct loop_op sweep;
	bool sweep_pending;
	struct loop_op events;
	int epoll_fd, epoll_slot;
	struct watch *watches;
	struct timer *timers;
	struct loop_timer alarm;
	uint64_t alarm_ns; /* what the loop's timer is set to, 0 = not set */
};

/* Makes the loop. Returns 0 or a negative errno. hub_deinit() frees it and every watch. */
int hub_init(struct hub *hub);
void hub_deinit(struct hub *hub);

/* Has the sweep run at the end of this turn. */
void hub_touch(struct hub *hub);

/* Calls fn(user) once, at or soon after deadline_ns; setting it again moves it. A zeroed struct
 * timer is not set. */
void timer_set(struct hub *hub, struct timer *timer, uint64_t deadline_ns, void (*fn)(void *user),
	       void *user);

/* Whatever its state: fn is not called any more. */
void timer_stop(struct timer *timer);

/* events: those of poll(2) that are there. */
typedef void watch_fn(void *user, uint32_t events);

/*
 * Watches a borrowed descriptor, which stays open until watch_free() and has no other watch. Waits
 * for nothing yet. Returns 0 or -ENOMEM.
 */
int watch_new(struct hub *hub, int fd, watch_fn *fn, void *user, struct watch **out);

/* From now on fn is called while any of the events is there; 0 = never. */
void watch_set(struct watch *watch, uint32_t events);

/* fn is not called any more. NULL is allowed. Always returns NULL. */
struct watch *watch_free(struct watch *watch);
