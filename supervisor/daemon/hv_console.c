// SPDX-License-Identifier: Apache-2.0
/*
 * METHOD_HOST_HV_CONSOLE: what runners wrote to their logs, of one zone or of all, zone after zone,
 * then (follow) what comes. A runner is not trusted: its log is looked at where it is, in pieces;
 * what is no printable ASCII is escaped; lines are cut into pieces of LINE_MAX_BYTES; a reader
 * holds OUT_BYTES at most and reads on only when its client has taken them. The logs are files, so
 * they are asked every POLL_NS whether they grew.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/zone.h"

#define OUT_BYTES      (32u * 1024)
#define CHUNK_BYTES    8192u
#define LINE_MAX_BYTES 1024u
#define LINE_ROOM      (NAME_SIZE + 2 + 4 * LINE_MAX_BYTES + 1) /* shown, with name and escapes */
#define READERS_MAX    64u
#define POLL_NS	       (500 * NS_PER_MS)

/* How far one zone's log was read. */
struct position {
	char uuid[UUID_TEXT_SIZE];
	uint64_t offset, until;
	bool complete; /* nothing more will come */
};

struct hv_reader {
	struct hv_reader *next;
	struct daemon *daemon;
	struct ticket ticket;
	struct idm_stream *stream; /* NULL once closed */
	bool peer_ended;	   /* the client sends no more */
	bool answered;
	bool follow, names;	    /* go on; begin lines with the zone's name */
	char only[UUID_TEXT_SIZE];  /* empty = every zone */
	struct position *positions; /* in the order of the daemon's list */
	size_t n_positions;
	struct timer again;
	size_t start, len; /* of what waits in out */
	char out[OUT_BYTES];
};

static void reader_free(struct hv_reader *reader)
{
	for (struct hv_reader **place = &reader->daemon->hv_readers; *place;
	     place = &(*place)->next)
		if (*place == reader) {
			*place = reader->next;
			break;
		}
	timer_stop(&reader->again);
	free(reader->positions);
	free(reader);
}

/* All was handed over, or the client has gone. The reader may be gone after it. */
static void finish(struct hv_reader *reader)
{
	struct idm_stream *stream = reader->stream;

	reader->answered = true;
	timer_stop(&reader->again);
	server_reply_empty(reader->daemon, reader->ticket);
	if (reader->peer_ended)
		reader->stream = NULL;
	if (stream)
		idm_stream_end(stream);
	if (!reader->stream)
		reader_free(reader);
}

static void show_byte(struct hv_reader *reader, unsigned char byte)
{
	char *at = reader->out + reader->len;

	if (byte >= ' ' && byte < 0x7f) {
		*at = (char)byte;
		reader->len++;
	} else {
		reader->len += (size_t)snprintf(at, OUT_BYTES - reader->len, "\\x%02x", byte);
	}
}

/* The caller has seen to the room. */
static void show_line(struct hv_reader *reader, const struct zone *zone, const uint8_t *line,
		      size_t len)
{
	if (len == 0)
		return;
	if (reader->names)
		reader->len += (size_t)snprintf(reader->out + reader->len, OUT_BYTES - reader->len,
						"%s: ", zone->row.name);
	for (size_t i = 0; i < len; i++)
		show_byte(reader, line[i]);
	reader->out[reader->len++] = '\n';
}

/*
 * Shows the lines of a chunk as far as there is room. last: the chunk ends where the log does, and
 * what is there of its last line is all of it. Returns how many bytes were taken.
 */
static size_t show_lines(struct hv_reader *reader, const struct zone *zone, const uint8_t *chunk,
			 size_t len, bool last)
{
	size_t done = 0;

	while (done < len && OUT_BYTES - reader->len > LINE_ROOM) {
		size_t left = len - done;
		const uint8_t *end = memchr(chunk + done, '\n', left);
		size_t line = end ? (size_t)(end - chunk) - done : left;

		if (line >= LINE_MAX_BYTES) {
			show_line(reader, zone, chunk + done, LINE_MAX_BYTES);
			done += LINE_MAX_BYTES;
		} else if (end || last) {
			show_line(reader, zone, chunk + done, line);
			done += line + (end ? 1 : 0);
		} else {
			break;
		}
	}
	return done;
}

/* Opens a zone's log; size_bytes is 0 and the descriptor -1 where there is none. */
static int open_log(const struct zone *zone, uint64_t *size_bytes)
{
	_cleanup_(close_fdp) int fd = -1;
	struct stat st;
	char path[256];

	*size_bytes = 0;
	if (zone_path(zone, "log", path, sizeof(path)) == 0)
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	*size_bytes = (uint64_t)st.st_size;
	return steal_fd(&fd);
}

