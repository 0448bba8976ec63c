// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/forward.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/splice.h"
#include "supervisor/daemon/zone.h"

#define CONNECT_NS (30 * NS_PER_S)

struct forward {
	struct forward *next;
	struct daemon *daemon;
	struct ticket ticket;
	const struct zone *zone; /* only to be compared */
	uid_t uid;
	struct idm *agent; /* while it is asked: its answer comes before its end */
	uint64_t call;
	struct splice splice;
};

static void forward_free(struct forward *forward)
{
	struct daemon *d = forward->daemon;

	for (struct forward **place = &d->forwards; *place; place = &(*place)->next)
		if (*place == forward) {
			*place = forward->next;
			break;
		}
	d->n_forwards--;
	if (forward->agent)
		idm_call_forget(forward->agent, forward->call);
	splice_deinit(&forward->splice);
	free(forward);
}

/* Whether a side went away before both of its ways had ended. */
static bool was_cut(const struct splice_end *end)
{
	return !end->stream && !(end->ended && end->peer_ended);
}

static void changed(void *user, struct splice *splice)
{
	struct forward *forward = user;
	const struct splice_end *client = &splice->ends[SPLICE_CLIENT];
	const struct splice_end *agent = &splice->ends[SPLICE_AGENT];

	if (was_cut(client) || was_cut(agent) || (!client->stream && !agent->stream))
		forward_free(forward);
}

static void connected(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct forward *forward = user;

	(void)payload;
	(void)len;
	forward->agent = NULL;
	if (!error) {
		server_reply_empty(forward->daemon, forward->ticket);
		return;
	}
	server_fail(forward->daemon, forward->ticket, error, "%s", text);
	forward_free(forward);
}

static int call_agent(struct forward *forward, struct zone *zone, uint32_t port)
{
	Protect__Agent__Forward message = PROTECT__AGENT__FORWARD__INIT;
	struct idm *agent = zone_session(zone);
	uint8_t payload[32];
	int r = splice_open(&forward->splice, SPLICE_AGENT, agent);

	if (r < 0)
		return r;
	message.port = port;
	message.stream = splice_number(&forward->splice, SPLICE_AGENT);
	r = idm_call(agent, PROTECT__AGENT__METHOD__METHOD_FORWARD, payload,
		     protect__agent__forward__pack(&message, payload), clock_now_ns() + CONNECT_NS,
		     connected, forward, &forward->call);
	if (r == 0)
		forward->agent = agent;
	return r;
}

static int check_room(const struct daemon *d, const struct zone *zone, uid_t uid, struct error *err)
{
	unsigned of_zone = 0, of_user = 0;

	for (const struct forward *forward = d->forwards; forward; forward = forward->next) {
		of_zone += forward->zone == zone;
		of_user += forward->uid == uid;
	}
	if (d->n_forwards >= FORWARDS_MAX)
		return error_set(err, -EAGAIN, "%u connections are forwarded already; end one",
				 FORWARDS_MAX);
	if (of_zone >= FORWARDS_ZONE_MAX)
		return error_set(err, -EAGAIN,
				 "%u connections are forwarded to zone '%s' already; end one",
				 FORWARDS_ZONE_MAX, zone->row.name);
	if (uid && of_user >= FORWARDS_USER_MAX)
		return error_set(err, -EAGAIN, "you have %u connections forwarded already; end one",
				 FORWARDS_USER_MAX);
	return 0;
}

static struct forward *forward_new(struct daemon *d, struct ticket ticket, const struct zone *zone,
				   uid_t uid)
{
	struct forward *forward = calloc(1, sizeof(*forward));

	if (!forward)
		return NULL;
	forward->daemon = d;
	forward->ticket = ticket;
	forward->zone = zone;
	forward->uid = uid;
	splice_init(&forward->splice, forward);
	forward->next = d->forwards;
	d->forwards = forward;
	d->n_forwards++;
	return forward;
}

void forward_start(struct daemon *d, struct ticket ticket, const Protect__Control__Forward *request)
{
	struct error err = ERROR_NULL;
	struct zone *zone = zone_find_ready(d, request->ref, &err);
	uid_t uid = server_client_uid(d, ticket.client);
	struct forward *forward;
	int r;

	if (zone && (request->port < 1 || request->port > UINT16_MAX))
		error_set(&err, -EINVAL, "a port is 1 to 65535, not %u", request->port);
	else if (zone)
		check_room(d, zone, uid, &err);
	if (err.code) {
		server_fail_error(d, ticket, &err);
		return;
	}
	forward = forward_new(d, ticket, zone, uid);
	if (!forward) {
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	r = splice_accept(&forward->splice, SPLICE_CLIENT, server_session(d, ticket.client),
			  request->stream);
	if (r == 0)
		r = call_agent(forward, zone, request->port);
	if (r < 0) {
		server_fail(d, ticket, r, "zone '%s' cannot be asked now: %s", zone->row.name,
			    strerror(-r));
		forward_free(forward);
		return;
	}
	forward->splice.changed = changed;
}

void forwards_free(struct daemon *d)
{
	while (d->forwards)
		forward_free(d->forwards);
}
