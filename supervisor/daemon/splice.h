// SPDX-License-Identifier: Apache-2.0
/*
 * Two streams of two sessions joined: bytes of one become bytes of the other, in both directions,
 * and each end of bytes as well. What is taken from one side and not yet taken by the other lies
 * here; that is never more than the window granted to the giving side, because credit goes back
 * only for bytes that the other side took.
 *
 * Either side may be missing: bytes from the agent for a client that is not there are dropped
 * (after the tap saw them), bytes for an agent that is not there wait. A side that was lost may be
 * bound again. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "idm-vsock/session.h"

enum splice_side { SPLICE_CLIENT, SPLICE_AGENT };

struct splice;

struct splice_end {
	struct splice *splice;
	struct idm_stream *stream; /* NULL = not there (any more) */
	bool ended;		   /* we sent our end to it */
	bool peer_ended;	   /* it sent its end: no more bytes from it */
	bool finished;		   /* its bytes are taken for ended, whatever it says */
};

/* Bytes from ends[i] that the other end did not take yet. */
struct splice_buffer {
	uint8_t *bytes;
	size_t start, len, size;
};

struct splice {
	struct splice_end ends[2];
	struct splice_buffer from[2];
	size_t replayed; /* of what waits for the client, bytes that the agent gets no credit for */
	size_t owed;	 /* of what the agent sent nobody's client, credit that it has not yet */
	bool keep_open;	 /* a client that is lost does not end the agent's input */
	/* Sees the agent's bytes first. May be NULL. */
	void (*tap)(void *user, const void *data, size_t len);
	/* Whether the agent gets credit at once for bytes that no client takes; false: splice_pay()
	 * follows. May be NULL. */
	bool (*may_take)(void *user, size_t len);
	/* Something ended or was delivered: look at the functions below. Runs inside a session's
	 * callback. May be NULL. */
	void (*changed)(void *user, struct splice *splice);
	void *user;
};

/* Prepares it; user is for the two callbacks (set them afterwards). */
void splice_init(struct splice *splice, void *user);

/* Frees what it holds and resets both streams, if they are there. May be called twice. */
void splice_deinit(struct splice *splice);

/* Opens a stream in a session, respectively accepts one that its peer opened, as that side. Returns
 * 0 or a negative errno. */
int splice_open(struct splice *splice, enum splice_side side, struct idm *idm);
int splice_accept(struct splice *splice, enum splice_side side, struct idm *idm, uint64_t number);

/* Its number for a request; 0 when the side is not there. */
uint64_t splice_number(const struct splice *splice, enum splice_side side);

/* No more bytes will come from this side (whatever it says): passes the end on once all was
 * delivered. */
void splice_finish(struct splice *splice, enum splice_side from);

/* Whether nothing is left to deliver that came from this side, or nobody to deliver it to. */
bool splice_drained(const struct splice *splice, enum splice_side from);

/* Has bytes delivered to the next client first, which the tap saw long ago. Without memory they are
 * left out. */
void splice_replay(struct splice *splice, const void *data, size_t len);

/* Gives the agent the credit that may_take() kept back. */
void splice_pay(struct splice *splice);

/* Drops the agent's side; what came from it is still delivered. */
void splice_reset_agent(struct splice *splice, int error);
