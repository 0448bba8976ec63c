// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/zone_nics.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/daemon/server.h"
#include "supervisor/daemon/zone.h"

#define LET_GO_MS    10000u	       /* the zone has to let go of a NIC, or keeps it */
#define COME_NS	     (20 * NS_PER_S)   /* its kernel has to find one */
#define LOOK_NS	     (200 * NS_PER_MS) /* whether it has */
#define NAME_SIZE_OF 8u

struct nic_op {
	struct daemon *daemon;
	struct zone *zone;
	struct ticket ticket;
	uint32_t link;
	bool plugged; /* the runner has it */
	char name[NAME_SIZE_OF];
	char reservation[NAME_SIZE];
	uint64_t deadline_ns;
	struct timer timer;
	struct idm *agent; /* that is asked */
	uint64_t call;
	struct error failure;
};

static void op_free(struct nic_op *op)
{
	struct zone *zone = op->zone;

	zone->nic_op = NULL;
	timer_stop(&op->timer);
	if (op->agent)
		idm_call_forget(op->agent, op->call);
	network_forget(&op->daemon->network->client, op);
	runner_forget(zone->disks, op);
	free(op);
}

static void finish(struct nic_op *op)
{
	Protect__Control__Zone message;

	state_put_zone(op->daemon->state, &op->zone->row);
	zone_message(op->zone, &message);
	server_reply(op->daemon, op->ticket, &message.base);
	op_free(op);
}

/* There is nothing on the zone's bus. */
static void undo(struct nic_op *op)
{
	zone_network_end_link(op->zone, op->link);
	state_put_zone(op->daemon->state, &op->zone->row);
	server_fail_error(op->daemon, op->ticket, &op->failure);
	op_free(op);
}

static void taken_away(void *user, int error, const char *text, const Protect__Runner__Reply *reply)
{
	struct nic_op *op = user;

	(void)reply;
	if (error)
		log_warning("zone=%s nic=%s err=\"%s\" not taken away", op->zone->row.uuid,
			    op->name, text);
	undo(op);
}

static int ask_runner_to_detach(struct nic_op *op, bool force, runner_fn *fn)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__NicDetach detach = PROTECT__RUNNER__NIC_DETACH__INIT;

	detach.name = op->name;
	detach.timeout_ms = LET_GO_MS;
	detach.force = force;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_NIC_DETACH;
	request.nic_detach = &detach;
	return zone_request_disk(op->zone, &request, -1, fn, op);
}

static void fail(struct nic_op *op, int code, const char *text)
{
	error_set(&op->failure, code, "%s", text);
	if (!op->plugged || ask_runner_to_detach(op, true, taken_away) < 0)
		undo(op);
}

static void tell_zone(void *user);

static void told(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct nic_op *op = user;

	(void)payload;
	(void)len;
	op->agent = NULL;
	if (!error)
		finish(op);
	else if (error == -ENODEV && clock_now_ns() < op->deadline_ns)
		timer_set(&op->daemon->hub, &op->timer, clock_now_ns() + LOOK_NS, tell_zone, op);
	else
		fail(op, error, text);
}

/* The link as the zone is to have it. */
static const Protect__Agent__Link *find_link(struct nic_op *op, struct zone_links *links)
{
	zone_links_fill(op->zone, links);
	for (size_t i = 0; i < links->n_links; i++)
		if (strcmp(links->links[i].name, op->name) == 0) {
			links->links[i].nameservers = links->nameservers;
			links->links[i].n_nameservers = links->n_nameservers;
			return &links->links[i];
		}
	return NULL;
}

static void tell_zone(void *user)
{
	struct nic_op *op = user;
	struct zone_links links;
	const Protect__Agent__Link *link = find_link(op, &links);
	struct idm *agent = zone_session(op->zone);
	size_t len = link ? protect__agent__link__get_packed_size(link) : 0;
	_cleanup_(freep) uint8_t *payload = malloc(len + 1);
	int r = -EAGAIN;

	if (agent && link && payload) {
		protect__agent__link__pack(link, payload);
		r = idm_call(agent, PROTECT__AGENT__METHOD__METHOD_LINK, payload, len,
			     clock_now_ns() + AGENT_ANSWER_NS, told, op, &op->call);
	}
	if (r < 0)
		fail(op, r, "the zone cannot be told of its link now; try again");
	else
		op->agent = agent;
}

