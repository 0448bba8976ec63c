// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/workload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "supervisor/daemon/keep.h"
#include "supervisor/daemon/zone.h"

#define STATE(name) PROTECT__CONTROL__WORKLOAD_STATE_KIND__WORKLOAD_##name

static void tap_out(void *user, const void *data, size_t len)
{
	struct workload *w = user;

	ring_append(w->log, FOLLOW_TAG_OUT, data, len);
	followers_push(&w->followers);
}

static void tap_err(void *user, const void *data, size_t len)
{
	struct workload *w = user;

	ring_append(w->log, FOLLOW_TAG_ERR, data, len);
	followers_push(&w->followers);
}

static bool may_take(void *user, size_t len)
{
	struct workload *w = user;

	return output_pace_take(w->zone, len);
}

static void changed(void *user, struct splice *splice)
{
	(void)splice;
	workload_settle(user);
}

static void init_streams(struct workload *w)
{
	splice_init(&w->out, w);
	splice_init(&w->err, w);
	w->out.tap = tap_out;
	w->err.tap = tap_err;
	w->out.may_take = w->err.may_take = may_take;
	w->out.changed = w->err.changed = changed;
	w->out.keep_open = w->row.stdin_open;
}

void workload_reset_streams(struct workload *w)
{
	splice_deinit(&w->out);
	splice_deinit(&w->err);
	init_streams(w);
	w->attached = (struct ticket){0};
}

struct workload *workload_new(struct zone *zone, const struct workload_row *row)
{
	struct daemon *d = zone->daemon;
	struct workload *w = calloc(1, sizeof(*w));
	struct workload **place = &d->workloads;

	if (!w)
		return NULL;
	w->log = ring_new(RING_BYTES);
	if (!w->log) {
		free(w);
		return NULL;
	}
	w->daemon = d;
	w->zone = zone;
	w->row = *row;
	w->disk = -1;
	w->image_disk = (struct zone_disk){.zone = zone, .read_only = true};
	if (workload_volumes_init(w) < 0) {
		ring_free(w->log);
		free(w);
		return NULL;
	}
	init_streams(w);
	while (*place)
		place = &(*place)->next;
	*place = w;
	d->n_workloads++;
	return w;
}

static void workload_free(struct workload *w)
{
	w->storage = storage_cancel(w->storage);
	if (w->calling && w->zone->agent)
		idm_call_forget(link_idm(w->zone->agent), w->call);
	zone_disk_forget(&w->image_disk);
	workload_volumes_free(w);
	timer_stop(&w->stop_timer);
	timer_stop(&w->restart_timer);
	splice_deinit(&w->out);
	splice_deinit(&w->err);
	followers_drop(&w->followers);
	workload_drop_launch(w);
	free(w->ended.tickets);
	free(w->gone.tickets);
	ring_free(w->log);
	free(w);
}

static void leave_list(struct workload *w)
{
	for (struct workload **place = &w->daemon->workloads; *place; place = &(*place)->next)
		if (*place == w) {
			*place = w->next;
			w->daemon->n_workloads--;
			return;
		}
}

void workload_remove(struct workload *w)
{
	struct error err = ERROR_NULL;

	leave_list(w);
	keep_remove(w->daemon, w->row.uuid);
	state_delete_workload(w->daemon->state, w->row.uuid);
	log_info("workload=%s name=%s removed", w->row.uuid, w->row.name);
	for (unsigned i = 0; i < w->gone.n; i++)
		server_reply_empty(w->daemon, w->gone.tickets[i]);
	w->gone.n = 0;
	error_set(&err, -ECANCELED, "workload '%s' was destroyed", w->row.name);
	waiters_fail(w->daemon, &w->ended, &err);
	workload_free(w);
}

void workloads_free(struct daemon *d)
{
	while (d->workloads) {
		struct workload *w = d->workloads;

		leave_list(w);
		workload_free(w);
	}
}

struct workload *workload_find(struct daemon *d, const char *ref, struct error *err)
{
	struct uuid uuid;
	bool is_uuid = uuid_parse(ref, &uuid) == 0;
	char text[UUID_TEXT_SIZE];

	if (is_uuid)
		uuid_format(&uuid, text);
	for (struct workload *w = d->workloads; w; w = w->next)
		if (strcmp(is_uuid ? w->row.uuid : w->row.name, is_uuid ? text : ref) == 0)
			return w;
	error_set(err, -ENOENT, "no workload '%s'; 'protect workload list' shows them", ref);
	return NULL;
}

void workload_set_state(struct workload *w, Protect__Control__WorkloadStateKind state)
{
	w->row.state = state;
	state_put_workload(w->daemon->state, &w->row);
}

void workload_message(const struct workload *w, Protect__Control__Workload *out)
{
	const struct workload_row *row = &w->row;

	protect__control__workload__init(out);
	out->uuid = (char *)(uintptr_t)row->uuid;
	out->name = (char *)(uintptr_t)row->name;
	out->zone = (char *)(uintptr_t)row->zone;
	out->zone_name = w->zone->row.name;
	out->state = row->state;
	out->has_exit_code = row->has_exit_code;
	out->exit_code = row->exit_code;
	out->image = (char *)(uintptr_t)row->image;
	out->reason = (char *)(uintptr_t)row->reason;
	out->created_unix_ms = row->created_unix_ms;
	out->terminal = row->terminal;
	out->restart = row->restart;
	out->restart_max = row->restart_max;
	out->restarts = row->restarts;
	out->started_unix_ms = row->started_unix_ms;
	out->ended_unix_ms = row->ended_unix_ms;
	out->oom_killed = row->oom_killed;
	out->volumes = (Protect__Control__VolumeMount **)(uintptr_t)w->volumes.list.messages;
	out->n_volumes = w->volumes.list.n;
	out->scratch_bytes = row->scratch_bytes;
}

