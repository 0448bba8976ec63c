// SPDX-License-Identifier: Apache-2.0
/*
 * From a failure or destroy to nothing left: what is under way is dropped, the agent forgets the
 * workload, the runner lets go of its disks. What of that cannot be done, because the zone does not
 * answer, ends with the zone.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "supervisor/daemon/keep.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

#define STATE(name)    PROTECT__CONTROL__WORKLOAD_STATE_KIND__WORKLOAD_##name
#define LOST_EXIT_CODE 137 /* its zone ended: as if killed */

static void end_output(struct workload *w)
{
	splice_finish(&w->out, SPLICE_AGENT);
	splice_finish(&w->err, SPLICE_AGENT);
	followers_end(&w->followers);
	keep_end(w->daemon, w->row.uuid, w->log);
}

/* Nothing of it is left in the zone. w may be gone after it. */
static void torn_down(struct workload *w)
{
	bool owed = w->launcher.client != 0;

	if (owed)
		server_fail_error(w->daemon, w->launcher, &w->failure);
	w->launcher = (struct ticket){0};
	if (w->destroy_wanted || owed) {
		workload_remove(w);
		return;
	}
	w->phase = WORKLOAD_PHASE_STOPPED;
	snprintf(w->row.reason, sizeof(w->row.reason), "%.*s", (int)sizeof(w->row.reason) - 1,
		 w->failure.text);
	workload_set_state(w, STATE(FAILED));
	log_warning("workload=%s name=%s err=\"%s\" failed", w->row.uuid, w->row.name,
		    w->failure.text);
	end_output(w);
	workload_settle(w);
}

void workload_disk_detached(struct workload *w)
{
	torn_down(w);
}

static void scratch_gone(void *user, int error, const char *text)
{
	struct workload *w = user;

	if (error)
		log_warning("workload=%s err=\"%s\" scratch disk not detached", w->row.uuid, text);
	workload_detach_disk(w);
}

static void release_scratch(struct workload *w)
{
	if (!workload_volumes_drop_scratch(w, scratch_gone))
		workload_detach_disk(w);
}

static void release_volumes(struct workload *w)
{
	w->phase = WORKLOAD_PHASE_RELEASE;
	if (workload_volumes_detach(w))
		release_scratch(w);
}

void workload_volumes_detached(struct workload *w)
{
	if (w->phase == WORKLOAD_PHASE_RELEASE)
		release_scratch(w);
}

static void forgotten(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct workload *w = user;

	(void)payload;
	(void)len;
	w->calling = false;
	if (error)
		log_warning("workload=%s err=\"%s\" not removed by the agent", w->row.uuid, text);
	w->agent_knows = false;
	release_volumes(w);
}

static void forget_in_agent(struct workload *w)
{
	Protect__Agent__WorkloadId message = PROTECT__AGENT__WORKLOAD_ID__INIT;
	struct idm *idm = zone_session(w->zone);
	uint8_t payload[64];
	size_t len;

	message.workload = w->row.uuid;
	len = protect__agent__workload_id__pack(&message, payload);
	w->phase = WORKLOAD_PHASE_REMOVE;
	w->calling = w->agent_knows && idm &&
		     idm_call(idm, PROTECT__AGENT__METHOD__METHOD_WORKLOAD_REMOVE, payload, len,
			      clock_now_ns() + AGENT_ANSWER_NS, forgotten, w, &w->call) == 0;
	if (!w->calling)
		release_volumes(w);
}

/* Answers to what was asked before are of no interest any more. */
static void drop_pending(struct workload *w)
{
	w->storage = storage_cancel(w->storage);
	if (w->calling && w->zone->agent)
		idm_call_forget(link_idm(w->zone->agent), w->call);
	w->calling = false;
	/* A disk that the runner is just attaching is there when it gets to the detach: requests
	 * are done in order. */
	if (w->phase == WORKLOAD_PHASE_ATTACH)
		w->disk_attached = true;
	zone_disk_forget(&w->image_disk);
	workload_volumes_forget(w);
	timer_stop(&w->stop_timer);
	timer_stop(&w->restart_timer);
	workload_drop_launch(w);
}

static void tear_down(struct workload *w)
{
	if (w->phase == WORKLOAD_PHASE_REMOVE || w->phase == WORKLOAD_PHASE_RELEASE ||
	    w->phase == WORKLOAD_PHASE_DETACH)
		return;
	drop_pending(w);
	forget_in_agent(w);
}

void workload_fail(struct workload *w, int code, const char *format, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	error_set(&w->failure, code, "%s", text);
	tear_down(w);
}

void workload_destroy(struct workload *w, struct ticket ticket, bool wait)
{
	struct daemon *d = w->daemon;

	w->destroy_wanted = true;
	if (wait)
		waiters_add(d, &w->gone, ticket);
	else
		server_reply_empty(d, ticket);
	workload_set_state(w, STATE(DESTROYING));
	/* The last thing done with it: it may be gone after it. */
	workload_fail(w, -ECANCELED, "workload '%s' was destroyed", w->row.name);
}

/* w may be gone after it. */
static void zone_ended(struct workload *w)
{
	bool was_waiting = w->phase == WORKLOAD_PHASE_BACKOFF;
	bool was_running =
		w->phase == WORKLOAD_PHASE_RUNNING || was_waiting ||
		((w->phase == WORKLOAD_PHASE_START || w->phase == WORKLOAD_PHASE_VOLUMES) &&
		 w->row.run);

	if (w->phase == WORKLOAD_PHASE_STOPPED) {
		workload_volumes_drop(w);
		return;
	}
	drop_pending(w);
	workload_volumes_drop(w);
	w->agent_knows = w->disk_attached = false;
	error_set(&w->failure, -ESHUTDOWN, "zone '%s' ended: %s", w->zone->row.name,
		  w->zone->row.reason);
	if (w->row.run) { /* one that was being started again stays */
		server_fail_error(w->daemon, w->launcher, &w->failure);
		w->launcher = (struct ticket){0};
	}
	if (!was_running || w->destroy_wanted ||
	    w->zone->row.state != PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_EXITED) {
		w->row.has_exit_code = was_running;
		w->row.exit_code = was_running ? LOST_EXIT_CODE : 0;
		torn_down(w);
		return;
	}
	w->phase = WORKLOAD_PHASE_STOPPED;
	snprintf(w->row.reason, sizeof(w->row.reason), "%.*s", (int)sizeof(w->row.reason) - 1,
		 w->failure.text);
	w->row.has_exit_code = true;
	if (!was_waiting)
		w->row.exit_code = LOST_EXIT_CODE;
	w->row.ended_unix_ms = daemon_unix_ms();
	workload_set_state(w, STATE(EXITED));
	end_output(w);
	workload_settle(w);
}

void workloads_zone_ended(struct zone *zone)
{
	for (struct workload *w = zone->daemon->workloads, *next; w; w = next) {
		next = w->next;
		if (w->zone == zone)
			zone_ended(w);
	}
}

void workloads_remove_in_zone(struct zone *zone)
{
	for (struct workload *w = zone->daemon->workloads, *next; w; w = next) {
		next = w->next;
		if (w->zone == zone)
			workload_remove(w);
	}
}
