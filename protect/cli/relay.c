// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/relay.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "protect/cli/args.h"
#include "protect/cli/output.h"

#define INPUT_CHUNK	    (32u * 1024)
#define DETACH_KEY	    0x1d /* Ctrl-] */
#define FLUSH_TURNS	    20u	 /* for what was typed before it */
#define FLUSH_TURN_MS	    50
#define INTERRUPTS_TO_LEAVE 3 /* a zone that ignores SIGINT must not keep the caller */
#define DRAIN_GRACE_NS                                                                             \
	(5 * NS_PER_S) /* a process that ended, its output held open by another one */

static void on_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	struct relay_out *out = user;

	(void)stream;
	if (out->end + len > IDM_WINDOW) {
		memmove(out->buf, out->buf + out->start, out->end - out->start);
		out->end -= out->start;
		out->start = 0;
	}
	memcpy(out->buf + out->end, data, len); /* fits: no more than the window is unconsumed */
	out->end += len;
}

static void on_closed(void *user, struct idm_stream *stream, int error)
{
	struct relay_out *out = user;

	(void)stream;
	out->closed = true;
	if (error || out->local_ended)
		out->stream = NULL;
}

static void end_input(struct relay_out *out)
{
	struct idm_stream *stream = out->stream;

	if (!stream || out->local_ended)
		return;
	out->local_ended = true;
	if (out->closed)
		out->stream = NULL;
	idm_stream_end(stream);
}

static int open_out(struct relay *relay, struct relay_out *out, int fd)
{
	static const struct idm_stream_ops ops = {on_data, NULL, on_closed};
	struct stat st;

	*out = (struct relay_out){.fd = fd, .buf = malloc(IDM_WINDOW)};
	if (!out->buf)
		return -ENOMEM;
	out->any_size = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	return idm_stream_open(relay->connection->idm, IDM_WINDOW, &ops, out, &out->stream);
}

static int open_signals(struct relay *relay, unsigned flags)
{
	sigset_t set;

	sigemptyset(&set);
	if (flags & RELAY_SIGNALS) {
		sigaddset(&set, SIGINT);
		sigaddset(&set, SIGTERM);
		sigaddset(&set, SIGHUP);
	}
	if (flags & RELAY_TERMINAL)
		sigaddset(&set, SIGWINCH);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	relay->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return relay->signals < 0 ? -errno : 0;
}

int relay_init(struct relay *relay, struct connection *connection, unsigned flags)
{
	int r;

	*relay = (struct relay){.connection = connection, .signals = -1};
	relay->has_err = flags & RELAY_STDERR;
	relay->input_open = flags & RELAY_INPUT;
	relay->has_terminal = flags & RELAY_TERMINAL;
	relay->may_detach = (flags & RELAY_DETACH) && relay->has_terminal;
	relay->failure = flags & RELAY_SIGNALS ? CLI_EXEC_FAILED : CLI_ERROR;
	r = open_out(relay, &relay->out, STDOUT_FILENO);
	if (!r && relay->has_err)
		r = open_out(relay, &relay->err, STDERR_FILENO);
	if (!r && flags & (RELAY_SIGNALS | RELAY_TERMINAL))
		r = open_signals(relay, flags);
	if (r < 0) {
		output_error("cannot open the streams: %s", strerror(-r));
		return r;
	}
	if (relay->has_err)
		end_input(&relay->err);
	if (!relay->input_open && !(flags & RELAY_QUIET))
		end_input(&relay->out);
	signal(SIGPIPE,
	       SIG_IGN); /* a broken pipe is seen at write(2), with the terminal to be restored */
	return 0;
}

void relay_deinit(struct relay *relay)
{
	terminal_restore(&relay->terminal);
	/* A stream that is left goes with the connection; its owner here does not live so long. */
	if (relay->out.stream)
		idm_stream_reset(relay->out.stream, -ECANCELED);
	if (relay->err.stream)
		idm_stream_reset(relay->err.stream, -ECANCELED);
	free(relay->out.buf);
	free(relay->err.buf);
	close_fdp(&relay->signals);
	*relay = (struct relay){.signals = -1};
}

uint64_t relay_stdio_number(const struct relay *relay)
{
	return idm_stream_number(relay->out.stream);
}

uint64_t relay_stderr_number(const struct relay *relay)
{
	return relay->err.stream ? idm_stream_number(relay->err.stream) : 0;
}

static size_t pending(const struct relay_out *out)
{
	return out->end - out->start;
}

/* poll(2) said that there is room: PIPE_BUF bytes then do not block. */
static void write_out(struct relay *relay, struct relay_out *out)
{
	size_t len = pending(out);
	ssize_t n;

	if (!out->any_size && len > PIPE_BUF)
		len = PIPE_BUF;
	n = write(out->fd, out->buf + out->start, len);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		relay->ended_by = errno == EPIPE ? 128 + SIGPIPE : relay->failure;
		if (errno != EPIPE)
			output_error("cannot write the output: %s", strerror(errno));
		return;
	}
	out->start += (size_t)n;
	if (out->start == out->end)
		out->start = out->end = 0;
	if (out->stream)
		idm_stream_consumed(out->stream, (size_t)n);
}

