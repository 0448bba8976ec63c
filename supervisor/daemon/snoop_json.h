// SPDX-License-Identifier: Apache-2.0
/*
 * A packet between the daemon and a zone as a JSON object, by the schemas: for people who look on.
 * Half of what is shown was written by a guest, so everything is bounded: texts and bytes are cut
 * to a prefix, lists to their first members, a whole message to SNOOP_BUDGET. What is secret never
 * comes out: of the environment only the names, of entropy only its length. Pure functions, any
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#define SNOOP_TEXT_MAX	256u /* bytes of a text that are shown */
#define SNOOP_BYTES_MAX 64u  /* of bytes, and of a stream's data */
#define SNOOP_LIST_MAX	64u  /* members of a list */
#define SNOOP_DEPTH_MAX 16u
#define SNOOP_BUDGET	16384u /* characters of one message, about */

/* A packet's head, and as much of its data as is there. */
struct snoop_packet {
	bool from_zone;
	uint32_t form; /* protect.idm.Form */
	uint64_t id, channel;
	size_t len;	     /* of the data on the wire */
	const uint8_t *data; /* borrowed */
	size_t have;	     /* bytes at data */
};

/* How much of the data of a packet of that form snoop_packet_json() looks at. */
size_t snoop_keep(uint32_t form, size_t len);

/* The packet's part of a line: form, id, method or event or stream, and the message. A new object,
 * NULL without memory. */
json_t *snoop_packet_json(const struct snoop_packet *packet);

/* Any message by its descriptor. A new object, NULL without memory. */
json_t *snoop_message_json(const ProtobufCMessage *message);
