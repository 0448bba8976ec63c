// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/snoop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "idm-vsock/wire.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/snoop_json.h"
#include "supervisor/daemon/zone.h"

#define GATHER_NS  (5 * NS_PER_MS) /* live enough, and a burst costs one turn */
#define TURN_LINES 64u		   /* that one turn decodes */

struct record {
	struct record *next;
	struct timespec at;
	char zone[NAME_SIZE], uuid[UUID_TEXT_SIZE];
	const char *note; /* not a packet */
	struct snoop_packet packet;
	size_t size;
	uint8_t data[];
};

struct snooper {
	struct snooper *next;
	struct daemon *daemon;
	struct ticket ticket;
	struct idm_stream *stream; /* NULL once closed */
	char only[NAME_SIZE];	   /* a zone's name or UUID; empty = every zone */
	struct record *first, **tail;
	size_t held;
	uint64_t dropped; /* since the last line about it */
	struct timer again;
	bool pending; /* the timer is set */
	char *text;   /* a line that the client did not take yet */
	size_t start, len;
};

static void push(void *user);

static void push_soon(struct snooper *s, uint64_t delay_ns)
{
	if (s->pending)
		return;
	s->pending = true;
	timer_set(&s->daemon->hub, &s->again, clock_now_ns() + delay_ns, push, s);
}

static bool wants(const struct snooper *s, const struct zone *zone)
{
	return s->stream && (!*s->only || strcmp(s->only, zone->row.name) == 0 ||
			     strcmp(s->only, zone->row.uuid) == 0);
}

static void add(struct snooper *s, const struct zone *zone, const char *note,
		const struct snoop_packet *packet)
{
	size_t size = sizeof(struct record) + (packet ? packet->have : 0);
	struct record *record = NULL;

	push_soon(s, GATHER_NS);
	if (s->held + size <= SNOOP_HELD_MAX)
		record = malloc(size);
	if (!record) {
		s->dropped++;
		return;
	}
	*record = (struct record){.note = note, .size = size};
	clock_gettime(CLOCK_REALTIME, &record->at);
	if (zone) {
		memcpy(record->zone, zone->row.name, sizeof(record->zone));
		memcpy(record->uuid, zone->row.uuid, sizeof(record->uuid));
	}
	if (packet) {
		record->packet = *packet;
		record->packet.data = record->data;
		if (packet->have)
			memcpy(record->data, packet->data, packet->have);
	}
	s->held += size;
	*s->tail = record;
	s->tail = &record->next;
}

void snoop_tap(const struct zone *zone, enum idm_direction direction, const void *bytes, size_t len)
{
	struct snoop_packet packet = {.from_zone = direction == IDM_IN};
	struct wire_packet wire;

	if (!zone->daemon->snoopers || wire_packet_decode(bytes, len, &wire) < 0)
		return;
	packet.form = wire.form;
	packet.id = wire.id;
	packet.channel = wire.channel;
	packet.len = wire.len;
	packet.data = wire.data;
	packet.have = snoop_keep(wire.form, wire.len);
	for (struct snooper *s = zone->daemon->snoopers; s; s = s->next)
		if (wants(s, zone))
			add(s, zone, NULL, &packet);
}

void snoop_note(const struct zone *zone, const char *text)
{
	for (struct snooper *s = zone->daemon->snoopers; s; s = s->next)
		if (wants(s, zone))
			add(s, zone, text, NULL);
}

/* What entropy and environments it held goes with it. */
static void record_free(struct record *record)
{
	explicit_bzero(record->data, record->size - sizeof(*record));
	free(record);
}

static void take_first(struct snooper *s)
{
	struct record *record = s->first;

	s->first = record->next;
	if (!s->first)
		s->tail = &s->first;
	s->held -= record->size;
	record_free(record);
}

static void snooper_free(struct snooper *s)
{
	for (struct snooper **place = &s->daemon->snoopers; *place; place = &(*place)->next)
		if (*place == s) {
			*place = s->next;
			break;
		}
	timer_stop(&s->again);
	while (s->first)
		take_first(s);
	free(s->text);
	free(s);
}

