// SPDX-License-Identifier: Apache-2.0
/*
 * The session with the host over a connected stream socket: requests in, answers and events out.
 * The host is trusted with the zone, but every message is checked all the same, so that a damaged
 * one costs the session and not PID 1.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "zone-guest/zone.h"

struct agent;

/*
 * Starts a session on fd, which is taken over in any case; one that is under way is ended first.
 * lost(user) runs when it has ended by itself. Returns 0 or a negative errno.
 */
int agent_start(struct zone *zone, int fd, void (*lost)(void *user), void *user);

/* Ends the session, if there is one; lost() does not run. */
void agent_stop(struct zone *zone);

/*
 * Sends what is waiting, as far as the socket takes it. To be called after every turn of the
 * reactor.
 */
void agent_flush(struct zone *zone);

/* Only tries to send now; allowed inside a request, where agent_flush() is not. */
void agent_push(struct zone *zone);

/*
 * Answers by a request's id; nothing happens without a session or with id 0. message NULL = an
 * empty payload.
 */
void agent_reply(struct zone *zone, uint64_t id, const void *message);
void agent_reply_error(struct zone *zone, uint64_t id, int error, const char *text);

/* As idm_event(), if there is a session. */
void agent_event(struct zone *zone, uint32_t kind, const void *message);

/* The session, NULL if there is none. Borrowed. */
struct idm *agent_session(struct zone *zone);
