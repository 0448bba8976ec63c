// SPDX-License-Identifier: Apache-2.0
/*
 * What a zone may take of the host's processors and disks, beside its memory: checked when a client
 * asks for it, kept in the state, sent to protect-launch with the runner, again when it changes,
 * and once more by a later daemon, so that the cgroup is what the state says.
 */
#pragma once

#include "proto/control.pb-c.h"
#include "supervisor/daemon/daemon.h"
#include "supervisor/launch/launch.h"

#define LIMITS_WEIGHT_DEFAULT 100u
#define LIMITS_WEIGHT_MAX     10000u
#define LIMITS_PERCENT_MAX    100000u /* a thousand CPUs */

struct zone;

/* A zone's limits as messages; cpu.cpus points into the zone's row. */
struct limits_shown {
	Protect__Control__CpuLimits cpu;
	Protect__Control__IoLimits io;
};

/* Takes over what a client asks for; what is NULL stays as it is. Returns 0 or -EINVAL with text,
 * and then *limits is not to be used. */
int limits_take(struct zone_limits *limits, const Protect__Control__CpuLimits *cpu,
		const Protect__Control__IoLimits *io, struct error *err);

/* Puts the processors' part of a change, the disks' part, or both in place of what is there. */
void limits_merge(struct zone_limits *limits, const struct zone_limits *change, bool cpu, bool io);

/* All that protect-launch is told: memory with its overhead, and these. */
struct launch_limits limits_of(const struct zone_row *row);

/* Renews zone->shown from the row. */
void limits_show(struct zone *zone);

/* Sets what the row says once more, in a zone that an earlier daemon left. Failures are logged. */
void limits_renew(struct zone *zone);