static json_t *record_json(const struct record *record)
{
	json_t *line = json_object(), *packet;
	char at[64];
	struct tm tm;
	size_t n;

	gmtime_r(&record->at.tv_sec, &tm);
	n = strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(at + n, sizeof(at) - n, ".%06ldZ", record->at.tv_nsec / 1000);
	json_object_set_new(line, "time", json_string(at));
	if (*record->zone)
		json_object_set_new(line, "zone", json_string(record->zone));
	if (*record->uuid)
		json_object_set_new(line, "uuid", json_string(record->uuid));
	if (record->note) {
		json_object_set_new(line, "note", json_string(record->note));
		return line;
	}
	packet = snoop_packet_json(&record->packet);
	json_object_update(line, packet);
	json_decref(packet);
	return line;
}

/* The next line, if there is one; false without memory, and then the packet counts as dropped. */
static bool next_line(struct snooper *s)
{
	json_t *line;

	free(s->text);
	s->text = NULL;
	s->start = s->len = 0;
	if (s->dropped) {
		line = json_pack("{s:I, s:s}", "dropped", (json_int_t)s->dropped, "note",
				 "packets were dropped: this reader is too slow");
		s->dropped = 0;
	} else {
		line = record_json(s->first);
		take_first(s);
	}
	/* ASCII only, as nothing else is safe on every terminal. */
	s->text = line ? json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	json_decref(line);
	if (!s->text) {
		s->dropped++;
		return false;
	}
	s->len = strlen(s->text);
	s->text[s->len++] = '\n'; /* in the place of its NUL */
	return true;
}

static void push(void *user)
{
	struct snooper *s = user;

	s->pending = false;
	for (unsigned i = 0; s->stream; i++) {
		if (s->start < s->len)
			s->start +=
				idm_stream_write(s->stream, s->text + s->start, s->len - s->start);
		if (s->start < s->len)
			return; /* goes on when the client has taken some */
		if (!s->first && !s->dropped)
			return;
		if (i == TURN_LINES || !next_line(s)) {
			push_soon(s, i == TURN_LINES ? 0 : NS_PER_S);
			return;
		}
	}
}

static void got_data(void *user, struct idm_stream *stream, const void *data, size_t len)
{
	(void)user;
	(void)data;
	idm_stream_consumed(stream, len);
}

static void got_room(void *user, struct idm_stream *stream)
{
	(void)stream;
	push_soon(user, 0);
}

/* The client ends its way when it has seen enough; whatever still waits is not wanted. */
static void got_end(void *user, struct idm_stream *stream, int error)
{
	struct snooper *s = user;
	struct daemon *d = s->daemon;
	struct ticket ticket = s->ticket;

	snooper_free(s);
	if (!error)
		idm_stream_end(stream);
	server_reply_empty(d, ticket);
}

static const struct idm_stream_ops ops = {
	.data = got_data, .writable = got_room, .closed = got_end};

static unsigned count(const struct daemon *d)
{
	unsigned n = 0;

	for (const struct snooper *s = d->snoopers; s; s = s->next)
		n++;
	return n;
}

/* A zone that is not there yet may come: its very first packets are worth seeing. */
static void greet(struct snooper *s)
{
	struct error err = ERROR_NULL;
	const struct zone *zone = *s->only ? zone_find(s->daemon, s->only, &err) : NULL;

	add(s, zone, *s->only && !zone ? "waiting for the zone" : "looking on", NULL);
}

static int check(const struct daemon *d, const char *ref, struct error *err)
{
	struct uuid uuid;

	if (*ref && !daemon_name_is_good(ref) && uuid_parse(ref, &uuid) < 0)
		return error_set(err, -EINVAL, "that is neither a zone's name nor a UUID");
	if (count(d) >= SNOOPERS_MAX)
		return error_set(err, -EBUSY, "%u commands look on already; try again",
				 SNOOPERS_MAX);
	return 0;
}

void control_host_idm_snoop(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Snoop *request = message;
	struct idm *idm = server_session(d, ticket.client);
	struct error err = ERROR_NULL;
	struct snooper *s;
	int r;

	if (check(d, request->ref, &err) < 0) {
		server_fail_error(d, ticket, &err);
		return;
	}
	s = idm ? calloc(1, sizeof(*s)) : NULL;
	if (!s) {
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	s->daemon = d;
	s->ticket = ticket;
	s->tail = &s->first;
	snprintf(s->only, sizeof(s->only), "%s", request->ref);
	r = idm_stream_accept(idm, request->stream, 0, &ops, s, &s->stream);
	if (r < 0) {
		free(s);
		server_fail(d, ticket, r, "the request names no stream of this connection");
		return;
	}
	s->next = d->snoopers;
	d->snoopers = s;
	greet(s);
}
