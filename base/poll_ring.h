// SPDX-License-Identifier: Apache-2.0
/*
 * A ring in user space, for hosts where io_uring is disabled: the entries that the loop prepares
 * (io_uring_prep_…) are carried out here. What waits for a socket, pipe, eventfd or tap is in
 * poll(2); what works on a file is done by a few threads, started when the first one is needed.
 * Only the operations and flags that base/loop.c uses are known. One thread owns it; the workers
 * see nothing but the queue of file operations, under its lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/ring.h"

/* As ring_init(), ring_set_file() and so on. */
int poll_ring_new(struct poll_ring **out, unsigned entries, unsigned slots);
struct poll_ring *poll_ring_free(struct poll_ring *ring); /* always NULL */
int poll_ring_set_file(struct poll_ring *ring, unsigned slot, int fd);
struct io_uring_sqe *poll_ring_get_entry(struct poll_ring *ring);
int poll_ring_submit(struct poll_ring *ring, bool wait);
bool poll_ring_next(struct poll_ring *ring, struct ring_completion *out);
unsigned poll_ring_under_way(const struct poll_ring *ring);

/* As loop_start_workers(). */
int poll_ring_start_workers(struct poll_ring *ring, int (*confine)(void));
