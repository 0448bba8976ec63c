// SPDX-License-Identifier: Apache-2.0
#include "protect/shim/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static void watch_out(struct stdio_out *out)
{
	bool pending = out->start < out->end && out->source.fd >= 0;

	poller_watch(out->stdio->poller, &out->source, pending ? EPOLLOUT : 0);
}

/* Credit goes back as bytes leave, so what is pending never exceeds the buffer. */
static void consumed(struct stdio_out *out, size_t len)
{
	if (out->stream && len)
		idm_stream_consumed(out->stream, len);
}

static void write_some(struct stdio_out *out)
{
	while (out->start < out->end) {
		ssize_t n = out->stdio->discard || out->source.fd < 0
				    ? (ssize_t)(out->end - out->start)
				    : write(out->source.fd, out->buf + out->start,
					    out->end - out->start);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) /* a FIFO that is no more: nobody will read it */
			n = (ssize_t)(out->end - out->start);
		out->start += (size_t)n;
		consumed(out, (size_t)n);
	}
	if (out->start == out->end)
		out->start = out->end = 0;
	watch_out(out);
	/* The end may be told of before the last of the output has come. */
	if (out->stdio->finishing && out->end == 0 && !out->stream)
		close_fdp(&out->source.fd);
}

static void can_write(void *user, uint32_t events)
{
	(void)events;
	write_some(user);
}

static void got_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	struct stdio_out *out = user;

	(void)stream;
	if (out->end + len > STDIO_BUFFER) {
		memmove(out->buf, out->buf + out->start, out->end - out->start);
		out->end -= out->start;
		out->start = 0;
	}
	if (len > STDIO_BUFFER - out->end) /* cannot be: it is more than was granted */
		return;
	memcpy(out->buf + out->end, data, len);
	out->end += len;
	write_some(out);
}

static void read_in(struct stdio *stdio);

static void got_writable(void *user, struct idm_stream *stream)
{
	struct stdio_out *out = user;

	(void)stream;
	if (out == &out->stdio->out)
		read_in(out->stdio);
}

static void stop_in(struct stdio *stdio)
{
	poller_watch(stdio->poller, &stdio->in, 0);
	close_fdp(&stdio->in.fd);
}

static void got_closed(void *user, struct idm_stream *stream, int error)
{
	struct stdio_out *out = user;
	struct stdio *stdio = out->stdio;
	bool ours_ended = out != &stdio->out || stdio->end_sent;

	out->stream = NULL;
	if (stdio->finishing)
		write_some(out);
	if (error || ours_ended)
		return;
	/* The process has gone; what else is typed is for nobody. */
	stop_in(stdio);
	idm_stream_end(stream);
}

static const struct idm_stream_ops stream_ops = {got_data, got_writable, got_closed};

static void end_in(struct stdio *stdio)
{
	struct idm_stream *stream = stdio->out.stream;

	stop_in(stdio);
	if (stream && !stdio->end_sent)
		idm_stream_end(stream);
	stdio->end_sent = true;
}

/* Writes what was read; the stream tells when it takes the rest. Returns whether all of it left. */
static bool pass_in(struct stdio *stdio)
{
	size_t len = stdio->in_end - stdio->in_start;

	if (len && stdio->out.stream)
		stdio->in_start +=
			idm_stream_write(stdio->out.stream, stdio->in_buf + stdio->in_start, len);
	return stdio->in_start == stdio->in_end;
}

/* One piece from the FIFO to the stream. Returns whether there may be more that can go. */
static bool move_in(struct stdio *stdio)
{
	ssize_t n;

	if (!stdio->out.stream || !pass_in(stdio)) {
		poller_watch(stdio->poller, &stdio->in, 0);
		return false;
	}
	n = read(stdio->in.fd, stdio->in_buf, sizeof(stdio->in_buf));
	stdio->in_start = 0;
	stdio->in_end = n > 0 ? (size_t)n : 0;
	if (n == 0 || (n < 0 && errno == EAGAIN && stdio->in_closing)) {
		end_in(stdio);
		return false;
	}
	poller_watch(stdio->poller, &stdio->in, EPOLLIN);
	return n > 0;
}

/* What the daemon has no room for stays in the FIFO. After CloseIO its end is where it is empty, of
 * which no event tells. */
static void read_in(struct stdio *stdio)
{
	while (stdio->in.fd >= 0 && move_in(stdio) && stdio->in_closing)
		;
}

static void can_read(void *user, uint32_t events)
{
	(void)events;
	read_in(user);
}

