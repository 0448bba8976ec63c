// SPDX-License-Identifier: Apache-2.0
/*
 * Two sessions back to back, for the tests of the session: what each end is told is recorded,
 * requests are answered by the number of their method, streams echo or swallow. All is owned by the
 * test that made it.
 */
#pragma once

#include "idm-vsock/session.h"
#include "tests/unit/harness.h"

enum pair_method { PAIR_ECHO = 1, PAIR_FAIL = 2, PAIR_NEVER = 3, PAIR_HUGE = 4, PAIR_LATER = 5 };

struct pair_end {
	struct idm *idm;
	unsigned events, requests, snooped_in, snooped_out;
	uint32_t last_event;
	uint64_t last_request;
	char last_text[256];
};

struct pair {
	struct pair_end client, server;
	uint64_t now_ns;
	size_t chunk; /* bytes fed at once, 0 = random sizes */
};

/* What a call came to. */
struct pair_answer {
	unsigned count;
	int error;
	char text[256];
	uint8_t payload[256];
	size_t len;
};

/* One end of a stream as a test sees it. */
struct pair_stream {
	struct idm_stream *stream;
	size_t received, sent;
	unsigned writable, closed;
	int error;
	bool stopped;	     /* consumes nothing */
	uint8_t *expect;     /* what has to arrive, or NULL */
	const uint8_t *send; /* what writable() goes on sending, or NULL */
	size_t send_len;
};

extern const struct idm_stream_ops pair_stream_ops;

void pair_init(struct pair *pair);
void pair_deinit(struct pair *pair);

/* Moves bytes until neither end has any. Returns the first error of either end. */
int pair_run(struct pair *pair);

void pair_answered(void *user, int error, const char *text, const void *payload, size_t len);

/* Sends as much of .send as it can, and ends behind the last byte. */
void pair_stream_push(struct pair_stream *stream);

/* A stream opened by the client and accepted by the server, both ends alive. */
void pair_open(struct pair *pair, uint32_t window, struct pair_stream *client,
	       struct pair_stream *server);
