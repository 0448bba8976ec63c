// SPDX-License-Identifier: Apache-2.0
/* Requests to a zone that this daemon has not heard from yet. */
#include "supervisor/daemon/hold.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/zone.h"

struct held {
	struct held *next;
	struct ticket ticket;
	hold_fn *run;
	ProtobufCMessage *message;
};

static void held_free(struct held *held)
{
	protobuf_c_message_free_unpacked(held->message, NULL);
	free(held);
}

static ProtobufCMessage *copy(const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	_cleanup_(freep) uint8_t *packed = malloc(len + 1);

	if (!packed)
		return NULL;
	protobuf_c_message_pack(message, packed);
	return protobuf_c_message_unpack(message->descriptor, NULL, len, packed);
}

static void waited_long_enough(void *user)
{
	hold_end(user);
}

void hold_begin(struct zone *zone)
{
	zone->holds = true;
	timer_set(&zone->daemon->hub, &zone->hold_timer, clock_now_ns() + HOLD_NS,
		  waited_long_enough, zone);
}

bool hold(struct zone *zone, struct ticket ticket, hold_fn *run, const void *message)
{
	struct held **place = &zone->held, *held;

	if (!zone->holds)
		return false;
	held = calloc(1, sizeof(*held));
	if (!held)
		return false;
	*held = (struct held){.ticket = ticket, .run = run, .message = copy(message)};
	if (!held->message) {
		free(held);
		return false;
	}
	while (*place)
		place = &(*place)->next;
	*place = held;
	return true;
}

/* The zone may be gone after the first of them. */
void hold_end(struct zone *zone)
{
	struct daemon *d = zone->daemon;
	struct held *held = zone->held, *next;

	timer_stop(&zone->hold_timer);
	zone->holds = false;
	zone->held = NULL;
	for (; held; held = next) {
		next = held->next;
		if (server_session(d, held->ticket.client))
			held->run(d, held->ticket, held->message);
		held_free(held);
	}
}

void hold_drop(struct zone *zone)
{
	struct held *held = zone->held, *next;

	timer_stop(&zone->hold_timer);
	zone->holds = false;
	zone->held = NULL;
	for (; held; held = next) {
		next = held->next;
		held_free(held);
	}
}
