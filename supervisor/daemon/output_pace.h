// SPDX-License-Identifier: Apache-2.0
/*
 * How much a zone's workloads may write while nobody but their logs takes it: OUTPUT_PACE_BYTES a
 * second for all of them together, and a window each beyond that. Who floods has the daemon's
 * processor and disk for a part of the time only; nothing is lost, the program waits. A client that
 * is attached sets the pace itself. Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supervisor/daemon/hub.h"

#define OUTPUT_PACE_BYTES (16u << 20) /* a second */

struct zone;

/* A zone's; zeroes are a good one. */
struct output_pace {
	struct timer timer; /* runs while a workload waits */
	uint64_t slice_ns;  /* when the present slice of time began */
	size_t bytes;	    /* that came in it */
	uint64_t turns;
};

/* Whether the program may write so many bytes more at once. False: splice_pay() follows when it is
 * its turn. */
bool output_pace_take(struct zone *zone, size_t len);

/* No turn comes any more. */
void output_pace_stop(struct zone *zone);
