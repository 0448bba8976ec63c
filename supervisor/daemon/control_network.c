// SPDX-License-Identifier: Apache-2.0
/* The methods about reservations. Which addresses there are is asked of protect-network first. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "supervisor/daemon/network.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/zone.h"

static const char *zone_name(const struct daemon *d, const char *uuid)
{
	for (const struct zone *z = d->zones; z; z = z->next)
		if (strcmp(z->row.uuid, uuid) == 0)
			return z->row.name;
	return "";
}

struct shown {
	Protect__Control__Reservation message;
	char link[8];
};

/* Strings are borrowed. */
static void show(const struct daemon *d, const struct reservation *r, struct shown *out)
{
	Protect__Control__Reservation *m = &out->message;

	protect__control__reservation__init(m);
	snprintf(out->link, sizeof(out->link), "eth%u", r->row.link % 10);
	m->name = (char *)(uintptr_t)r->row.name;
	m->mac = (char *)(uintptr_t)r->row.mac;
	m->ipv4 = (char *)(uintptr_t)r->row.ipv4;
	m->ipv6 = (char *)(uintptr_t)r->row.ipv6;
	m->created_unix_ms = r->row.created_unix_ms;
	if (!*r->row.zone)
		return;
	m->zone = (char *)(uintptr_t)zone_name(d, r->row.zone);
	m->link = out->link;
}

void control_reservation_list(struct daemon *d, struct ticket ticket, const void *message)
{
	Protect__Control__ReservationList list = PROTECT__CONTROL__RESERVATION_LIST__INIT;
	size_t n = d->network->n_reservations;
	_cleanup_(freep) struct shown *shown = calloc(n + 1, sizeof(*shown));
	_cleanup_(freep) Protect__Control__Reservation **pointers =
		calloc(n + 1, sizeof(Protect__Control__Reservation *));

	(void)message;
	if (!shown || !pointers) {
		server_fail(d, ticket, -ENOMEM, "protect-daemon is out of memory");
		return;
	}
	for (const struct reservation *r = d->network->reservations; r; r = r->next) {
		show(d, r, &shown[list.n_reservations]);
		pointers[list.n_reservations] = &shown[list.n_reservations].message;
		list.n_reservations++;
	}
	list.reservations = pointers;
	server_reply(d, ticket, &list.base);
}

/* One that waits for the service to say which subnets there are. */
struct create {
	struct daemon *daemon;
	struct ticket ticket;
	struct reservation_row wanted;
};

static void create(struct create *op)
{
	struct error err = ERROR_NULL;
	struct reservation *r = network_reserve(op->daemon->network, &op->wanted, &err);
	struct shown shown;

	if (!r) {
		server_fail_error(op->daemon, op->ticket, &err);
		return;
	}
	show(op->daemon, r, &shown);
	server_reply(op->daemon, op->ticket, &shown.message.base);
}

static void got_status(void *user, const Protect__Network__Reply *reply, const int *fds,
		       unsigned n_fds)
{
	struct create *op = user;
	struct error err = ERROR_NULL;

	(void)fds;
	(void)n_fds;
	if (reply->error || !reply->status) {
		server_fail(op->daemon, op->ticket, reply->error ? -(int)reply->error : -EPROTO,
			    "%s", reply->text);
	} else {
		network_learn(op->daemon->network, reply->status);
		if (network_find(op->daemon->network, op->wanted.name, &err))
			server_fail(op->daemon, op->ticket, -EEXIST,
				    "a reservation '%s' exists already", op->wanted.name);
		else
			create(op);
	}
	free(op);
}

/* Returns 0 or a negative errno with text. */
static int take(const struct network *network, const Protect__Control__ReservationCreate *request,
		struct reservation_row *wanted, struct error *err)
{
	struct address address;

	if (!daemon_name_is_good(request->name) || address_parse(request->name, &address))
		return error_set(err, -EINVAL,
				 "'%.64s' cannot name a reservation: up to 63 letters, digits, "
				 "'.', '_' and '-', a letter or digit first, and no address",
				 request->name);
	if (network_find(network, request->name, err))
		return error_set(err, -EEXIST, "a reservation '%s' exists already", request->name);
	*err = (struct error)ERROR_NULL;
	if (!network_has_service(network))
		return error_set(err, -EOPNOTSUPP,
				 "this daemon runs without protect-network (--network-socket off)");
	if (strlen(request->ipv4) >= sizeof(wanted->ipv4) || strchr(request->ipv4, ':'))
		return error_set(err, -EINVAL, "'%.64s' is no IPv4 address", request->ipv4);
	if (strlen(request->ipv6) >= sizeof(wanted->ipv6) ||
	    (*request->ipv6 && !strchr(request->ipv6, ':')))
		return error_set(err, -EINVAL, "'%.64s' is no IPv6 address", request->ipv6);
	if (*request->mac && !network_is_mac(request->mac))
		return error_set(err, -EINVAL, "'%.32s' is no address of a NIC, 02:… for one",
				 request->mac);
	snprintf(wanted->name, sizeof(wanted->name), "%s", request->name);
	snprintf(wanted->ipv4, sizeof(wanted->ipv4), "%s", request->ipv4);
	snprintf(wanted->ipv6, sizeof(wanted->ipv6), "%s", request->ipv6);
	snprintf(wanted->mac, sizeof(wanted->mac), "%s", request->mac);
	return 0;
}

void control_reservation_create(struct daemon *d, struct ticket ticket, const void *message)
{
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Status status = PROTECT__NETWORK__STATUS__INIT;
	struct create *op = calloc(1, sizeof(*op));
	struct error err = ERROR_NULL;
	int r = op ? take(d->network, message, &op->wanted, &err)
		   : error_set(&err, -ENOMEM, "protect-daemon is out of memory");

	if (r == 0) {
		op->daemon = d;
		op->ticket = ticket;
		request.what_case = PROTECT__NETWORK__REQUEST__WHAT_STATUS;
		request.status = &status;
		r = network_call(&d->network->client, &request, got_status, op);
		if (r == 0)
			return;
		error_set(&err, r, "protect-daemon is out of memory");
	}
	free(op);
	server_fail_error(d, ticket, &err);
}

void control_reservation_destroy(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__Ref *ref = message;
	struct error err = ERROR_NULL;
	struct reservation *r = network_find(d->network, ref->ref, &err);

	if (r && *r->row.zone) {
		error_set(&err, -EBUSY, "%s is in use by zone '%s'; destroy the zone first",
			  ref->ref, zone_name(d, r->row.zone));
		r = NULL;
	}
	if (!r) {
		server_fail_error(d, ticket, &err);
		return;
	}
	network_drop(d->network, r);
	server_reply_empty(d, ticket);
}
