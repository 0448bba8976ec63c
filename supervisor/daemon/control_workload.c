// SPDX-License-Identifier: Apache-2.0
/* The methods about workloads. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "supervisor/daemon/exec.h"
#include "supervisor/daemon/hold.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

/* The workload a request names; NULL after the ticket was answered with why not. */
static struct workload *find(struct daemon *d, struct ticket ticket, const char *ref)
{
	struct error err = ERROR_NULL;
	struct workload *w = workload_find(d, ref, &err);

	if (!w)
		server_fail_error(d, ticket, &err);
	return w;
}

/* As find(), but its zone must be able to do something with it. */
static struct workload *find_in_running_zone(struct daemon *d, struct ticket ticket,
					     const char *ref)
{
	struct error err = ERROR_NULL;
	struct workload *w = find(d, ticket, ref);

	if (!w || zone_check_paused(w->zone, &err) == 0)
		return w;
	server_fail_error(d, ticket, &err);
	return NULL;
}

/* As find_in_running_zone(), for a method that needs the zone's agent: NULL also when the request
 * waits until this daemon has heard from the zone. */
static struct workload *find_in_known_zone(struct daemon *d, struct ticket ticket, const char *ref,
					   hold_fn *run, const void *message)
{
	struct error err = ERROR_NULL;
	struct workload *w = workload_find(d, ref, &err);

	if (w && hold(w->zone, ticket, run, message))
		return NULL;
	return find_in_running_zone(d, ticket, ref);
}

void control_workload_launch(struct daemon *d, struct ticket ticket, const void *message)
{
	workload_launch(d, ticket, message);
}

void control_workload_list(struct daemon *d, struct ticket ticket, const void *message)
{
	Protect__Control__WorkloadList list = PROTECT__CONTROL__WORKLOAD_LIST__INIT;
	_cleanup_(freep) Protect__Control__Workload *workloads =
		calloc(d->n_workloads + 1, sizeof(*workloads));
	_cleanup_(freep) Protect__Control__Workload **pointers =
		calloc(d->n_workloads + 1, sizeof(*pointers));

	(void)message;
	if (!workloads || !pointers) {
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	for (struct workload *w = d->workloads; w; w = w->next) {
		workload_message(w, &workloads[list.n_workloads]);
		pointers[list.n_workloads] = &workloads[list.n_workloads];
		list.n_workloads++;
	}
	list.workloads = pointers;
	server_reply(d, ticket, &list.base);
}

void control_workload_resolve(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Ref *ref = message;
	struct workload *w = find(d, ticket, ref->ref);

	if (w)
		workload_reply(w, ticket);
}

void control_workload_logs(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Logs *request = message;
	struct workload *w = find(d, ticket, request->ref);

	if (w)
		follow_start(d, &w->followers, w->log, w->phase == WORKLOAD_PHASE_STOPPED, ticket,
			     request);
}

void control_workload_exec(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Exec *request = message;
	struct workload *w =
		find_in_known_zone(d, ticket, request->ref, control_workload_exec, message);

	if (!w)
		return;
	if (w->phase == WORKLOAD_PHASE_RUNNING && zone_session(w->zone))
		exec_start(d, ticket, w->zone, w->row.uuid, request);
	else if (w->phase == WORKLOAD_PHASE_RUNNING)
		server_fail(d, ticket, -EAGAIN, "the agent of zone '%s' does not answer; try again",
			    w->zone->row.name);
	else
		server_fail(d, ticket, -ESHUTDOWN,
			    "workload '%s' does not run; 'protect workload list' shows its state",
			    w->row.name);
}

void control_workload_stop(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Stop *request = message;
	struct workload *w =
		find_in_known_zone(d, ticket, request->ref, control_workload_stop, message);

	if (w)
		workload_stop(w, ticket, request->timeout_ms);
}

void control_workload_start(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Ref *ref = message;
	struct workload *w =
		find_in_known_zone(d, ticket, ref->ref, control_workload_start, message);

	if (w)
		workload_start(w, ticket, NULL);
}

void control_workload_attach(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__WorkloadAttach *request = message;
	struct workload *w =
		find_in_known_zone(d, ticket, request->ref, control_workload_attach, message);

	if (w)
		workload_attach(w, ticket, request);
}

void control_workload_destroy(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Destroy *request = message;
	struct workload *w = find_in_running_zone(d, ticket, request->ref);

	if (w)
		workload_destroy(w, ticket, request->wait);
}

void control_workload_wait(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Ref *ref = message;
	struct workload *w = find(d, ticket, ref->ref);

	if (w)
		workload_wait(w, ticket);
}

struct update_call {
	struct daemon *daemon;
	struct ticket ticket;
};

static void updated(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct update_call *call = user;

	(void)payload;
	(void)len;
	if (error)
		server_fail(call->daemon, call->ticket, error, "the limits cannot be set: %s",
			    text);
	else
		server_reply_empty(call->daemon, call->ticket);
	free(call);
}

static int ask_for_update(struct workload *w, struct update_call *call,
			  const Protect__Control__WorkloadUpdate *request)
{
	Protect__Agent__WorkloadUpdate message = PROTECT__AGENT__WORKLOAD_UPDATE__INIT;
	uint8_t payload[128];

	message.workload = w->row.uuid;
	message.memory_bytes = request->memory_bytes;
	message.cpu_millis = request->cpu_millis;
	message.pids = request->pids;
	return idm_call(zone_session(w->zone), PROTECT__AGENT__METHOD__METHOD_WORKLOAD_UPDATE,
			payload, protect__agent__workload_update__pack(&message, payload),
			clock_now_ns() + AGENT_ANSWER_NS, updated, call, NULL);
}

void control_workload_update(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__WorkloadUpdate *request = message;
	struct workload *w = find_in_running_zone(d, ticket, request->ref);
	struct update_call *call;
	int r;

	if (!w)
		return;
	if (w->phase != WORKLOAD_PHASE_RUNNING || !zone_session(w->zone)) {
		server_fail(d, ticket, -ESHUTDOWN, "workload '%s' does not run", w->row.name);
		return;
	}
	call = malloc(sizeof(*call));
	if (!call) {
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	*call = (struct update_call){.daemon = d, .ticket = ticket};
	r = ask_for_update(w, call, request);
	if (r < 0) {
		free(call);
		server_fail(d, ticket, r, "zone '%s' cannot be asked now; try again",
			    w->zone->row.name);
	}
}
