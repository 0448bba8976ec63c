// SPDX-License-Identifier: Apache-2.0
/*
 * An exec: a program started in the zone or in a running workload for one caller. It lives no
 * longer than the session it came in, unless it is detached: lost with it, it is killed. When it
 * has ended and its output was passed on, EXITED tells so and it is forgotten.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/uuid.h"
#include "zone-guest/zone.h"

struct exec {
	struct zone *zone;
	struct uuid uuid;
	struct process process;
	uint64_t start_id; /* the request to answer; 0 = none */
	bool detached;
};

/* Answers the request (method EXEC) now or later. */
void exec_start(struct zone *zone, uint64_t id, const Protect__Agent__Exec *message);

/*
 * Sends a signal to its first process, or to its whole process group. Returns 0 or a negative
 * errno.
 */
int exec_signal(struct exec *exec, int signal, bool all);

/* Kills it and forgets its request: its session is gone. */
void exec_session_lost(struct exec *exec);

/* Frees it. Used by zone_deinit(); in all other cases it frees itself. */
void exec_free(struct exec *exec);
