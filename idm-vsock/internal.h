// SPDX-License-Identifier: Apache-2.0
/*
 * What the files of the session share: session.c (bytes in, bytes out, dispatch), call.c (calls,
 * requests, events), stream.c.
 *
 * Output is one queue of whole packets: what was queued first leaves first, also between a stream's
 * bytes and a response, so "sent after the last byte of its output" holds on the wire. Nothing
 * stands in it that the peer has not granted a window for, so it drains as fast as the connection
 * does.
 *
 * No callback runs but from idm_feed(), idm_tick() and idm_free(): what comes due elsewhere (room
 * in a stream's queue, an end that was there before the stream was accepted) waits in the list of
 * ready streams.
 */
#pragma once

#include "idm-vsock/session.h"
#include "idm-vsock/table.h"
#include "idm-vsock/wire.h"
#include "proto/idm.pb-c.h"

/* Unsent bytes besides those of streams; a peer that has so much to read and keeps talking is cut
 * off. */
#define IDM_UNSENT_MAX	       (8u * 1024 * 1024)
#define IDM_STREAM_PACKETS_MAX 1024u /* unsent packets of one stream */
#define IDM_PAYLOAD_MAX	       (IDM_PACKET_MAX - WIRE_PACKET_HEAD_MAX)
#define IDM_TEXT_MAX	       512u /* of an error, with its NUL */

struct idm_chunk {
	struct idm_chunk *next;
	uint64_t stream; /* whose bytes; 0 = none */
	uint32_t stream_len;
	uint32_t len, taken; /* of bytes: length prefix and packet */
	uint8_t bytes[];
};

struct idm_stream {
	struct table_node node; /* key: the stream's number */
	struct idm *idm;
	const struct idm_stream_ops *ops; /* NULL until accepted */
	void *user;
	struct idm_stream *ready_next;
	uint64_t credit;	/* bytes that may be sent */
	uint64_t granted;	/* bytes that the peer may still send */
	uint64_t unconsumed;	/* given to data(), not yet consumed */
	uint64_t grant_pending; /* consumed, not yet granted again */
	uint32_t window;
	uint32_t queued_bytes, queued_packets;
	uint32_t busy; /* callbacks of it that are running */
	bool local_ended, peer_ended, want_write, close_pending, ready, doomed;
};

struct idm {
	const struct idm_handler *handler;
	void *user;
	enum idm_role role;
	bool dead;
	uint64_t next_id, next_stream, last_peer_stream;
	struct table calls, requests, streams;
	unsigned streams_own, streams_peer;
	struct idm_stream *ready_first, **ready_tail;
	struct idm_chunk *out_first, **out_tail;
	size_t unsent;	     /* bytes besides those of streams */
	size_t stream_bytes; /* unsent bytes of streams, also of those that are gone */
	uint8_t prefix[4];
	uint32_t prefix_have, packet_len, packet_have;
	uint8_t *packet;
};

/* Queues a packet; packet->data is copied. stream_len > 0: it counts as bytes of the stream
 * packet->channel. Returns 0 or -ENOMEM. */
int idm_queue_packet(struct idm *idm, const struct wire_packet *packet, uint32_t stream_len);

/* call.c: what arrived. Return 0, -EBADMSG, -ENOMEM. */
int idm_got_request(struct idm *idm, const struct wire_packet *packet);
int idm_got_response(struct idm *idm, const struct wire_packet *packet);
void idm_calls_tick(struct idm *idm, uint64_t now_ns);
uint64_t idm_calls_deadline(const struct idm *idm);
void idm_calls_free(struct idm *idm);

/* stream.c: what arrived. Return 0, -EBADMSG, -ENOMEM. */
int idm_got_stream_open(struct idm *idm, const struct wire_packet *packet);
int idm_got_stream_data(struct idm *idm, const struct wire_packet *packet);
int idm_got_stream_window(struct idm *idm, const struct wire_packet *packet);
int idm_got_stream_close(struct idm *idm, const struct wire_packet *packet);

/* A packet with stream_len bytes of this stream left. */
void idm_stream_sent(struct idm *idm, uint64_t number, uint32_t stream_len);
void idm_streams_run_ready(struct idm *idm);
void idm_streams_free(struct idm *idm);

/* Positive errno of the wire to a negative one; what is no errno becomes -EPROTO. */
int idm_errno_in(uint64_t error);

/* Negative errno to the positive one on the wire, never 0. */
uint32_t idm_errno_out(int error);
