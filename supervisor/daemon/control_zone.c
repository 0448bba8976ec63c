// SPDX-License-Identifier: Apache-2.0
/* The methods about zones, and those that concern an exec or attached launch of the same
 * connection. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "supervisor/daemon/exec.h"
#include "supervisor/daemon/forward.h"
#include "supervisor/daemon/hold.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

#define SIGNAL_MAX 64u

void control_zone_launch(struct daemon *d, struct ticket ticket, const void *message)
{
	zone_launch(d, ticket, message);
}

void control_zone_list(struct daemon *d, struct ticket ticket, const void *message)
{
	Protect__Control__ZoneList list = PROTECT__CONTROL__ZONE_LIST__INIT;
	_cleanup_(freep) Protect__Control__Zone *zones = NULL;
	_cleanup_(freep) Protect__Control__Zone **pointers = NULL;
	size_t n = 0, i = 0;

	(void)message;
	for (struct zone *z = d->zones; z; z = z->next)
		n++;
	zones = calloc(n + 1, sizeof(*zones));
	pointers = calloc(n + 1, sizeof(*pointers));
	if (!zones || !pointers) {
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	for (struct zone *z = d->zones; z; z = z->next, i++) {
		zone_message(z, &zones[i]);
		pointers[i] = &zones[i];
	}
	list.zones = pointers;
	list.n_zones = n;
	server_reply(d, ticket, &list.base);
}

void control_zone_resolve(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Ref *ref = message;
	struct error err = ERROR_NULL;
	const struct zone *zone = zone_find(d, ref->ref, &err);
	Protect__Control__Zone reply;

	if (!zone) {
		server_fail_error(d, ticket, &err);
		return;
	}
	zone_message(zone, &reply);
	server_reply(d, ticket, &reply.base);
}

void control_zone_logs(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Logs *request = message;
	struct error err = ERROR_NULL;
	struct zone *zone = zone_find(d, request->ref, &err);

	if (zone)
		follow_start(d, &zone->followers, zone->log, zone->phase == ZONE_PHASE_ENDED,
			     ticket, request);
	else
		server_fail_error(d, ticket, &err);
}

/* Whether the request waits until this daemon has heard from the zone. */
static bool waits(struct daemon *d, struct ticket ticket, const char *ref, hold_fn *run,
		  const void *message)
{
	struct error err = ERROR_NULL;
	struct zone *zone = zone_find(d, ref, &err);

	return zone && hold(zone, ticket, run, message);
}

void control_zone_exec(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Exec *request = message;
	struct error err = ERROR_NULL;
	struct zone *zone;

	if (waits(d, ticket, request->ref, control_zone_exec, message))
		return;
	zone = zone_find_ready(d, request->ref, &err);
	if (zone)
		exec_start(d, ticket, zone, "", request);
	else
		server_fail_error(d, ticket, &err);
}

/* The agent's metrics go to the client as they are; both know the message. */
struct metrics_call {
	struct daemon *daemon;
	struct ticket ticket;
};

static void got_metrics(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct metrics_call *call = user;

	if (error)
		server_fail(call->daemon, call->ticket, error, "the zone gave no metrics: %s",
			    text);
	else
		server_reply_raw(call->daemon, call->ticket, payload, len);
	free(call);
}

void control_zone_metrics(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Ref *ref = message;
	struct error err = ERROR_NULL;
	struct metrics_call *call;
	struct zone *zone;
	int r;

	if (waits(d, ticket, ref->ref, control_zone_metrics, message))
		return;
	zone = zone_find_ready(d, ref->ref, &err);
	if (!zone) {
		server_fail_error(d, ticket, &err);
		return;
	}
	call = calloc(1, sizeof(*call));
	if (!call) {
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	*call = (struct metrics_call){.daemon = d, .ticket = ticket};
	r = idm_call(zone_session(zone), PROTECT__AGENT__METHOD__METHOD_METRICS, NULL, 0,
		     clock_now_ns() + AGENT_ANSWER_NS, got_metrics, call, NULL);
	if (r < 0) {
		free(call);
		server_fail(d, ticket, r, "zone '%s' cannot be asked now; try again",
			    zone->row.name);
	}
}

void control_zone_destroy(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Destroy *request = message;
	struct error err = ERROR_NULL;
	struct zone *zone = zone_find(d, request->ref, &err);

	if (zone)
		zone_destroy(zone, ticket, request->wait);
	else
		server_fail_error(d, ticket, &err);
}

void control_zone_update(struct daemon *d, struct ticket ticket, const void *message)
{
	zone_update(d, ticket, message);
}

void control_zone_forward(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Forward *request = message;

	if (!waits(d, ticket, request->ref, control_zone_forward, message))
		forward_start(d, ticket, request);
}

void control_zone_pause(struct daemon *d, struct ticket ticket, const void *message)
{
	zone_pause(d, ticket, ((const Protect__Control__Ref *)message)->ref);
}

void control_zone_resume(struct daemon *d, struct ticket ticket, const void *message)
{
	zone_resume(d, ticket, ((const Protect__Control__Ref *)message)->ref);
}

/* What the connection started with that request, as its zone knows it. */
static bool find_started(struct daemon *d, uint64_t client, uint64_t request, struct zone **zone,
			 const char **id)
{
	struct workload *w;

	if (exec_of_request(d, client, request, zone, id))
		return true;
	if (!workload_of_request(d, client, request, &w))
		return false;
	*zone = w->zone;
	*id = w->row.uuid;
	return true;
}

void control_exec_resize(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__ExecResize *request = message;
	struct zone *zone;
	const char *id;

	if (request->terminal && find_started(d, ticket.client, request->request_id, &zone, &id)) {
		exec_send_resize(zone, id, request->terminal);
		server_reply_empty(d, ticket);
	} else {
		server_fail(d, ticket, -ESRCH, "that command has ended");
	}
}

void control_exec_signal(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__ExecSignal *request = message;
	struct zone *zone;
	const char *id;

	if (request->signal < 1 || request->signal > SIGNAL_MAX) {
		server_fail(d, ticket, -EINVAL, "%u is no signal", request->signal);
	} else if (find_started(d, ticket.client, request->request_id, &zone, &id)) {
		exec_send_signal(zone, id, request->signal, false);
		server_reply_empty(d, ticket);
	} else {
		server_fail(d, ticket, -ESRCH, "that command has ended");
	}
}
