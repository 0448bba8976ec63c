// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/network.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/daemon/zone.h"
#include "supervisor/daemon/zone_network.h"

#define TICK_NS	  (2 * NS_PER_S)
#define PART_NICS 24u /* of one packet, which has 64 KiB: each may publish 32 ports */
#define MAC_TRIES 16u

bool network_has_service(const struct network *network)
{
	return network && strcmp(network->client.socket, NETWORK_OFF) != 0;
}

static struct reservation *add(struct network *network, const struct reservation_row *row)
{
	struct reservation *reservation = calloc(1, sizeof(*reservation));
	struct reservation **place = &network->reservations;

	if (!reservation)
		return NULL;
	reservation->row = *row;
	while (*place)
		place = &(*place)->next;
	*place = reservation;
	network->n_reservations++;
	address_parse(row->ipv4, &network->last4);
	address_parse(row->ipv6, &network->last6);
	return reservation;
}

static bool zone_has_links(const struct daemon *d, const char *uuid)
{
	for (const struct zone *z = d->zones; z; z = z->next)
		if (strcmp(z->row.uuid, uuid) == 0)
			return z->row.slot != SLOT_NONE;
	return false;
}

static int load(void *user, struct reservation_row *row)
{
	struct network *network = user;

	return add(network, row) ? 0 : -ENOMEM;
}

/* What a daemon that was killed did not come to give back. */
static void take_back_orphans(struct network *network)
{
	for (struct reservation *r = network->reservations, *next; r; r = next) {
		next = r->next;
		if (*r->row.zone && !zone_has_links(network->daemon, r->row.zone))
			network_take_back(network, r);
	}
}

int network_new(struct daemon *d, struct network **out)
{
	struct network *network = calloc(1, sizeof(*network));
	int r;

	if (!network)
		return -ENOMEM;
	*out = network;
	network->daemon = d;
	network_client_init(&network->client, &d->hub, d->options.network_socket);
	r = state_each_reservation(d->state, load, network);
	if (r == 0)
		take_back_orphans(network);
	return r;
}

struct network *network_free(struct network *network)
{
	if (!network)
		return NULL;
	timer_stop(&network->tick);
	network_client_deinit(&network->client);
	while (network->reservations) {
		struct reservation *first = network->reservations;

		network->reservations = first->next;
		free(first);
	}
	free(network);
	return NULL;
}

struct reservation *network_find(const struct network *network, const char *ref, struct error *err)
{
	for (struct reservation *r = network->reservations; *ref && r; r = r->next)
		if (strcmp(r->row.name, ref) == 0 || strcmp(r->row.ipv4, ref) == 0 ||
		    strcmp(r->row.ipv6, ref) == 0)
			return r;
	error_set(err, -ENOENT,
		  "no reservation '%.64s'; 'protect network reservation list' shows them", ref);
	return NULL;
}

struct reservation *network_of_link(const struct network *network, const char *zone, uint32_t link)
{
	for (struct reservation *r = network->reservations; r; r = r->next)
		if (r->row.link == link && strcmp(r->row.zone, zone) == 0)
			return r;
	return NULL;
}

static const struct reservation *owner_of(const struct network *network, const char *address)
{
	for (const struct reservation *r = network->reservations; r; r = r->next)
		if (strcmp(r->row.ipv4, address) == 0 || strcmp(r->row.ipv6, address) == 0 ||
		    strcmp(r->row.mac, address) == 0)
			return r;
	return NULL;
}

static int say_taken(const struct network *network, const struct reservation *owner,
		     const char *address, struct error *err)
{
	if (*owner->row.name)
		return error_set(err, -EEXIST, "%s belongs to reservation '%s'", address,
				 owner->row.name);
	for (const struct zone *z = network->daemon->zones; z; z = z->next)
		if (strcmp(z->row.uuid, owner->row.zone) == 0)
			return error_set(err, -EEXIST, "%s belongs to zone '%s'", address,
					 z->row.name);
	return error_set(err, -EEXIST, "%s is taken", address);
}

/* An address that somebody chose, in the one way in which it is written. */
static int take_wanted(const struct network *network, const struct subnet *subnet, const char *text,
		       char out[NETWORK_ADDRESS_SIZE], struct error *err)
{
	char base[NETWORK_ADDRESS_SIZE];
	const struct reservation *owner;
	struct address address;

	if (!address_parse(text, &address))
		return error_set(err, -EINVAL, "'%.64s' is no address", text);
	if (!subnet_gives(subnet, &address)) {
		if (!subnet->base.len)
			return error_set(err, -EINVAL, "'%.64s': zones have no such addresses",
					 text);
		address_print(&subnet->base, base);
		return error_set(err, -ERANGE,
				 "%.64s is not one that a zone can have: those of %s/%u but the "
				 "first two and the last",
				 text, base, subnet->prefix);
	}
	address_print(&address, out);
	owner = owner_of(network, out);
	return owner ? say_taken(network, owner, out, err) : 0;
}

