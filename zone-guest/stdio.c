// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "zone-guest/ring.h"

#define TURN_READS   8u		/* reads in one turn, so that one flood does not starve the rest */
#define FINISH_BYTES (2u << 20) /* what is read at most after the end: more than any pipe holds */
#define TERMINAL_EOF "\x04"

struct output {
	struct stdio *owner;
	struct reactor_watch watch; /* fd is owned */
	struct idm_stream *stream;  /* NULL = none */
	struct ring ring;
	bool eof;	 /* nothing more will be read */
	bool ended;	 /* stream: this side has ended */
	bool peer_ended; /* stream: the peer has ended */
};

struct stdio {
	struct reactor *reactor;
	void (*drained)(void *user);
	void *user;
	struct output out, err;
	struct reactor_watch in_watch; /* fd is owned; of a terminal a duplicate, so that each
					  direction has its own watch */
	struct ring in;
	uint32_t in_stale; /* bytes in the ring whose stream is gone: no credit to give back */
	uint32_t finish_budget;
	unsigned busy;
	bool in_started; /* until then input is kept: the process is not there yet */
	bool terminal, in_ending, finishing, told, released;
};

static bool output_done(const struct output *output)
{
	return output->eof && (!output->stream || output->ended);
}

/* The last act of every entry: tells the owner, and frees when neither owner nor stream is left. */
static void settle(struct stdio *stdio)
{
	if (stdio->finishing && !stdio->told && output_done(&stdio->out) &&
	    output_done(&stdio->err)) {
		stdio->told = true;
		stdio->busy++;
		stdio->drained(stdio->user);
		stdio->busy--;
	}
	if (!stdio->released || stdio->busy || stdio->out.stream || stdio->err.stream)
		return;
	free(stdio->out.ring.bytes);
	free(stdio->err.ring.bytes);
	free(stdio->in.bytes);
	free(stdio);
}

static void close_watch(struct stdio *stdio, struct reactor_watch *watch)
{
	int fd = watch->fd;

	reactor_unwatch(stdio->reactor, watch);
	close_fdp(&fd);
}

static void end_stream(struct output *output)
{
	struct idm_stream *stream = output->stream;

	if (!stream || output->ended)
		return;
	output->ended = true;
	if (output->peer_ended)
		output->stream = NULL; /* both have ended: the session frees it */
	idm_stream_end(stream);
}

static void ring_to_stream(struct output *output)
{
	const uint8_t *at;
	uint32_t run;

	while (output->stream && !output->ended && (run = ring_peek(&output->ring, &at)) > 0) {
		size_t took = idm_stream_write(output->stream, at, run);

		ring_take(&output->ring, (uint32_t)took);
		if (took < run)
			break; /* writable() follows */
	}
}

static void set_eof(struct output *output)
{
	output->eof = true;
	close_watch(output->owner, &output->watch);
}

/* One read into the ring. Returns whether another one makes sense now. */
static bool read_once(struct output *output)
{
	struct stdio *stdio = output->owner;
	uint32_t room;
	uint8_t *at;
	ssize_t n;

	if (!output->stream && ring_free(&output->ring) < output->ring.size / 4)
		ring_take(&output->ring, output->ring.size / 4 - ring_free(&output->ring));
	room = ring_space(&output->ring, &at);
	if (!room) {
		reactor_rewatch(stdio->reactor, &output->watch, 0);
		return false;
	}
	n = read(output->watch.fd, at, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR) && !stdio->finishing) {
		reactor_rewatch(stdio->reactor, &output->watch, EPOLLIN);
		return false;
	}
	/* A terminal says EIO when its last user is gone. */
	if (n <= 0 || (stdio->finishing && (uint32_t)n > stdio->finish_budget)) {
		set_eof(output);
		return false;
	}
	if (stdio->finishing)
		stdio->finish_budget -= (uint32_t)n;
	ring_filled(&output->ring, (uint32_t)n);
	return true;
}

static void output_pump(struct output *output)
{
	struct stdio *stdio = output->owner;

	for (unsigned i = 0; i < TURN_READS && !output->eof; i++) {
		ring_to_stream(output);
		if (!read_once(output))
			break;
		if (i + 1 == TURN_READS)
			reactor_rewatch(stdio->reactor, &output->watch, EPOLLIN);
	}
	ring_to_stream(output);
	if (output->eof && !ring_used(&output->ring))
		end_stream(output);
}

