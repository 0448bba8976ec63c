// SPDX-License-Identifier: Apache-2.0
/*
 * The runs of a workload. The agent counts them and keeps the end of the last one until the next
 * begins, so a daemon that comes later knows from the number whether it has seen that end. Whether
 * there is another run is decided here, by the policy, when one has ended; the wait before it grows
 * with each run in a row that was short.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "supervisor/daemon/keep.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

#define STATE(name)   PROTECT__CONTROL__WORKLOAD_STATE_KIND__WORKLOAD_##name
#define POLICY(name)  PROTECT__CONTROL__RESTART_POLICY__RESTART_##name
#define LOOK_AGAIN_NS (200 * NS_PER_MS)
#define PUT_OFF_MAX   25u /* a client that does not read its output delays a restart so often */
#define NOT_STARTED   127 /* the exit code of a run that could not begin, as a shell says it */

bool restart_is_due(const struct workload_row *row)
{
	if (row->stop_wanted)
		return false;
	if (row->restart == POLICY(ALWAYS))
		return true;
	return row->restart == POLICY(ON_FAILURE) && row->exit_code != 0 &&
	       (!row->restart_max || row->restarts < row->restart_max);
}

uint32_t restart_delay_ms(uint32_t quick_ends)
{
	uint32_t ms = WORKLOAD_BACKOFF_MS;

	for (; quick_ends > 1 && ms < WORKLOAD_BACKOFF_MAX_MS; quick_ends--)
		ms *= 2;
	return ms < WORKLOAD_BACKOFF_MAX_MS ? ms : WORKLOAD_BACKOFF_MAX_MS;
}

static void answer_launcher(struct workload *w)
{
	if (w->launcher.client)
		workload_reply(w, w->launcher);
	w->launcher = (struct ticket){0};
}

void workload_set_started(struct workload *w, uint32_t run)
{
	w->phase = WORKLOAD_PHASE_RUNNING;
	w->row.run = run;
	w->row.started_unix_ms = daemon_unix_ms();
	workload_set_state(w, STATE(RUNNING));
	answer_launcher(w);
	if (w->row.stop_wanted)
		workload_send_stop(w, 0);
}

static void end_output(struct workload *w)
{
	followers_end(&w->followers);
	keep_end(w->daemon, w->row.uuid, w->log);
}

static void restart_now(void *user);

static void restart_after(struct workload *w, uint64_t ns)
{
	timer_set(&w->daemon->hub, &w->restart_timer, clock_now_ns() + ns, restart_now, w);
}

/* What was noted of the end decides what comes next. */
static void after_end(struct workload *w)
{
	bool quick = w->row.ended_unix_ms < w->row.started_unix_ms + WORKLOAD_QUICK_MS;

	w->row.quick_ends = quick ? w->row.quick_ends + 1 : 0;
	if (restart_is_due(&w->row)) {
		w->phase = WORKLOAD_PHASE_BACKOFF;
		w->put_off = 0;
		workload_set_state(w, STATE(RESTARTING));
		restart_after(w, restart_delay_ms(w->row.quick_ends) * NS_PER_MS);
	} else {
		w->phase = WORKLOAD_PHASE_STOPPED;
		workload_set_state(w, STATE(EXITED));
		end_output(w);
		workload_volumes_detach(w);
	}
}

void workload_set_exited(struct workload *w, const Protect__Agent__Exited *exited)
{
	struct workload_row *row = &w->row;

	if (exited->run)
		row->run = exited->run;
	row->has_exit_code = true;
	row->exit_code = exited->exit_code;
	row->oom_killed = exited->oom_killed;
	row->ended_unix_ms = daemon_unix_ms();
	row->reason[0] = '\0';
	if (exited->oom_killed)
		snprintf(row->reason, sizeof(row->reason), "out of memory");
	else if (exited->signal)
		snprintf(row->reason, sizeof(row->reason), "killed by signal %u", exited->signal);
	timer_stop(&w->stop_timer);
	log_info("workload=%s name=%s run=%u exit_code=%d reason=\"%s\" exited", row->uuid,
		 row->name, row->run, row->exit_code, row->reason);
	splice_finish(&w->out, SPLICE_AGENT);
	splice_finish(&w->err, SPLICE_AGENT);
	after_end(w);
	workload_settle(w);
}