/* After as many steps as there are reservations, and one more, nothing is free. */
static int take_next(const struct network *network, const struct subnet *subnet,
		     struct address *last, char out[NETWORK_ADDRESS_SIZE], struct error *err)
{
	char base[NETWORK_ADDRESS_SIZE];
	struct address at = *last;

	for (unsigned i = 0; i <= network->n_reservations && subnet_next(subnet, &at); i++) {
		address_print(&at, out);
		if (owner_of(network, out))
			continue;
		*last = at;
		return 0;
	}
	out[0] = '\0';
	address_print(&subnet->base, base);
	return error_set(err, -ENOSPC,
			 "no address of %s/%u is free; destroy a zone or a reservation, or "
			 "configure a larger subnet",
			 base, subnet->prefix);
}

static int take_address(struct network *network, const struct subnet *subnet, struct address *last,
			const char *wanted, char out[NETWORK_ADDRESS_SIZE], struct error *err)
{
	if (*wanted)
		return take_wanted(network, subnet, wanted, out, err);
	out[0] = '\0';
	return subnet->base.len ? take_next(network, subnet, last, out, err) : 0;
}

bool network_is_mac(const char *text)
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(text) != NETWORK_MAC_SIZE - 1)
		return false;
	for (unsigned i = 0; i < NETWORK_MAC_SIZE - 1; i++)
		if (i % 3 == 2 ? text[i] != ':' : !strchr(digits, text[i]))
			return false;
	/* Neither a group's nor nobody's. */
	return !strchr("13579bdf", text[1]) && strcmp(text, "00:00:00:00:00:00") != 0;
}

int network_make_mac(const struct network *network, char mac[NETWORK_MAC_SIZE])
{
	for (unsigned i = 0; i < MAC_TRIES; i++) {
		uint8_t b[5];

		if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
			return -EIO;
		snprintf(mac, NETWORK_MAC_SIZE, "02:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2],
			 b[3], b[4]);
		if (!owner_of(network, mac))
			return 0;
	}
	return -EEXIST;
}

static int take_mac(const struct network *network, const char *wanted, char out[NETWORK_MAC_SIZE],
		    struct error *err)
{
	const struct reservation *owner;
	int r;

	if (!*wanted) {
		r = network_make_mac(network, out);
		return r < 0 ? error_set_errno(err, r, "no address for a NIC") : 0;
	}
	if (!network_is_mac(wanted))
		return error_set(err, -EINVAL,
				 "'%.32s' is no address of a NIC: six pairs of digits and small "
				 "letters, 02:… for one",
				 wanted);
	owner = owner_of(network, wanted);
	if (owner)
		return say_taken(network, owner, wanted, err);
	snprintf(out, NETWORK_MAC_SIZE, "%s", wanted);
	return 0;
}

static int fill(struct network *network, const struct reservation_row *wanted,
		struct reservation_row *row, struct error *err)
{
	struct uuid uuid;
	int r = uuid_generate(&uuid);

	if (r < 0)
		return error_set_errno(err, r, "no random UUID");
	*row = (struct reservation_row){.link = wanted->link, .created_unix_ms = daemon_unix_ms()};
	uuid_format(&uuid, row->uuid);
	snprintf(row->name, sizeof(row->name), "%s", wanted->name);
	snprintf(row->zone, sizeof(row->zone), "%s", wanted->zone);
	if (network->n_reservations >= RESERVATIONS_MAX)
		return error_set(err, -ENOSPC, "there are %u reservations already",
				 RESERVATIONS_MAX);
	r = take_mac(network, wanted->mac, row->mac, err);
	if (r == 0)
		r = take_address(network, &network->ipv4, &network->last4, wanted->ipv4, row->ipv4,
				 err);
	if (r == 0)
		r = take_address(network, &network->ipv6, &network->last6, wanted->ipv6, row->ipv6,
				 err);
	if (r == 0 && !*row->ipv4 && !*row->ipv6)
		r = error_set(err, -EADDRNOTAVAIL, "protect-network names no subnet for zones");
	return r;
}

struct reservation *network_reserve(struct network *network, const struct reservation_row *wanted,
				    struct error *err)
{
	struct reservation *reservation;
	struct reservation_row row;

	if (fill(network, wanted, &row, err) < 0 ||
	    state_add_reservation(network->daemon->state, &row, err) < 0)
		return NULL;
	reservation = add(network, &row);
	if (!reservation) {
		state_delete_reservation(network->daemon->state, row.uuid);
		error_set(err, -ENOMEM, "protect-daemon is out of memory");
	}
	return reservation;
}

/* A reservation is older than what is configured now. */
static int check_subnet(const struct subnet *subnet, const struct reservation *reservation,
			const char *text, struct error *err)
{
	struct address address;

	if (!*text || (address_parse(text, &address) && subnet_gives(subnet, &address)))
		return 0;
	return error_set(err, -ERANGE,
			 "reservation '%s' has %s, which is not of the subnet that is configured "
			 "now",
			 reservation->row.name, text);
}

