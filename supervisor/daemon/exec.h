// SPDX-License-Identifier: Apache-2.0
/*
 * Programs started in a zone, or beside a workload, for a client that stays: its streams are joined
 * with the zone's, and its request is answered with the exit code once the last byte was handed
 * over. A client that goes takes its program with it, unless that is detached: then the request is
 * answered, with 0, once it runs, and nobody hears of it again. An exec that is answered stays as
 * an empty shell until the client has closed its streams.
 */
#pragma once

#include "proto/agent.pb-c.h"
#include "proto/control.pb-c.h"
#include "supervisor/daemon/daemon.h"

/* Starts one; workload is a UUID, or "" for the zone itself. The zone has a session. Answers the
 * ticket, now or later. */
void exec_start(struct daemon *d, struct ticket ticket, struct zone *zone, const char *workload,
		const Protect__Control__Exec *request);

/* A main process ended in this zone. Returns whether it was an exec's. */
bool exec_exited(struct zone *zone, const Protect__Agent__Exited *exited);

/* The zone's session has ended. */
void execs_zone_lost(struct zone *zone);

/* A client has gone, after all its streams were closed. */
void execs_client_gone(struct daemon *d, uint64_t client);

/* What a request of a client started, as the agent knows it. Returns false if it is no exec under
 * way. */
bool exec_of_request(struct daemon *d, uint64_t client, uint64_t request, struct zone **zone,
		     const char **id);

/* Tells a zone's agent; the answer is of no interest. Without a session nothing happens. */
void exec_send_signal(struct zone *zone, const char *id, uint32_t signal, bool all);
void exec_send_resize(struct zone *zone, const char *id,
		      const Protect__Control__Terminal *terminal);

/* Frees all at the daemon's own end. */
void execs_free(struct daemon *d);
