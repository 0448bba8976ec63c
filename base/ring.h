// SPDX-License-Identifier: Apache-2.0
/*
 * What the event loop stands on: entries go in, completions come out. That is io_uring, restricted
 * to registered files; or, where the host has disabled it, poll(2) and a few threads that do as the
 * same entries say (poll_ring.h): slower, no less right. Inside base/ only; the loop's thread.
 */
#pragma once

#include <liburing.h>
#include <stdbool.h>

struct poll_ring;

struct ring {
	struct io_uring uring;
	struct poll_ring *poll; /* not NULL: the fallback */
};

struct ring_completion {
	void *user; /* the entry's user data */
	int res;
	uint32_t flags;
};

/* A ring for `entries` at a time and `slots` files. Where io_uring is disabled, or with
 * always_poll, it is the fallback. Returns 0 or a negative errno. */
int ring_init(struct ring *ring, unsigned entries, unsigned slots, bool always_poll);
void ring_exit(struct ring *ring);

/* Puts a file into a slot, or with -1 takes it out. */
int ring_set_file(struct ring *ring, unsigned slot, int fd);

/* A place for one more entry, or NULL when there is none before a submission. */
struct io_uring_sqe *ring_get_entry(struct ring *ring);

/* Starts what was entered; waits for one completion at least. Negative errno as io_uring_enter(2).
 */
int ring_submit(struct ring *ring);
int ring_submit_and_wait(struct ring *ring);

/* Takes one completion; false when there is none. */
bool ring_next(struct ring *ring, struct ring_completion *out);

/* How many entries have not been completed, or whose completion was not taken. */
unsigned ring_under_way(const struct ring *ring);