void workload_exited(struct zone *zone, const Protect__Agent__Exited *exited)
{
	struct workload *w = zone->daemon->workloads;

	while (w && (w->zone != zone || strcmp(w->row.uuid, exited->id) != 0))
		w = w->next;
	if (!w)
		return;
	/* It may end before the answer to its start arrives. */
	if (w->phase == WORKLOAD_PHASE_START) {
		w->row.started_unix_ms = daemon_unix_ms();
		answer_launcher(w);
	}
	if (w->phase == WORKLOAD_PHASE_RUNNING || w->phase == WORKLOAD_PHASE_START)
		workload_set_exited(w, exited);
}

static void fail_start(struct workload *w, int error, const char *text)
{
	server_fail(w->daemon, w->launcher, error, "workload '%s' cannot be started: %s",
		    w->row.name, text);
	w->launcher = (struct ticket){0};
}

/* What the agent cannot start counts as a run that failed at once: the policy goes on with it. */
static void not_started(struct workload *w, int error, const char *text)
{
	fail_start(w, error, text);
	daemon_copy_text(w->row.reason, sizeof(w->row.reason), text);
	w->row.has_exit_code = true;
	w->row.exit_code = NOT_STARTED;
	w->row.started_unix_ms = w->row.ended_unix_ms = daemon_unix_ms();
	splice_finish(&w->out, SPLICE_AGENT);
	splice_finish(&w->err, SPLICE_AGENT);
	after_end(w);
	workload_settle(w);
}

/* The list that follows a new connection says whether it was started. */
void workload_start_lost(struct workload *w)
{
	fail_start(w, -ECONNRESET, "the connection to its zone was lost");
	w->phase = WORKLOAD_PHASE_BACKOFF;
}

static void started(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct workload *w = user;
	Protect__Agent__WorkloadState *state;

	w->calling = false;
	if (w->phase != WORKLOAD_PHASE_START)
		return;
	if (error == -ECONNRESET || error == -ETIMEDOUT) {
		workload_start_lost(w);
		return;
	}
	state = error ? NULL : protect__agent__workload_state__unpack(NULL, len, payload);
	if (!state) {
		not_started(w, error ? error : -EPROTO,
			    error ? text : "its agent's answer cannot be read");
		return;
	}
	log_info("workload=%s name=%s run=%u running", w->row.uuid, w->row.name, state->run);
	workload_set_started(w, state->run);
	protect__agent__workload_state__free_unpacked(state, NULL);
}

static int send_start(struct workload *w)
{
	Protect__Agent__WorkloadStart message = PROTECT__AGENT__WORKLOAD_START__INIT;
	struct workload_volume_messages volumes;
	_cleanup_(freep) uint8_t *payload = NULL;
	size_t len;
	int r;

	w->phase = WORKLOAD_PHASE_START;
	r = workload_open_streams(w);
	if (r < 0)
		return r;
	message.workload = w->row.uuid;
	message.stdio_stream = splice_number(&w->out, SPLICE_AGENT);
	message.stderr_stream = splice_number(&w->err, SPLICE_AGENT);
	message.n_volumes = workload_volumes_fill(w, &volumes);
	message.volumes = volumes.pointers;
	len = protect__agent__workload_start__get_packed_size(&message);
	payload = malloc(len);
	if (!payload)
		return -ENOMEM;
	protect__agent__workload_start__pack(&message, payload);
	r = idm_call(zone_session(w->zone), PROTECT__AGENT__METHOD__METHOD_WORKLOAD_START, payload,
		     len, clock_now_ns() + AGENT_ANSWER_NS, started, w, &w->call);
	w->calling = r == 0;
	return r;
}

static void volumes_attached(struct workload *w, int error, const char *text)
{
	int r = error;

	if (!error)
		r = send_start(w);
	if (r < 0)
		not_started(w, r, error ? text : strerror(-r));
}

