// SPDX-License-Identifier: Apache-2.0
/*
 * Requests that came before this daemon has heard from a zone that an earlier one left. They wait
 * for the zone's agent, at most HOLD_NS from the daemon's start, and are then carried out as if
 * they had just come. How many there can be is bounded by what the sessions of clients allow. All
 * in the loop thread.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "supervisor/daemon/daemon.h"

#define HOLD_NS (10 * NS_PER_S)

/* A method as server.h has it. */
typedef void hold_fn(struct daemon *d, struct ticket ticket, const void *message);

/* From now on requests wait for this zone. */
void hold_begin(struct zone *zone);

/* Keeps a copy of the message (borrowed) to carry it out later, if its zone is being waited for.
 * Returns whether it did; without memory it did not. */
bool hold(struct zone *zone, struct ticket ticket, hold_fn *run, const void *message);

/* The zone has answered, is paused or has ended: what waited is carried out, nothing waits any
 * more. */
void hold_end(struct zone *zone);

/* Frees what waits without an answer, at the zone's end. */
void hold_drop(struct zone *zone);