static void output_ready(struct reactor_watch *watch, uint32_t events)
{
	struct output *output = container_of(watch, struct output, watch);

	(void)events;
	output_pump(output);
	settle(output->owner);
}

static void close_input(struct stdio *stdio)
{
	if (stdio->in_watch.fd >= 0)
		close_watch(stdio, &stdio->in_watch);
}

/* Takes len bytes off the input ring and gives their credit back. */
static void input_used(struct stdio *stdio, uint32_t len)
{
	uint32_t stale = len < stdio->in_stale ? len : stdio->in_stale;

	ring_take(&stdio->in, len);
	stdio->in_stale -= stale;
	if (stdio->out.stream && len > stale)
		idm_stream_consumed(stdio->out.stream, len - stale);
}

static void input_pump(struct stdio *stdio)
{
	const uint8_t *at;
	uint32_t run;

	if (!stdio->in_started)
		return;
	while ((run = ring_peek(&stdio->in, &at)) > 0) {
		ssize_t n =
			stdio->in_watch.fd < 0 ? (ssize_t)run : write(stdio->in_watch.fd, at, run);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			reactor_rewatch(stdio->reactor, &stdio->in_watch, EPOLLOUT);
			return;
		}
		if (n < 0) {
			close_input(stdio); /* the process reads no more: what comes is dropped */
			continue;
		}
		input_used(stdio, (uint32_t)n);
	}
	reactor_rewatch(stdio->reactor, &stdio->in_watch, 0);
	if (!stdio->in_ending || stdio->in_watch.fd < 0)
		return;
	if (stdio->terminal && write(stdio->in_watch.fd, TERMINAL_EOF, 1) < 0 && errno == EAGAIN) {
		reactor_rewatch(stdio->reactor, &stdio->in_watch, EPOLLOUT);
		return;
	}
	close_input(stdio);
}

static void input_ready(struct reactor_watch *watch, uint32_t events)
{
	struct stdio *stdio = container_of(watch, struct stdio, in_watch);

	(void)events;
	input_pump(stdio);
	settle(stdio);
}

static void stream_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	struct output *output = user;
	struct stdio *stdio = output->owner;
	uint32_t kept;

	if (output != &stdio->out || stdio->released) {
		idm_stream_consumed(stream, len);
		return;
	}
	kept = ring_put(&stdio->in, data, len);
	if (kept < len) /* cannot be: the window is smaller than the ring's room */
		idm_stream_consumed(stream, len - kept);
	input_pump(stdio);
}

static void stream_writable(void *user, struct idm_stream *stream)
{
	struct output *output = user;

	(void)stream;
	output_pump(output);
	settle(output->owner);
}

static void stream_closed(void *user, struct idm_stream *stream, int error)
{
	struct output *output = user;
	struct stdio *stdio = output->owner;

	(void)stream;
	output->peer_ended = true;
	if (error || output->ended)
		output->stream = NULL;
	if (error && output == &stdio->out)
		stdio->in_stale = ring_used(&stdio->in);
	if (error && !stdio->released)
		output_pump(output); /* no one to wait for any more */
	if (!error && output == &stdio->out && !stdio->released) {
		stdio->in_ending = true;
		input_pump(stdio);
	}
	settle(stdio);
}

static const struct idm_stream_ops stream_ops = {
	.data = stream_data,
	.writable = stream_writable,
	.closed = stream_closed,
};

static int output_init(struct output *output, struct stdio *owner)
{
	output->owner = owner;
	output->watch = (struct reactor_watch){.fd = -1, .ready = output_ready};
	output->eof = true;
	output->ring = (struct ring){.bytes = malloc(STDIO_RING), .size = STDIO_RING};
	return output->ring.bytes ? 0 : -ENOMEM;
}

struct stdio *stdio_new(struct reactor *reactor, void (*drained)(void *user), void *user)
{
	struct stdio *stdio = calloc(1, sizeof(*stdio));

