// SPDX-License-Identifier: Apache-2.0
/* How a workload is stopped: its image's signal or its own, some time of grace, and then the end of
 * everything in it. Whoever stops it does not want it to be started again by its policy. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "supervisor/daemon/exec.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

#define STOP_GRACE_MS 10000u

uint32_t workload_signal_number(const char *text)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (*text && !*end)
		return number >= 1 && number <= 64 ? (uint32_t)number : 0;
	if (strncmp(text, "SIG", 3) == 0)
		text += 3;
	for (int s = 1; s < NSIG; s++) {
		const char *name = sigabbrev_np(s);

		if (name && strcmp(name, text) == 0)
			return (uint32_t)s;
	}
	return 0;
}

static void grace_over(void *user)
{
	struct workload *w = user;

	if (w->phase == WORKLOAD_PHASE_RUNNING)
		exec_send_signal(w->zone, w->row.uuid, SIGKILL, true);
}

void workload_send_stop(struct workload *w, uint32_t grace_ms)
{
	uint32_t number = workload_signal_number(w->row.stop_signal);

	if (!grace_ms)
		grace_ms = w->row.stop_timeout_ms ? w->row.stop_timeout_ms : STOP_GRACE_MS;
	exec_send_signal(w->zone, w->row.uuid, number ? number : SIGTERM, false);
	timer_set(&w->daemon->hub, &w->stop_timer, clock_now_ns() + grace_ms * NS_PER_MS,
		  grace_over, w);
}

static bool is_being_started_again(const struct workload *w)
{
	return w->row.run &&
	       (w->phase == WORKLOAD_PHASE_START || w->phase == WORKLOAD_PHASE_VOLUMES);
}

void workload_stop(struct workload *w, struct ticket ticket, uint32_t grace_ms)
{
	if (w->phase == WORKLOAD_PHASE_BACKOFF)
		workload_rest(w);
	if (w->phase == WORKLOAD_PHASE_STOPPED) {
		workload_wait(w, ticket);
		return;
	}
	if (w->phase != WORKLOAD_PHASE_RUNNING && !is_being_started_again(w)) {
		server_fail(w->daemon, ticket, -EAGAIN,
			    "workload '%s' does not run; 'protect workload destroy %s' ends it",
			    w->row.name, w->row.name);
		return;
	}
	waiters_add(w->daemon, &w->ended, ticket);
	w->row.stop_wanted = true;
	state_put_workload(w->daemon->state, &w->row);
	if (w->phase == WORKLOAD_PHASE_RUNNING)
		workload_send_stop(w, grace_ms);
}