static void send_input(struct relay *relay, const uint8_t *data, size_t len)
{
	const uint8_t *key = relay->may_detach ? memchr(data, DETACH_KEY, len) : NULL;

	relay->detached = key != NULL;
	idm_stream_write(relay->out.stream, data, key ? (size_t)(key - data) : len);
}

static void read_input(struct relay *relay)
{
	uint8_t buf[INPUT_CHUNK];
	size_t room = idm_stream_room(relay->out.stream);
	ssize_t n;

	if (!room)
		return;
	n = read(STDIN_FILENO, buf, room < sizeof(buf) ? room : sizeof(buf));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		send_input(relay, buf, (size_t)n);
		return;
	}
	relay->input_open = false;
	end_input(&relay->out);
}

static void send_size(struct relay *relay)
{
	Protect__Control__ExecResize resize = PROTECT__CONTROL__EXEC_RESIZE__INIT;
	Protect__Control__Terminal size = PROTECT__CONTROL__TERMINAL__INIT;

	terminal_size(&size.rows, &size.columns);
	resize.request_id = relay->request_id;
	resize.terminal = &size;
	connection_send(relay->connection, METHOD(EXEC_RESIZE), &resize.base);
}

static void got_signal(struct relay *relay, uint32_t number)
{
	Protect__Control__ExecSignal message = PROTECT__CONTROL__EXEC_SIGNAL__INIT;

	if (number == SIGWINCH) {
		send_size(relay);
		return;
	}
	/* In raw mode the keys are bytes of the terminal; a signal is then meant for us. */
	if (relay->has_terminal || ++relay->interrupts >= INTERRUPTS_TO_LEAVE) {
		relay->ended_by = 128 + (int)number;
		return;
	}
	message.request_id = relay->request_id;
	message.signal = number;
	connection_send(relay->connection, METHOD(EXEC_SIGNAL), &message.base);
}

static void read_signals(struct relay *relay)
{
	struct signalfd_siginfo info;

	while (read(relay->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		got_signal(relay, info.ssi_signo);
}

static bool all_written(const struct relay *relay)
{
	return !pending(&relay->out) && !pending(&relay->err);
}

static bool all_closed(const struct relay *relay)
{
	return relay->out.closed && (!relay->has_err || relay->err.closed);
}

/* One wait; whatever can move moves. Only descriptors that can move something are polled: a slot's
 * fd is -1 otherwise. */
static int turn(struct relay *relay, int timeout_ms)
{
	bool can_read =
		relay->input_open && relay->out.stream && idm_stream_room(relay->out.stream);
	struct pollfd polls[4] = {
		{.fd = relay->signals, .events = POLLIN},
		{.fd = can_read ? STDIN_FILENO : -1, .events = POLLIN},
		{.fd = pending(&relay->out) ? STDOUT_FILENO : -1, .events = POLLOUT},
		{.fd = pending(&relay->err) ? STDERR_FILENO : -1, .events = POLLOUT},
	};
	int r = 0;

	if (!relay->connection->lost)
		r = connection_turn(relay->connection, polls, 4, timeout_ms);
	else if (poll(polls, 4, timeout_ms) <
		 0) /* what came before the connection was lost is still written */
		return 0;
	if (polls[2].revents)
		write_out(relay, &relay->out);
	if (polls[3].revents)
		write_out(relay, &relay->err);
	if (polls[0].revents)
		read_signals(relay);
	if (polls[1].revents && relay->out.stream)
		read_input(relay);
	return r;
}

int relay_run(struct relay *relay, struct reply *reply, bool drain)
{
	uint64_t idle_since_ns = 0;

	if (relay->has_terminal)
		terminal_make_raw(&relay->terminal);
	while (!relay->ended_by && !relay->detached) {
		bool waiting = reply->done && all_written(relay);

		if (reply->done && (!drain || (reply->error && all_written(relay))))
			break;
		if (waiting && all_closed(relay))
			break;
		if (!waiting)
			idle_since_ns = 0;
		else if (!idle_since_ns)
			idle_since_ns = clock_now_ns();
		else if (clock_now_ns() - idle_since_ns > DRAIN_GRACE_NS)
			break;
		turn(relay, waiting ? 500 : -1);
	}
	for (unsigned i = 0; relay->detached && !relay->connection->lost && i < FLUSH_TURNS &&
			     idm_has_output(relay->connection->idm);
	     i++)
		connection_turn(relay->connection, NULL, 0, FLUSH_TURN_MS);
	if (drain || reply->error || relay->ended_by || relay->detached)
		terminal_restore(&relay->terminal);
	return relay->ended_by;
}
