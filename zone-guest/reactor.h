// SPDX-License-Identifier: Apache-2.0
/*
 * The event loop of zone-init: descriptors over epoll(7), timers, one thread. zone-init is static
 * and small, so it does without the io_uring loop of the host side. One event is taken at a time: a
 * handler may remove any watch, or free what holds it, without leaving a stale event behind.
 * Watches and timers are embedded in their owners.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct reactor_watch {
	int fd;		 /* owned by whoever watches it; -1 = not watched */
	uint32_t events; /* EPOLLIN, EPOLLOUT; 0 = paused: not even a hang-up is reported */
	void (*ready)(struct reactor_watch *watch, uint32_t events);
};

struct reactor_timer {
	uint64_t deadline_ns; /* 0 = not armed */
	struct reactor_timer *next;
	void (*fired)(struct reactor_timer *timer);
};

struct reactor {
	int epoll_fd;
	struct reactor_timer *timers; /* unordered; there are few */
};

/* Prepares *reactor. Returns 0 or a negative errno. */
int reactor_init(struct reactor *reactor);
void reactor_deinit(struct reactor *reactor);

/*
 * Watches fd for events (may be 0). Returns 0 or a negative errno; -EPERM for what epoll cannot
 * watch.
 */
int reactor_watch(struct reactor *reactor, struct reactor_watch *watch, int fd, uint32_t events);

/* Changes what is waited for; cheap when nothing changes. Returns 0 or a negative errno. */
int reactor_rewatch(struct reactor *reactor, struct reactor_watch *watch, uint32_t events);

/* Forgets the descriptor (it stays open); nothing happens if none is watched. */
void reactor_unwatch(struct reactor *reactor, struct reactor_watch *watch);

/* Fires once at deadline_ns of the monotonic clock; an armed timer is moved. */
void reactor_timer_start(struct reactor *reactor, struct reactor_timer *timer,
			 uint64_t deadline_ns);
void reactor_timer_stop(struct reactor *reactor, struct reactor_timer *timer);

/*
 * Waits up to timeout_ms (-1 = for ever) for one event or the next timer and handles it. Returns 0
 * or a negative errno of epoll_wait(2).
 */
int reactor_turn(struct reactor *reactor, int timeout_ms);