static void plugged(void *user, int error, const char *text, const Protect__Runner__Reply *reply)
{
	struct nic_op *op = user;

	(void)reply;
	if (error) {
		fail(op, error, text);
		return;
	}
	op->plugged = true;
	op->deadline_ns = clock_now_ns() + COME_NS;
	tell_zone(op);
}

/* Six bytes of "02:…", which is ours. */
static void mac_bytes(const char *text, uint8_t mac[6])
{
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)strtoul(text + (size_t)3 * i, NULL, 16);
}

static int plug(struct nic_op *op, int tap)
{
	const struct network_link *link = &op->zone->row.network.links[op->link];
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__NicAttach attach = PROTECT__RUNNER__NIC_ATTACH__INIT;
	uint8_t mac[6];

	mac_bytes(link->mac, mac);
	attach.name = op->name;
	attach.mac.data = mac;
	attach.mac.len = sizeof(mac);
	attach.mtu = link->mtu;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_NIC_ATTACH;
	request.nic_attach = &attach;
	return zone_request_disk(op->zone, &request, tap, plugged, op);
}

static void attached(void *user, const Protect__Network__Reply *reply, const int *fds,
		     unsigned n_fds)
{
	struct nic_op *op = user;
	int r;

	if (reply->error || !reply->attached || n_fds != 1) {
		fail(op, reply->error ? -(int)reply->error : -EPROTO,
		     reply->error ? reply->text : "protect-network did not send the zone's link");
		return;
	}
	zone_network_note(op->zone, op->link, reply->attached);
	r = plug(op, fds[0]);
	if (r < 0)
		fail(op, r, "the zone's runner cannot be asked");
}

static void got_status(void *user, const Protect__Network__Reply *reply, const int *fds,
		       unsigned n_fds)
{
	struct nic_op *op = user;
	struct zone *zone = op->zone;
	int r = 0;

	(void)fds;
	(void)n_fds;
	if (reply->error || !reply->status) {
		fail(op, reply->error ? -(int)reply->error : -EPROTO, reply->text);
		return;
	}
	network_learn(op->daemon->network, reply->status);
	r = zone_network_reserve(zone, op->link, op->reservation, &op->failure);
	if (r == 0)
		r = state_add_zone(op->daemon->state, &zone->row, &op->failure);
	if (r == 0) {
		r = zone_network_attach(zone, op->link, 1, attached, op);
		if (r < 0)
			error_set(&op->failure, r, "protect-daemon is out of memory");
	}
	if (r < 0)
		undo(op);
}

/* A running zone that is not busy with another one of its NICs. NULL, and the ticket is answered.
 */
static struct nic_op *op_new(struct daemon *d, struct ticket ticket, const char *ref)
{
	struct error err = ERROR_NULL;
	struct zone *zone = zone_find_ready(d, ref, &err);
	struct nic_op *op = NULL;

	if (zone && zone->nic_op)
		error_set(&err, -EBUSY, "zone '%s' is getting or losing a NIC; try again",
			  zone->row.name);
	else if (zone)
		op = calloc(1, sizeof(*op));
	if (!op) {
		if (!err.code)
			error_set(&err, -ENOMEM, "protect-daemon is out of memory");
		server_fail_error(d, ticket, &err);
		return NULL;
	}
	op->daemon = d;
	op->zone = zone;
	op->ticket = ticket;
	zone->nic_op = op;
	return op;
}

