// SPDX-License-Identifier: Apache-2.0
/*
 * What follows from policy.h and pressure.h for the zones of this host. Once a second the host's
 * memory pressure is read, and zones are asked for their figures for whose sake somebody needs
 * them: those with the policy `dynamic`, all while the host is short of memory, and all now and
 * then while somebody reads /metrics. A new target goes to the runner by the zone's control
 * connection, in order with what people ask.
 *
 * A dynamic zone's target is the policy's. A static zone's target stays what somebody set: while
 * the host is short its runner is told of less, at most of what lies idle in it
 * (row.squeezed, in the state, so that a later daemon gives it back), and of the target again when
 * the pressure has gone, or at once when the zone itself is short.
 */
#pragma once

#include "supervisor/daemon/pressure.h"
#include "supervisor/daemon/zone.h"

/* Starts it; ends with the hub. */
void policy_start(struct daemon *d);

/* A zone's runner has given new figures. */
void policy_sampled(struct zone *zone);

/* Somebody reads figures: keeps those of all zones fresh for a while. */
void policy_keep_fresh(struct daemon *d);

/* Whether a minimum and a policy can be those of a zone with this row; min_mib 0 = none is asked
 * for. Returns 0 or -EINVAL with text. */
int policy_check(const struct zone_row *row, uint32_t policy, uint64_t min_mib, struct error *err);

/* The runner was told of the row's target, whose policy may be another one now: begins anew. The
 * caller puts the row. */
void policy_renew(struct zone *zone);

/* What of a runner's word about its memory target is believed after a restart of the daemon: false
 * while it is less than what somebody set, or not yet what is meant. */
bool policy_takes_target(const struct zone *zone);

/* How much memory a zone with this row boots with. */
uint64_t policy_boot_memory_mib(const struct zone_row *row);

/* What its runner was told of last, in MiB. */
uint64_t policy_told_mib(const struct zone *zone);
