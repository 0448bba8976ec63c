// SPDX-License-Identifier: Apache-2.0
/*
 * Joins this process's standard streams to streams of the daemon, for exec, attach and logs.
 * Standard output and error are written as fast as their readers take them: bytes are given back to
 * the sender's window only when they were written, so what a reader leaves lying waits in the zone
 * and not here. Standard input is read no further than the window allows; its end becomes a
 * half-close. Main thread only; the sender is not trusted, but its window bounds what it can make
 * us hold.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "protect/cli/connect.h"
#include "protect/cli/terminal.h"

/* One output: a stream of the daemon and the descriptor its bytes go to. */
struct relay_out {
	struct idm_stream *stream; /* NULL once it is over */
	int fd;
	bool closed;	  /* no more bytes will come */
	bool local_ended; /* we send no more */
	bool any_size;	  /* a regular file: a write of any size does not block */
	uint8_t *buf;	  /* IDM_WINDOW bytes */
	size_t start, end;
};

struct relay {
	struct connection *connection;
	struct relay_out out, err; /* stdio (both ways) and stderr */
	bool has_err;
	bool input_open;
	bool has_terminal;
	bool may_detach, detached;
	struct terminal terminal;
	int signals; /* signalfd(2), or -1 */
	unsigned interrupts;
	uint64_t request_id; /* what resizes and signals refer to; 0 = none yet */
	int failure;	     /* the exit status when this program fails */
	int ended_by; /* an exit status that ends it at once: a signal, a broken pipe; 0 = none */
};

enum relay_flags {
	RELAY_INPUT = 1,    /* send standard input */
	RELAY_STDERR = 2,   /* a stream of its own for standard error */
	RELAY_TERMINAL = 4, /* raw mode, sizes */
	RELAY_DETACH = 16,  /* Ctrl-] on the terminal ends the relay and leaves the process there */
	RELAY_QUIET = 32,   /* without RELAY_INPUT: the input there is not ended by it */
	RELAY_SIGNALS = 8,  /* SIGINT, SIGTERM, SIGHUP go to the process there */
};

/* Opens the streams. Returns 0 or a negative errno, having said so. relay_deinit() is needed in any
 * case, and may run twice. */
int relay_init(struct relay *relay, struct connection *connection, unsigned flags);
void relay_deinit(struct relay *relay);

/* To name in the request: the streams' numbers; stderr 0 without one. */
uint64_t relay_stdio_number(const struct relay *relay);
uint64_t relay_stderr_number(const struct relay *relay);

/*
 * Moves bytes until the reply is there, and, with `drain`, all output was written. Returns 0, or
 * the exit status that ended it early. Who has left by Ctrl-] finds that in `detached`.
 */
int relay_run(struct relay *relay, struct reply *reply, bool drain);