	if (!stdio)
		return NULL;
	stdio->reactor = reactor;
	stdio->drained = drained;
	stdio->user = user;
	stdio->finish_budget = FINISH_BYTES;
	stdio->in_watch = (struct reactor_watch){.fd = -1, .ready = input_ready};
	/*
	 * Twice the window: what a stream that is gone left behind, and what the next one may send.
	 */
	stdio->in = (struct ring){.bytes = malloc(2 * STDIO_WINDOW), .size = 2 * STDIO_WINDOW};
	if (output_init(&stdio->out, stdio) < 0 || output_init(&stdio->err, stdio) < 0 ||
	    !stdio->in.bytes) {
		stdio->released = true;
		settle(stdio);
		return NULL;
	}
	return stdio;
}

static int accept_stream(struct output *output, struct idm *idm, uint64_t number)
{
	if (output->stream)
		idm_stream_reset(steal_ptr(&output->stream), -ESTALE);
	output->ended = output->peer_ended = false;
	if (!number)
		return 0;
	return idm_stream_accept(idm, number, STDIO_WINDOW, &stream_ops, output, &output->stream);
}

int stdio_attach(struct stdio *stdio, struct idm *idm, uint64_t stdio_stream,
		 uint64_t stderr_stream)
{
	int r;

	stdio->in_stale = ring_used(&stdio->in);
	if (stdio->in_stale > STDIO_WINDOW) {
		stdio->in.tail -= stdio->in_stale - STDIO_WINDOW;
		stdio->in_stale = STDIO_WINDOW;
	}
	r = accept_stream(&stdio->out, idm, stdio_stream);
	if (r == 0)
		r = accept_stream(&stdio->err, idm, stderr_stream);
	if (r < 0) {
		accept_stream(&stdio->out, idm, 0);
		accept_stream(&stdio->err, idm, 0);
		return r;
	}
	/* Before the process is there its outputs have no descriptor: nothing has ended then. */
	if (stdio->out.watch.fd >= 0 || stdio->finishing)
		output_pump(&stdio->out);
	if (stdio->err.watch.fd >= 0 || stdio->finishing)
		output_pump(&stdio->err);
	return 0;
}

static int start_output(struct output *output, int fd)
{
	int r;

	if (fd < 0) {
		output->eof = true;
		return 0;
	}
	output->eof = false;
	io_set_nonblock(fd, 1);
	r = reactor_watch(output->owner->reactor, &output->watch, fd, EPOLLIN);
	if (r < 0)
		set_eof(output);
	return r;
}

static void start_input(struct stdio *stdio, int fd)
{
	stdio->in_watch.fd = fd;
	stdio->in_started = true;
	if (fd >= 0)
		io_set_nonblock(fd, 1);
	input_pump(stdio);
}

int stdio_set_pipes(struct stdio *stdio, int in, int out, int err)
{
	int r = start_output(&stdio->out, out), r2 = start_output(&stdio->err, err);

	start_input(stdio, in);
	return r < 0 ? r : r2;
}

int stdio_set_terminal(struct stdio *stdio, int master)
{
	int in = fcntl(master, F_DUPFD_CLOEXEC, 0);

	stdio->terminal = true;
	start_input(stdio, in);
	return start_output(&stdio->out, master);
}

int stdio_resize(struct stdio *stdio, uint16_t rows, uint16_t columns)
{
	struct winsize size = {.ws_row = rows, .ws_col = columns};

	if (!stdio->terminal || stdio->out.watch.fd < 0)
		return -ENOTTY;
	return ioctl(stdio->out.watch.fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

void stdio_finish(struct stdio *stdio)
{
	stdio->finishing = stdio->in_started = true;
	stdio->busy++;
	close_input(stdio);
	input_pump(stdio); /* what is left is dropped, its credit given back */
	output_pump(&stdio->out);
	output_pump(&stdio->err);
	stdio->busy--;
	settle(stdio);
}

static void release_output(struct output *output, int error)
{
	close_watch(output->owner, &output->watch);
	output->eof = true;
	if (output->stream && error)
		idm_stream_reset(steal_ptr(&output->stream), error);
	end_stream(output);
}

void stdio_release(struct stdio *stdio, int error)
{
	if (!stdio)
		return;
	stdio->told = true;
	close_input(stdio);
	release_output(&stdio->out, error);
	release_output(&stdio->err, error);
	stdio->released = true;
	settle(stdio);
}
