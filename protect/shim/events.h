// SPDX-License-Identifier: Apache-2.0
/*
 * Events for containerd: Events/Forward over ttrpc on its own socket (TTRPC_ADDRESS), one after the
 * other, each when the one before was answered, so that they come in order. While containerd is
 * away they wait, EVENTS_MAX at most; the oldest go first.
 */
#pragma once

#include "protect/shim/poller.h"
#include "protect/shim/proto/containerd.pb-c.h"
#include "protect/shim/ttrpc.h"

#define EVENTS_MAX 1024u

struct event;

struct events {
	struct poller *poller;
	char *address, *namespace;
	struct source source;
	struct ttrpc_buffer in, out;
	struct event *first, **last;
	unsigned n;
	uint32_t stream; /* of the request that is under way; 0 = none */
	uint32_t next_stream;
	struct alarm retry;
};

/* address: a path, with or without "unix://"; empty = events go nowhere. Copied, as is namespace.
 * Returns 0 or -ENOMEM. */
int events_init(struct events *events, struct poller *poller, const char *address,
		const char *namespace);
void events_deinit(struct events *events);

/* Queues one: its topic, containerd's name of its message and the message. */
void events_publish(struct events *events, const char *topic, const char *type,
		    const ProtobufCMessage *message);

/* Tries for at most a second to hand over what is left; for the end. */
void events_drain(struct events *events);