int network_give(struct network *network, struct reservation *reservation, const char *zone,
		 uint32_t link, struct error *err)
{
	struct reservation_row row = reservation->row;
	int r;

	if (*row.zone)
		return error_set(err, -EBUSY, "reservation '%s' is in use",
				 *row.name ? row.name : row.ipv4);
	r = check_subnet(&network->ipv4, reservation, row.ipv4, err);
	if (r == 0)
		r = check_subnet(&network->ipv6, reservation, row.ipv6, err);
	if (r < 0)
		return r;
	snprintf(row.zone, sizeof(row.zone), "%s", zone);
	row.link = link;
	r = state_add_reservation(network->daemon->state, &row, err);
	if (r == 0)
		reservation->row = row;
	return r;
}

void network_drop(struct network *network, struct reservation *reservation)
{
	for (struct reservation **place = &network->reservations; *place; place = &(*place)->next)
		if (*place == reservation) {
			*place = reservation->next;
			network->n_reservations--;
			break;
		}
	state_delete_reservation(network->daemon->state, reservation->row.uuid);
	free(reservation);
}

void network_take_back(struct network *network, struct reservation *reservation)
{
	if (!*reservation->row.name) {
		network_drop(network, reservation);
		return;
	}
	reservation->row.zone[0] = '\0';
	reservation->row.link = 0;
	state_put_reservation(network->daemon->state, &reservation->row);
}

static void complain(struct network *network, const char *what)
{
	if (log_allowed(&network->complaints, 1, NULL))
		log_warning("service=network err=\"%s\"", what);
}

static void reconciled(void *user, const Protect__Network__Reply *reply, const int *fds,
		       unsigned n_fds)
{
	struct network *network = user;

	(void)fds;
	(void)n_fds;
	network->reconciling = false;
	if (reply->error) {
		complain(network, reply->text);
		network->behind = true;
		return;
	}
	network->instance = network->asked_instance;
	log_info("service=network instance=%llx links given",
		 (unsigned long long)network->instance);
}

/* Sends a part; nics are borrowed. Returns 0 or a negative errno. */
static int send_part(struct network *network, Protect__Network__Nic **nics, size_t n, bool first,
		     bool more)
{
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Reconcile reconcile = PROTECT__NETWORK__RECONCILE__INIT;

	reconcile.nics = nics;
	reconcile.n_nics = n;
	reconcile.more = more;
	request.what_case = PROTECT__NETWORK__REQUEST__WHAT_RECONCILE;
	request.reconcile = &reconcile;
	if (!first)
		return network_call_more(&network->client, &request);
	network->reconciling = network_call(&network->client, &request, reconciled, network) == 0;
	return network->reconciling ? 0 : -ENOMEM;
}

/* The links of all zones, in as many packets as they take. */
static int send_links(struct network *network, struct zone_nic *nics)
{
	Protect__Network__Nic *pointers[PART_NICS];
	bool first = true;
	size_t n = 0;
	int r = 0;

	for (struct zone *z = network->daemon->zones; z; z = z->next)
		for (uint32_t i = 0; i < NETWORK_LINKS_MAX && r == 0; i++) {
			if (!zone_nic_fill(z, i, &nics[n]))
				continue;
			pointers[n] = &nics[n].nic;
			if (++n < PART_NICS)
				continue;
			r = send_part(network, pointers, n, first, true);
			first = false;
			n = 0;
		}
	return r < 0 ? r : send_part(network, pointers, n, first, false);
}

void network_reconcile(struct network *network)
{
	_cleanup_(freep) struct zone_nic *nics = calloc(PART_NICS, sizeof(*nics));

	network->behind = !nics || send_links(network, nics) < 0;
}

void network_learn(struct network *network, const Protect__Network__StatusReply *status)
{
	subnet_parse(status->ipv4_subnet, &network->ipv4);
	subnet_parse(status->ipv6_subnet, &network->ipv6);
	if (network->reconciling || (network->instance == status->instance && !network->behind))
		return;
	network->asked_instance = status->instance;
	network_reconcile(network);
}

void network_lags(struct network *network)
{
	network->behind = true;
}

static bool any_link(const struct daemon *d)
{
	for (const struct zone *z = d->zones; z; z = z->next)
		for (unsigned i = 0; i < NETWORK_LINKS_MAX; i++)
			if (z->row.network.links[i].used && z->row.network.links[i].service)
				return true;
	return false;
}

static void got_status(void *user, const Protect__Network__Reply *reply, const int *fds,
		       unsigned n_fds)
{
	struct network *network = user;

	(void)fds;
	(void)n_fds;
	network->asking = false;
	if (!reply->error && reply->status)
		network_learn(network, reply->status);
	else if (any_link(network->daemon))
		complain(network, reply->text);
}

static void tick(void *user)
{
	struct network *network = user;
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Status status = PROTECT__NETWORK__STATUS__INIT;

	timer_set(&network->daemon->hub, &network->tick, clock_now_ns() + TICK_NS, tick, network);
	if (network->asking ||
	    (network->instance && !network->behind && !any_link(network->daemon)))
		return;
	request.what_case = PROTECT__NETWORK__REQUEST__WHAT_STATUS;
	request.status = &status;
	network->asking = network_call(&network->client, &request, got_status, network) == 0;
}

void network_start(struct network *network)
{
	if (network_has_service(network))
		tick(network);
}