static int open_fifo(const char *path, struct error *err)
{
	_cleanup_(close_fdp) int fd = -1;
	struct stat st;

	if (!*path)
		return -1;
	if (*path != '/')
		return error_set(err, -EINVAL,
				 "%s is no FIFO: logs by binary:// or file:// are not to be had",
				 path);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return error_set_errno(err, -errno, "the FIFO %s", path);
	if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
		return error_set(err, -EINVAL,
				 "%s is no FIFO: the shim writes to FIFOs of containerd only",
				 path);
	return steal_fd(&fd);
}

static int open_out(struct stdio *stdio, struct stdio_out *out, const char *path, struct error *err)
{
	out->stdio = stdio;
	out->source = (struct source){.fd = open_fifo(path, err), .ready = can_write, .user = out};
	if (err->code)
		return err->code;
	out->buf = malloc(STDIO_BUFFER);
	return out->buf ? 0 : error_set(err, -ENOMEM, "the shim is out of memory");
}

int stdio_init(struct stdio *stdio, struct poller *poller, const char *in, const char *out,
	       const char *err_path, bool terminal, struct error *err)
{
	int r;

	*stdio = (struct stdio){.poller = poller, .in.fd = -1};
	stdio->err.source.fd = -1;
	stdio->err.stdio = stdio;
	r = open_out(stdio, &stdio->out, out, err);
	if (r == 0 && !terminal)
		r = open_out(stdio, &stdio->err, err_path, err);
	if (r < 0)
		return r;
	stdio->in = (struct source){.fd = open_fifo(in, err), .ready = can_read, .user = stdio};
	return err->code;
}

static void cut(struct stdio_out *out)
{
	if (out->stream)
		idm_stream_reset(out->stream, -ECANCELED);
	out->stream = NULL;
}

static void out_deinit(struct stdio_out *out)
{
	if (!out->stdio)
		return;
	poller_watch(out->stdio->poller, &out->source, 0);
	close_fdp(&out->source.fd);
	cut(out);
	free(out->buf);
	out->buf = NULL;
	out->start = out->end = 0;
}

void stdio_deinit(struct stdio *stdio)
{
	if (!stdio->poller)
		return;
	stop_in(stdio);
	out_deinit(&stdio->out);
	out_deinit(&stdio->err);
}

int stdio_open_streams(struct stdio *stdio, struct idm *idm, bool terminal)
{
	int r = idm_stream_open(idm, STDIO_BUFFER, &stream_ops, &stdio->out, &stdio->out.stream);

	stdio->end_sent = false;
	if (r == 0 && !terminal)
		r = idm_stream_open(idm, STDIO_BUFFER, &stream_ops, &stdio->err,
				    &stdio->err.stream);
	if (r < 0)
		return r;
	if (stdio->err.stream)
		idm_stream_end(stdio->err.stream);
	if (stdio->in.fd < 0)
		end_in(stdio);
	else
		read_in(stdio);
	return 0;
}

uint64_t stdio_number(const struct stdio *stdio)
{
	return stdio->out.stream ? idm_stream_number(stdio->out.stream) : 0;
}

uint64_t stdio_err_number(const struct stdio *stdio)
{
	return stdio->err.stream ? idm_stream_number(stdio->err.stream) : 0;
}

void stdio_close_in(struct stdio *stdio)
{
	stdio->in_closing = true;
	read_in(stdio);
}

void stdio_discard(struct stdio *stdio)
{
	stdio->discard = true;
	write_some(&stdio->out);
	write_some(&stdio->err);
}

void stdio_cut(struct stdio *stdio)
{
	if (!stdio->poller)
		return;
	cut(&stdio->out);
	cut(&stdio->err);
	if (stdio->finishing)
		stdio_finish(stdio);
}

void stdio_finish(struct stdio *stdio)
{
	if (!stdio->poller)
		return;
	stdio->finishing = true;
	stop_in(stdio);
	write_some(&stdio->out);
	write_some(&stdio->err);
}

void stdio_say(struct stdio *stdio, const char *text)
{
	struct stdio_out *out = stdio->err.source.fd >= 0 ? &stdio->err : &stdio->out;
	size_t len = strlen(text);

	if (!out->buf || len > STDIO_BUFFER - out->end)
		return;
	/* Bytes that the stream did not bring are not to be given back to it. */
	cut(out);
	memcpy(out->buf + out->end, text, len);
	out->end += len;
	write_some(out);
}
