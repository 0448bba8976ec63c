// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/output_pace.h"

#include "base/clock.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

#define SLICE_NS    (100 * NS_PER_MS)
#define SLICE_BYTES (OUTPUT_PACE_BYTES / 10)

static size_t owed(const struct workload *w)
{
	return w->out.owed + w->err.owed;
}

/* Of those that wait, the one whose turn was longest ago. */
static struct workload *next_in_turn(const struct zone *zone)
{
	struct workload *next = NULL;

	for (struct workload *w = zone->daemon->workloads; w; w = w->next)
		if (w->zone == zone && owed(w) && (!next || w->output_turn < next->output_turn))
			next = w;
	return next;
}

static void next_slice(void *user);

static void wait_for_slice(struct zone *zone)
{
	struct output_pace *pace = &zone->output_pace;

	timer_set(&zone->daemon->hub, &pace->timer, pace->slice_ns + SLICE_NS, next_slice, zone);
}

static void next_slice(void *user)
{
	struct zone *zone = user;
	struct output_pace *pace = &zone->output_pace;
	struct workload *w;

	pace->slice_ns = clock_now_ns();
	pace->bytes = 0;
	while (pace->bytes < SLICE_BYTES && (w = next_in_turn(zone))) {
		w->output_turn = ++pace->turns;
		pace->bytes += owed(w);
		splice_pay(&w->out);
		splice_pay(&w->err);
	}
	if (next_in_turn(zone))
		wait_for_slice(zone);
}

bool output_pace_take(struct zone *zone, size_t len)
{
	struct output_pace *pace = &zone->output_pace;
	uint64_t now_ns = clock_now_ns();

	if (now_ns - pace->slice_ns >= SLICE_NS && !next_in_turn(zone)) {
		pace->slice_ns = now_ns;
		pace->bytes = 0;
	}
	if (pace->bytes < SLICE_BYTES) {
		pace->bytes += len;
		return true;
	}
	wait_for_slice(zone);
	return false;
}

void output_pace_stop(struct zone *zone)
{
	timer_stop(&zone->output_pace.timer);
}