static void read_zone(struct hv_reader *reader, struct position *position, const struct zone *zone)
{
	_cleanup_(close_fdp) int fd = -1;
	bool ended = zone->phase == ZONE_PHASE_ENDED;
	uint8_t chunk[CHUNK_BYTES];
	uint64_t size_bytes, until;
	size_t taken = 1;

	if (position->complete || OUT_BYTES - reader->len <= LINE_ROOM)
		return;
	fd = open_log(zone, &size_bytes);
	if (size_bytes < position->offset) /* it was emptied meanwhile */
		position->offset = 0;
	/* Who does not follow gets what there was at first: a busy log would have no end. */
	if (!reader->follow && position->until == 0)
		position->until = size_bytes;
	until = reader->follow || position->until > size_bytes ? size_bytes : position->until;
	while (fd >= 0 && position->offset < until && taken) {
		uint64_t left = until - position->offset;
		size_t wanted = left < sizeof(chunk) ? (size_t)left : sizeof(chunk);
		ssize_t n = io_pread_full(fd, chunk, wanted, position->offset);

		if (n <= 0)
			break;
		taken = show_lines(reader, zone, chunk, (size_t)n,
				   left == (uint64_t)n && (ended || !reader->follow));
		position->offset += taken;
	}
	position->complete = (ended || !reader->follow) && position->offset >= until;
}

/* The position of the next zone in the list; those of zones that have gone before it go too. */
static struct position *position_of(struct hv_reader *reader, size_t at, const struct zone *zone)
{
	struct position *grown;
	size_t found = at;

	while (found < reader->n_positions &&
	       strcmp(reader->positions[found].uuid, zone->row.uuid) != 0)
		found++;
	if (found < reader->n_positions) {
		memmove(reader->positions + at, reader->positions + found,
			(reader->n_positions - found) * sizeof(*reader->positions));
		reader->n_positions -= found - at;
		return reader->positions + at;
	}
	grown = reallocarray(reader->positions, at + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	reader->positions = grown;
	reader->n_positions = at + 1;
	grown[at] = (struct position){0};
	memcpy(grown[at].uuid, zone->row.uuid, sizeof(grown[at].uuid));
	return grown + at;
}

/* Reads on in the logs as far as there is room. Returns whether no zone has anything more to come.
 */
static bool read_logs(struct hv_reader *reader)
{
	bool complete = true;
	size_t at = 0;

	for (const struct zone *z = reader->daemon->zones; z; z = z->next) {
		struct position *position;

		if (*reader->only && strcmp(z->row.uuid, reader->only) != 0)
			continue;
		position = position_of(reader, at++, z);
		if (!position)
			continue;
		read_zone(reader, position, z);
		complete &= position->complete;
	}
	return complete && (!reader->follow || *reader->only);
}

/* The reader may be gone after it. */
static void push(void *user)
{
	struct hv_reader *reader = user;
	bool complete;

	do {
		size_t n;

		complete = false;
		if (reader->start == reader->len) {
			reader->start = reader->len = 0;
			complete = read_logs(reader);
		}
		n = idm_stream_write(reader->stream, reader->out + reader->start,
				     reader->len - reader->start);
		reader->start += n;
		if (reader->start < reader->len)
			return; /* goes on when the client has taken some */
	} while (reader->len > 0);
	if (complete)
		finish(reader);
	else
		timer_set(&reader->daemon->hub, &reader->again, clock_now_ns() + POLL_NS, push,
			  reader);
}

static void got_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	(void)user;
	(void)data;
	idm_stream_consumed(stream, len);
}

static void got_room(void *user, struct idm_stream *stream)
{
	struct hv_reader *reader = user;

	(void)stream;
	if (!reader->answered)
		push(reader);
}

static void got_end(void *user, struct idm_stream *stream, int error)
{
	struct hv_reader *reader = user;

	(void)stream;
	if (error == 0 && !reader->answered) {
		reader->peer_ended = true;
		return;
	}
	reader->stream = NULL;
	if (reader->answered)
		reader_free(reader);
	else
		finish(reader);
}

static const struct idm_stream_ops ops = {
	.data = got_data, .writable = got_room, .closed = got_end};

static unsigned count_readers(const struct daemon *d)
{
	unsigned n = 0;

	for (const struct hv_reader *r = d->hv_readers; r; r = r->next)
		n++;
	return n;
}

static void start(struct daemon *d, struct ticket ticket, const Protect__Control__Logs *request,
		  const struct zone *only)
{
	struct idm *idm = server_session(d, ticket.client);
	struct hv_reader *reader = idm ? calloc(1, sizeof(*reader)) : NULL;
	int r;

	if (!reader) {
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	reader->daemon = d;
	reader->ticket = ticket;
	reader->follow = request->follow;
	reader->names = !only && (request->follow || d->n_zones > 1);
	if (only)
		memcpy(reader->only, only->row.uuid, sizeof(reader->only));
	r = idm_stream_accept(idm, request->stream, 0, &ops, reader, &reader->stream);
	if (r < 0) {
		free(reader);
		server_fail(d, ticket, r, "the request names no stream of this connection");
		return;
	}
	reader->next = d->hv_readers;
	d->hv_readers = reader;
	push(reader);
}

void control_host_hv_console(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Logs *request = message;
	const struct zone *only = NULL;
	struct error err = ERROR_NULL;

	if (*request->ref)
		only = zone_find(d, request->ref, &err);
	if (!err.code && count_readers(d) >= READERS_MAX)
		error_set(&err, -EBUSY, "%u commands read the runners' logs already; try again",
			  READERS_MAX);
	if (err.code)
		server_fail_error(d, ticket, &err);
	else
		start(d, ticket, request, only);
}