static void volumes_opened(struct workload *w, int error, const char *text)
{
	if (error)
		not_started(w, error, text);
	else
		workload_volumes_attach(w, volumes_attached);
}

/* Volumes of one that has ended were free for others meanwhile. */
static void start_again(struct workload *w)
{
	w->phase = WORKLOAD_PHASE_VOLUMES;
	workload_volumes_open(w, volumes_opened);
}

static bool output_is_taken(const struct workload *w)
{
	return splice_drained(&w->out, SPLICE_AGENT) && splice_drained(&w->err, SPLICE_AGENT);
}

static void restart_now(void *user)
{
	struct workload *w = user;

	/* Without a connection the list that comes with the next one starts the clock again; a
	 * paused zone goes on one day. */
	if (w->phase != WORKLOAD_PHASE_BACKOFF || !zone_session(w->zone))
		return;
	if (w->zone->paused || (!output_is_taken(w) && w->put_off++ < PUT_OFF_MAX)) {
		restart_after(w, LOOK_AGAIN_NS);
		return;
	}
	w->row.restarts++;
	workload_reset_streams(w);
	start_again(w);
}

void workload_backoff_listed(struct workload *w, const Protect__Agent__WorkloadState *state)
{
	if (state->state != PROTECT__AGENT__STATE__STATE_EXITED) {
		workload_set_started(w, state->run);
		workload_reset_streams(w);
		workload_attach_again(w);
	} else if (state->exited && state->run > w->row.run) {
		workload_set_exited(w, state->exited);
	} else {
		restart_after(w, restart_delay_ms(w->row.quick_ends) * NS_PER_MS);
	}
}

void workload_rest(struct workload *w)
{
	timer_stop(&w->restart_timer);
	w->row.stop_wanted = true;
	w->phase = WORKLOAD_PHASE_STOPPED;
	workload_set_state(w, STATE(EXITED));
	end_output(w);
	workload_volumes_detach(w);
	workload_settle(w);
}

static int check_startable(const struct workload *w, struct error *err)
{
	if (w->phase != WORKLOAD_PHASE_STOPPED && w->phase != WORKLOAD_PHASE_BACKOFF)
		return error_set(err, -EBUSY,
				 "workload '%s' has not ended; 'protect workload list' shows its "
				 "state",
				 w->row.name);
	if (!w->agent_knows || !w->row.run)
		return error_set(
			err, -ESHUTDOWN,
			"workload '%s' cannot be started again (%s); destroy it and launch "
			"another",
			w->row.name, *w->row.reason ? w->row.reason : "it never ran");
	if (!zone_session(w->zone))
		return error_set(err, -EAGAIN, "zone '%s' is not ready; try again",
				 w->zone->row.name);
	return workload_volumes_check(w, err);
}

/* Who waits for its end instead of its start has streams for it. */
static int take_starter(struct workload *w, struct ticket ticket,
			const Protect__Control__WorkloadAttach *attach)
{
	w->phase = WORKLOAD_PHASE_START;
	if (!attach) {
		w->launcher = ticket;
		return 0;
	}
	waiters_add(w->daemon, &w->ended, ticket);
	return workload_accept_streams(w, ticket, attach->stdio_stream, attach->stderr_stream);
}

void workload_start(struct workload *w, struct ticket ticket,
		    const Protect__Control__WorkloadAttach *attach)
{
	struct error err = ERROR_NULL;
	int r = check_startable(w, &err);

	if (r < 0) {
		server_fail_error(w->daemon, ticket, &err);
		return;
	}
	timer_stop(&w->restart_timer);
	if (w->phase == WORKLOAD_PHASE_STOPPED)
		keep_again(w->daemon, w->row.uuid, w->log);
	w->row.stop_wanted = false;
	w->row.quick_ends = w->row.restarts = 0;
	workload_reset_streams(w);
	r = take_starter(w, ticket, attach);
	if (r < 0)
		not_started(w, r, strerror(-r));
	else
		start_again(w);
}
