// SPDX-License-Identifier: Apache-2.0
/*
 * The two messages of proto/idm.proto, read and written in place, so that the bytes of a stream are
 * not copied through a general decoder. What is read comes from the peer and is not trusted: every
 * length is checked against the bytes that are there, unknown fields are skipped, of a field that
 * occurs twice the last one counts (as protobuf says). No state, any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define WIRE_PACKET_HEAD_MAX 40u /* id, channel, form, and the head of data */
#define WIRE_REPLY_HEAD_MAX  24u /* error, and the heads of text and payload */

/* Packet of idm.proto; data is borrowed from the bytes it was read from. */
struct wire_packet {
	uint64_t id;
	uint64_t channel;
	uint32_t form;
	const uint8_t *data;
	size_t len;
};

/* Reply of idm.proto; text (no NUL at its end) and payload are borrowed. */
struct wire_reply {
	uint32_t error;
	const uint8_t *text;
	size_t text_len;
	const uint8_t *payload;
	size_t len;
};

/* Return 0 or -EBADMSG. */
int wire_packet_decode(const void *buf, size_t len, struct wire_packet *out);
int wire_reply_decode(const void *buf, size_t len, struct wire_reply *out);

/* Writes all of a packet but its data, which has to follow. Returns the number of bytes, at most
 * WIRE_PACKET_HEAD_MAX. */
size_t wire_packet_head(const struct wire_packet *packet, uint8_t *out);

/* Writes a whole reply; out has room for WIRE_REPLY_HEAD_MAX + text_len + len. Returns the number
 * of bytes. */
size_t wire_reply_encode(const struct wire_reply *reply, uint8_t *out);
