// SPDX-License-Identifier: Apache-2.0
/*
 * The standard streams of one process: pipes or a terminal on one side, IDM streams on the other.
 *
 * Output goes through a ring of STDIO_RING bytes each. While a stream is attached a full ring stops
 * the reading, so back-pressure reaches the process; while none is, the oldest bytes are dropped
 * and the process never waits for a host that is away. Input is granted STDIO_WINDOW bytes of
 * credit, given back as the process takes them. The process is not trusted: nothing here blocks,
 * and nothing grows.
 *
 * Owned by zone-init's one thread. An object outlives its owner while the peer still holds a
 * stream's other end.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "idm-vsock/session.h"
#include "zone-guest/reactor.h"

#define STDIO_RING   (64u * 1024)
#define STDIO_WINDOW (64u * 1024)

struct stdio;

/*
 * Makes one without streams and descriptors. drained: see stdio_finish(). Returns NULL without
 * memory.
 */
struct stdio *stdio_new(struct reactor *reactor, void (*drained)(void *user), void *user);

/*
 * Takes over the streams that the peer opened (0 = none); the ones before are reset. What the rings
 * hold is sent first. Returns 0, -ENOENT (no such stream), -ENOMEM; then there is no stream.
 */
int stdio_attach(struct stdio *stdio, struct idm *idm, uint64_t stdio_stream,
		 uint64_t stderr_stream);

/*
 * Gives it the near ends of a process's pipes, -1 for none. It owns them from here on. Returns 0 or
 * a negative errno.
 */
int stdio_set_pipes(struct stdio *stdio, int in, int out, int err);

/* Gives it the terminal's master. It owns it from here on. Returns 0 or a negative errno. */
int stdio_set_terminal(struct stdio *stdio, int master);

/* Sets the terminal's size. Returns 0, -ENOTTY without a terminal, or another negative errno. */
int stdio_resize(struct stdio *stdio, uint16_t rows, uint16_t columns);

/*
 * The process has ended: what it wrote is read and passed on (a descendant that still holds the
 * pipe does not delay this), the streams end, and drained() runs once, from here or later, when
 * nothing is left or no one listens.
 */
void stdio_finish(struct stdio *stdio);

/*
 * The owner needs it no more. error 0: streams end in order; a negative errno: they are reset with
 * it. NULL is allowed.
 */
void stdio_release(struct stdio *stdio, int error);
