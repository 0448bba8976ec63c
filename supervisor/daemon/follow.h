// SPDX-License-Identifier: Apache-2.0
/*
 * Readers of a log ring: each is a client's stream (or two, for stdout and stderr) that gets what
 * the ring holds and, if it follows, what comes, until the producer ends. One that is slow skips
 * what the ring lost. A reader outlives its log only as an empty shell, until the client has closed
 * its streams.
 */
#pragma once

#include "proto/control.pb-c.h"
#include "supervisor/daemon/daemon.h"
#include "supervisor/daemon/ring.h"

#define FOLLOW_TAG_OUT 1u
#define FOLLOW_TAG_ERR 2u

struct follower;

struct followers {
	struct follower *first;
};

/* Starts a reader and answers its ticket when the last byte was handed over. ended: the producer
 * writes no more. */
void follow_start(struct daemon *d, struct followers *followers, const struct ring *ring,
		  bool ended, struct ticket ticket, const Protect__Control__Logs *request);

/* There is more in the ring. */
void followers_push(struct followers *followers);

/* The producer writes no more: readers end once they have all. */
void followers_end(struct followers *followers);

/* The ring goes: readers end as they are. */
void followers_drop(struct followers *followers);