static int check_attach(struct nic_op *op, const char *reservation)
{
	const struct zone *zone = op->zone;
	struct error *err = &op->failure;

	if (!network_has_service(op->daemon->network))
		return error_set(err, -EOPNOTSUPP,
				 "this daemon runs without protect-network (--network-socket off)");
	while (op->link < NETWORK_LINKS_MAX && zone->row.network.links[op->link].used)
		op->link++;
	if (op->link == NETWORK_LINKS_MAX)
		return error_set(err, -ENOSPC, "zone '%s' has %u NICs already", zone->row.name,
				 NETWORK_LINKS_MAX);
	if (*reservation && !network_find(op->daemon->network, reservation, err))
		return err->code;
	snprintf(op->reservation, sizeof(op->reservation), "%s", reservation);
	snprintf(op->name, sizeof(op->name), "eth%u", op->link);
	return 0;
}

void control_network_attach(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__NetworkAttach *what = message;
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Status status = PROTECT__NETWORK__STATUS__INIT;
	struct nic_op *op = op_new(d, ticket, what->ref);
	int r;

	if (!op)
		return;
	r = check_attach(op, what->reservation);
	if (r == 0) {
		request.what_case = PROTECT__NETWORK__REQUEST__WHAT_STATUS;
		request.status = &status;
		r = network_call(&d->network->client, &request, got_status, op);
		if (r < 0)
			error_set(&op->failure, r, "protect-daemon is out of memory");
	}
	if (r == 0)
		return;
	server_fail_error(d, ticket, &op->failure);
	op_free(op);
}

static void unplugged(void *user, int error, const char *text, const Protect__Runner__Reply *reply)
{
	struct nic_op *op = user;

	(void)reply;
	if (!error || error == -ENOENT) {
		zone_network_end_link(op->zone, op->link);
		finish(op);
		return;
	}
	if (error == -ETIMEDOUT)
		server_fail(op->daemon, op->ticket, error,
			    "zone '%s' does not let go of %s; --force takes it away",
			    op->zone->row.name, op->name);
	else
		server_fail(op->daemon, op->ticket, error, "%s", text);
	op_free(op);
}

void control_network_detach(struct daemon *d, struct ticket ticket, const void *message)
{
	const Protect__Control__NetworkDetach *what = message;
	struct nic_op *op = op_new(d, ticket, what->ref);
	int r;

	if (!op)
		return;
	for (; op->link < NETWORK_LINKS_MAX; op->link++) {
		snprintf(op->name, sizeof(op->name), "eth%u", op->link);
		if (op->zone->row.network.links[op->link].used && strcmp(op->name, what->link) == 0)
			break;
	}
	if (op->link == NETWORK_LINKS_MAX) {
		server_fail(d, ticket, -ENOENT, "zone '%s' has no link '%.32s'", op->zone->row.name,
			    what->link);
		op_free(op);
		return;
	}
	r = ask_runner_to_detach(op, what->force, unplugged);
	if (r == 0)
		return;
	server_fail(d, ticket, r, "the zone's runner cannot be asked: %s", strerror(-r));
	op_free(op);
}

void zone_nics_lost(struct zone *zone)
{
	if (!zone->nic_op)
		return;
	server_fail(zone->daemon, zone->nic_op->ticket, -ECONNRESET, "zone '%s' has ended",
		    zone->row.name);
	op_free(zone->nic_op);
}

static bool has(const Protect__Runner__StatusReply *status, uint32_t link)
{
	char name[NAME_SIZE_OF];

	snprintf(name, sizeof(name), "eth%u", link % 10);
	for (size_t i = 0; i < status->n_nics; i++)
		if (strcmp(status->nics[i], name) == 0)
			return true;
	return false;
}

void zone_nics_compare(struct zone *zone, const Protect__Runner__StatusReply *status)
{
	bool changed = false;

	/* The first one stays: hardly ever is it one that came later. */
	for (uint32_t i = 1; i < NETWORK_LINKS_MAX; i++)
		if (zone->row.network.links[i].used && !has(status, i)) {
			zone_network_end_link(zone, i);
			changed = true;
		}
	if (changed)
		state_put_zone(zone->daemon->state, &zone->row);
}
