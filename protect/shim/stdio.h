// SPDX-License-Identifier: Apache-2.0
/*
 * The standard streams of a process: containerd's FIFOs on one side, streams of the daemon's
 * session on the other. A FIFO is opened for both ways and non-blocking, so that no open waits for
 * its other end, nothing is lost while containerd is away, and no write ends in SIGPIPE; the end of
 * its input is therefore told by CloseIO alone. What containerd does not read holds the process up,
 * no one else.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "idm-vsock/session.h"
#include "protect/shim/poller.h"

#define STDIO_BUFFER IDM_WINDOW

/* An output: what came and could not be written yet. */
struct stdio_out {
	struct stdio *stdio;
	struct source source;
	struct idm_stream *stream;
	size_t start, end;
	uint8_t *buf; /* of STDIO_BUFFER, which is the stream's window */
};

struct stdio {
	struct poller *poller;
	struct stdio_out out, err; /* out.stream also takes the input */
	struct source in;
	uint8_t in_buf[4096]; /* read, and not yet taken by the stream */
	size_t in_start, in_end;
	bool in_closing; /* CloseIO came: it ends when it is empty */
	bool end_sent;	 /* the process was told that nothing more comes */
	bool finishing;
	bool discard; /* outputs are read and forgotten */
};

/* Opens the FIFOs (empty = none). Returns 0 or a negative errno with *err set. */
int stdio_init(struct stdio *stdio, struct poller *poller, const char *in, const char *out,
	       const char *err_path, bool terminal, struct error *err);

/* Closes all of it; streams that are open are reset. May run twice. */
void stdio_deinit(struct stdio *stdio);

/* Opens streams in a session: to be named in a request by the numbers. Returns 0 or a negative
 * errno. */
int stdio_open_streams(struct stdio *stdio, struct idm *idm, bool terminal);
uint64_t stdio_number(const struct stdio *stdio);
uint64_t stdio_err_number(const struct stdio *stdio);

/* No more input after what is in the FIFO. */
void stdio_close_in(struct stdio *stdio);

/* The process is dead and must not wait for a reader of what it wrote. */
void stdio_discard(struct stdio *stdio);

/* Nothing more comes from the daemon, whatever it says of the streams. */
void stdio_cut(struct stdio *stdio);

/* The process has ended: each FIFO is closed, which ends it for its reader, once the daemon has
 * ended the stream and all that it brought is in the FIFO. */
void stdio_finish(struct stdio *stdio);

/* Adds a line of ours to its errors, of which no more come. */
void stdio_say(struct stdio *stdio, const char *text);