void workload_reply(struct workload *w, struct ticket ticket)
{
	Protect__Control__Workload message;

	workload_message(w, &message);
	server_reply(w->daemon, ticket, &message.base);
}

uint32_t workloads_in_zone(const struct zone *zone)
{
	uint32_t n = 0;

	for (const struct workload *w = zone->daemon->workloads; w; w = w->next)
		n += w->zone == zone &&
		     (w->row.state == STATE(CREATING) || w->row.state == STATE(RUNNING) ||
		      w->row.state == STATE(RESTARTING));
	return n;
}

void workload_settle(struct workload *w)
{
	Protect__Control__Workload message;

	if ((w->phase != WORKLOAD_PHASE_STOPPED && w->phase != WORKLOAD_PHASE_BACKOFF) ||
	    !splice_drained(&w->out, SPLICE_AGENT) || !splice_drained(&w->err, SPLICE_AGENT))
		return;
	workload_message(w, &message);
	waiters_reply(w->daemon, &w->ended, &message.base);
}

static void ignore_reply(void *user, int error, const char *text, const void *payload, size_t len)
{
	(void)user;
	(void)payload;
	(void)len;
	if (error && error != -ECONNRESET)
		log_warning("err=\"%s\" workload not attached", text);
}

int workload_open_streams(struct workload *w)
{
	struct idm *idm = zone_session(w->zone);
	int r = idm ? splice_open(&w->out, SPLICE_AGENT, idm) : -ENOTCONN;

	if (r == 0 && !w->row.terminal)
		r = splice_open(&w->err, SPLICE_AGENT, idm);
	/* Without a client there is no input; a terminal stays open, since its end would end the
	 * program. */
	if (r == 0 && !w->attached.client && !w->row.stdin_open)
		splice_finish(&w->out, SPLICE_CLIENT);
	return r;
}

int workload_accept_streams(struct workload *w, struct ticket ticket, uint64_t stdio_stream,
			    uint64_t stderr_stream)
{
	struct idm *idm = server_session(w->daemon, ticket.client);
	int r = 0;

	if (!idm)
		return -ECONNRESET;
	w->attached = ticket;
	if (stdio_stream)
		r = splice_accept(&w->out, SPLICE_CLIENT, idm, stdio_stream);
	if (r == 0 && stderr_stream)
		r = splice_accept(&w->err, SPLICE_CLIENT, idm, stderr_stream);
	return r;
}

void workload_attach_again(struct workload *w)
{
	Protect__Agent__WorkloadAttach message = PROTECT__AGENT__WORKLOAD_ATTACH__INIT;
	uint8_t payload[128];
	size_t len;

	if (workload_open_streams(w) < 0)
		return;
	message.workload = w->row.uuid;
	message.stdio_stream = splice_number(&w->out, SPLICE_AGENT);
	message.stderr_stream = splice_number(&w->err, SPLICE_AGENT);
	len = protect__agent__workload_attach__pack(&message, payload);
	idm_call(zone_session(w->zone), PROTECT__AGENT__METHOD__METHOD_WORKLOAD_ATTACH, payload,
		 len, clock_now_ns() + AGENT_ANSWER_NS, ignore_reply, NULL, NULL);
}

static const Protect__Agent__WorkloadState *find_listed(const Protect__Agent__ZoneState *state,
							const char *uuid)
{
	for (size_t i = 0; i < state->n_workloads; i++)
		if (strcmp(state->workloads[i]->workload, uuid) == 0)
			return state->workloads[i];
	return NULL;
}

/* w may be gone after it. */
static void take_listed(struct workload *w, const Protect__Agent__WorkloadState *found)
{
	w->agent_knows = found;
	if (w->destroy_wanted)
		workload_destroy(w, (struct ticket){0}, false);
	else if (w->phase == WORKLOAD_PHASE_ADOPT)
		workload_fail(w, -EIO,
			      "protect-daemon ended while the workload was being launched");
	else if (w->phase == WORKLOAD_PHASE_STOPPED)
		workload_volumes_detach(w); /* an earlier daemon may not have come to it */
	else if (w->phase != WORKLOAD_PHASE_RUNNING && w->phase != WORKLOAD_PHASE_BACKOFF)
		return;
	else if (!found)
		workload_fail(w, -EIO, "the zone's agent does not know it any more");
	else if (w->phase == WORKLOAD_PHASE_BACKOFF)
		workload_backoff_listed(w, found);
	else if (found->state == PROTECT__AGENT__STATE__STATE_EXITED && found->exited)
		workload_set_exited(w, found->exited);
	else
		workload_attach_again(w);
}

void workloads_listed(struct zone *zone, const Protect__Agent__ZoneState *state)
{
	for (struct workload *w = zone->daemon->workloads, *next; w; w = next) {
		next = w->next;
		if (w->zone == zone)
			take_listed(w, find_listed(state, w->row.uuid));
	}
}

void workload_wait(struct workload *w, struct ticket ticket)
{
	waiters_add(w->daemon, &w->ended, ticket);
	workload_settle(w);
}

bool workload_of_request(struct daemon *d, uint64_t client, uint64_t request, struct workload **out)
{
	for (struct workload *w = d->workloads; w; w = w->next)
		if (w->attached.client == client && w->attached.request == request && client) {
			*out = w;
			return true;
		}
	return false;
}
