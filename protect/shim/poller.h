// SPDX-License-Identifier: Apache-2.0
/*
 * The shim's event loop: epoll, with timers. One thread. Descriptors here are FIFOs and sockets of
 * one pod and few of them, so a plain epoll set does; the loop of base is for devices.
 *
 * One event is taken at a time: a callback may free any source, its own included, and nothing here
 * then still points to it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct poller;

/* A watched descriptor, embedded in its owner. */
struct source {
	int fd;		 /* borrowed; -1 = none */
	uint32_t events; /* EPOLLIN, EPOLLOUT; 0 = not watched */
	void (*ready)(void *user, uint32_t events);
	void *user;
};

/* A timer, embedded in its owner; zeroed = not set. */
struct alarm {
	struct alarm *next;
	uint64_t deadline_ns; /* 0 = not set */
	void (*due)(void *user);
	void *user;
};

struct poller {
	int epoll;
	bool stopped;
	struct alarm *alarms;
	void (*settle)(void *user); /* after each callback: what was written leaves */
	void *user;
};

/* Returns 0 or a negative errno. */
int poller_init(struct poller *poller);
void poller_deinit(struct poller *poller);

/* From now on ready() is called while any of the events (or EPOLLHUP, EPOLLERR) is there; 0 =
 * never, and the descriptor may be closed. Returns 0 or a negative errno. */
int poller_watch(struct poller *poller, struct source *source, uint32_t events);

/* Calls due(user) once, soon after deadline_ns (clock_now_ns()); setting it again moves it. */
void alarm_set(struct poller *poller, struct alarm *alarm, uint64_t deadline_ns,
	       void (*due)(void *user), void *user);
void alarm_stop(struct poller *poller, struct alarm *alarm);

/* Until poller->stopped. Returns 0 or a negative errno. */
int poller_run(struct poller *poller);

/* One wait, of at most timeout_ms. Returns 0 or a negative errno. */
int poller_turn(struct poller *poller, int timeout_ms);
