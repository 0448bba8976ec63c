// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/zone_network.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/daemon/zone.h"

#define DEFAULT	    PROTECT__CONTROL__NETWORK_BACKEND__NETWORK_DEFAULT
#define NONE	    PROTECT__CONTROL__NETWORK_BACKEND__NETWORK_NONE
#define EXTERNAL    PROTECT__CONTROL__NETWORK_BACKEND__NETWORK_EXTERNAL
#define PASSTHROUGH PROTECT__CONTROL__NETWORK_BACKEND__NETWORK_PASSTHROUGH

#define MTU_MIN	     68u
#define MTU_MAX	     65535u
#define QUEUES_MAX   4u /* one loop serves all of them: more would not be faster */
#define SUFFIX4	     "/32"
#define SUFFIX6	     "/128"
#define EXTRA_METRIC 1000u /* of links that came later: the first one's routes go before */

unsigned zone_network_queues(const struct zone_row *row)
{
	return MIN(row->vcpus, QUEUES_MAX);
}

static bool is_address(const char *text)
{
	struct address address;

	return address_parse(text, &address);
}

static bool is_prefix(const char *text)
{
	struct subnet subnet;

	return subnet_parse(text, &subnet);
}

/* "DESTINATION/PREFIX" and perhaps a blank and a gateway. */
static bool is_route(const char *text)
{
	char destination[NETWORK_ROUTE_SIZE];
	size_t len = strcspn(text, " ");

	if (len >= sizeof(destination))
		return false;
	memcpy(destination, text, len);
	destination[len] = '\0';
	return is_prefix(destination) && (!text[len] || is_address(text + len + 1));
}

/* Copies n texts, each of which is good, into a table of places of size bytes. */
static int take_texts(const char *what, char *const *texts, size_t n, bool (*good)(const char *),
		      char *out, size_t size, size_t places, struct error *err)
{
	if (n > places)
		return error_set(err, -E2BIG, "more than %zu of %s", places, what);
	for (size_t i = 0; i < n; i++) {
		if (strlen(texts[i]) >= size || !good(texts[i]))
			return error_set(err, -EINVAL, "'%.100s' is not one of %s", texts[i], what);
		snprintf(out + i * size, size, "%s", texts[i]);
	}
	return 0;
}

#define TAKE_TEXTS(what, texts, n, good, out, err)                                                 \
	take_texts(what, texts, n, good, &(out)[0][0], sizeof((out)[0]), ARRAY_SIZE(out), err)

static bool same_port(const struct network_port *a, const struct network_port *b)
{
	return a->host_port == b->host_port && a->udp == b->udp &&
	       (!*a->host_address || !*b->host_address ||
		strcmp(a->host_address, b->host_address) == 0);
}

/* Whether a port is free, as far as zones are concerned; protect-network knows of all others. */
static int check_port(const struct daemon *d, const struct zone_network *own, unsigned n,
		      const struct network_port *port, struct error *err)
{
	for (unsigned i = 0; i < n; i++)
		if (same_port(&own->ports[i], port))
			return error_set(err, -EINVAL, "port %u is published twice",
					 port->host_port);
	for (const struct zone *z = d->zones; z; z = z->next)
		for (unsigned i = 0; z->row.slot != SLOT_NONE && i < NETWORK_PORTS; i++)
			if (z->row.network.ports[i].host_port &&
			    same_port(&z->row.network.ports[i], port))
				return error_set(err, -EADDRINUSE,
						 "port %u is published by zone '%s' already; "
						 "choose another one or destroy it",
						 port->host_port, z->row.name);
	return 0;
}

static int take_ports(const struct daemon *d, const Protect__Control__ZoneNetwork *request,
		      struct zone_network *out, struct error *err)
{
	int r = 0;

	if (request->n_ports > NETWORK_PORTS)
		return error_set(err, -E2BIG, "a zone can publish %u ports, not %zu", NETWORK_PORTS,
				 request->n_ports);
	for (unsigned i = 0; r == 0 && i < request->n_ports; i++) {
		const Protect__Control__Publish *from = request->ports[i];
		struct network_port port = {.host_port = (uint16_t)from->host_port,
					    .zone_port = (uint16_t)from->zone_port,
					    .udp = from->udp};
		struct address address;

		if (from->host_port - 1 >= UINT16_MAX || from->zone_port - 1 >= UINT16_MAX)
			return error_set(err, -EINVAL, "a port is 1 to 65535");
		if (*from->host_address && !address_parse(from->host_address, &address))
			return error_set(err, -EINVAL, "'%.64s' is no address of this host",
					 from->host_address);
		if (*from->host_address)
			address_print(&address, port.host_address);
		r = check_port(d, out, i, &port, err);
		out->ports[i] = port;
	}
	return r;
}

static int take_prepared(struct daemon *d, const Protect__Control__ZoneNetwork *request,
			 unsigned n_taps, struct zone_network *out, struct error *err)
{
	bool external = request->backend == EXTERNAL;
	struct network_link *link = &out->links[0];
	int r;

	if (request->n_ports || *request->reservation)
		return error_set(err, -EINVAL,
				 "ports and reservations are protect-network's: they need "
				 "--network-backend default");
	if (!n_taps || request->taps != n_taps)
		return error_set(err, -EINVAL, "no tap came with the request; give one with --tap");
	if (!external && (request->n_addresses || request->n_gateways || request->n_routes ||
			  request->n_nameservers))
		return error_set(err, -EINVAL,
				 "with passthrough the zone's addresses are its own matter");
	if (external && !request->n_addresses)
		return error_set(err, -EINVAL, "an external network needs the zone's --address");
	if (request->mtu && (request->mtu < MTU_MIN || request->mtu > MTU_MAX))
		return error_set(err, -EINVAL, "an MTU is %u to %u, not %u", MTU_MIN, MTU_MAX,
				 request->mtu);
	if (*request->mac && !network_is_mac(request->mac))
		return error_set(err, -EINVAL, "'%.32s' is no address of a NIC, 02:… for one",
				 request->mac);
	*link = (struct network_link){.used = true, .mtu = request->mtu};
	snprintf(link->mac, sizeof(link->mac), "%s", request->mac);
	r = *link->mac ? 0 : network_make_mac(d->network, link->mac);
	if (r < 0)
		return error_set_errno(err, r, "no address for a NIC");
	r = TAKE_TEXTS("addresses with a prefix", request->addresses, request->n_addresses,
		       is_prefix, link->addresses, err);
	if (r == 0)
		r = TAKE_TEXTS("gateways", request->gateways, request->n_gateways, is_address,
			       link->gateways, err);
	if (r == 0)
		r = TAKE_TEXTS("routes", request->routes, request->n_routes, is_route, out->routes,
			       err);
	return r < 0 ? r
		     : TAKE_TEXTS("name servers", request->nameservers, request->n_nameservers,
				  is_address, out->nameservers, err);
}

int zone_network_take(struct daemon *d, const Protect__Control__ZoneNetwork *request,
		      unsigned n_taps, struct zone_row *row, struct error *err)
{
	struct zone_network *out = &row->network;
	const struct reservation *reservation;

	*out = (struct zone_network){.backend = request ? (uint32_t)request->backend : DEFAULT};
	if (!request) {
		out->backend = network_has_service(d->network) ? DEFAULT : NONE;
		return 0;
	}
	if (out->backend == EXTERNAL || out->backend == PASSTHROUGH)
		return take_prepared(d, request, n_taps, out, err);
	if (out->backend != DEFAULT && out->backend != NONE)
		return error_set(err, -EINVAL, "network backend %u is not known", out->backend);
	if (request->taps || n_taps)
		return error_set(err, -EINVAL,
				 "a tap needs --network-backend external or passthrough");
	if (out->backend == NONE && (request->n_ports || *request->reservation))
		return error_set(err, -EINVAL,
				 "a zone without a network has no ports and no "
				 "reservation");
	if (out->backend == DEFAULT && !network_has_service(d->network))
		return error_set(err, -EOPNOTSUPP,
				 "this daemon runs without protect-network (--network-socket off)");
	if (*request->reservation) {
		reservation = network_find(d->network, request->reservation, err);
		if (!reservation)
			return err->code;
		if (*reservation->row.zone)
			return error_set(err, -EBUSY, "reservation '%s' is in use",
					 request->reservation);
	}
	return take_ports(d, request, out, err);
}

bool zone_nic_fill(struct zone *zone, uint32_t link, struct zone_nic *out)
{
	const struct zone_network *network = &zone->row.network;
	const struct reservation *r;

	if (zone->row.slot == SLOT_NONE || !network->links[link].used ||
	    !network->links[link].service)
		return false;
	r = network_of_link(zone->daemon->network, zone->row.uuid, link);
	if (!r)
		return false;
	protect__network__nic__init(&out->nic);
	out->nic.zone_uuid = zone->row.uuid;
	out->nic.slot = zone->row.slot;
	out->nic.index = link;
	out->nic.mac = (char *)(uintptr_t)r->row.mac;
	out->nic.ipv4 = (char *)(uintptr_t)r->row.ipv4;
	out->nic.ipv6 = (char *)(uintptr_t)r->row.ipv6;
	out->nic.publish = out->pointers;
	for (unsigned i = 0; link == 0 && i < NETWORK_PORTS && network->ports[i].host_port; i++) {
		const struct network_port *port = &network->ports[i];

		protect__network__publish__init(&out->ports[i]);
		out->ports[i].host_address = (char *)(uintptr_t)port->host_address;
		out->ports[i].host_port = port->host_port;
		out->ports[i].zone_port = port->zone_port;
		out->ports[i].udp = port->udp;
		out->pointers[out->nic.n_publish++] = &out->ports[i];
	}
	return true;
}

static void add_address(struct network_link *link, const char *address, const char *suffix)
{
	unsigned n = 0;

	while (n < NETWORK_ADDRESSES && *link->addresses[n])
		n++;
	if (*address && n < NETWORK_ADDRESSES)
		snprintf(link->addresses[n], sizeof(link->addresses[n]), "%s%s", address, suffix);
}

int zone_network_reserve(struct zone *zone, uint32_t link, const char *name, struct error *err)
{
	struct network *network = zone->daemon->network;
	struct network_link *to = &zone->row.network.links[link];
	struct reservation_row wanted = {.link = link};
	struct reservation *r;

	snprintf(wanted.zone, sizeof(wanted.zone), "%s", zone->row.uuid);
	r = *name ? network_find(network, name, err) : network_reserve(network, &wanted, err);
	if (!r || (*name && network_give(network, r, zone->row.uuid, link, err) < 0))
		return err->code;
	*to = (struct network_link){.used = true, .service = true};
	snprintf(to->mac, sizeof(to->mac), "%s", r->row.mac);
	add_address(to, r->row.ipv4, SUFFIX4);
	add_address(to, r->row.ipv6, SUFFIX6);
	zone_network_show(zone);
	return 0;
}

int zone_network_attach(struct zone *zone, uint32_t link, unsigned queues, network_fn *fn,
			void *user)
{
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Attach attach = PROTECT__NETWORK__ATTACH__INIT;
	struct zone_nic nic;

	if (!zone_nic_fill(zone, link, &nic))
		return -ENOENT;
	attach.nic = &nic.nic;
	attach.queues = queues;
	request.what_case = PROTECT__NETWORK__REQUEST__WHAT_ATTACH;
	request.attach = &attach;
	return network_call(&zone->daemon->network->client, &request, fn, user);
}

void zone_network_note(struct zone *zone, uint32_t link, const Protect__Network__Attached *attached)
{
	struct zone_network *network = &zone->row.network;
	struct network_link *to = &network->links[link];

	to->mtu = attached->mtu >= MTU_MIN && attached->mtu <= MTU_MAX ? attached->mtu : 0;
	for (size_t i = 0, n = 0; i < attached->n_gateways && n < NETWORK_GATEWAYS; i++)
		if (is_address(attached->gateways[i]))
			daemon_copy_text(to->gateways[n++], NETWORK_ADDRESS_SIZE,
					 attached->gateways[i]);
	for (size_t i = 0, n = 0; i < attached->n_nameservers && n < NETWORK_NAMESERVERS; i++)
		if (is_address(attached->nameservers[i]))
			daemon_copy_text(network->nameservers[n++], NETWORK_ADDRESS_SIZE,
					 attached->nameservers[i]);
	zone_network_show(zone);
}

static void fail(struct zone *zone, int code, const char *text)
{
	error_set(&zone->failure, code, "%s", text);
	zone_undo(zone);
}

static void attached(void *user, const Protect__Network__Reply *reply, const int *fds,
		     unsigned n_fds)
{
	struct zone *zone = user;

	if (reply->error) {
		fail(zone, -(int)reply->error, reply->text);
		return;
	}
	if (!reply->attached || n_fds != zone_network_queues(&zone->row)) {
		fail(zone, -EPROTO, "protect-network did not send the zone's link");
		return;
	}
	for (unsigned i = 0; i < n_fds; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

		if (fd < 0) {
			fail(zone, -errno, "no descriptor is left for the zone's link");
			return;
		}
		zone->taps[zone->n_taps++] = fd;
	}
	zone_network_note(zone, 0, reply->attached);
	zone->network_ready = true;
	zone_launch_go_on(zone);
}

static void say_unreachable(struct zone *zone, const Protect__Network__Reply *reply)
{
	error_set(&zone->failure, -(int)reply->error,
		  "%s (--network-backend none launches a zone without a network)", reply->text);
	zone_undo(zone);
}

static void got_status(void *user, const Protect__Network__Reply *reply, const int *fds,
		       unsigned n_fds)
{
	struct zone *zone = user;
	int r;

	(void)fds;
	(void)n_fds;
	if (reply->error || !reply->status) {
		say_unreachable(zone, reply);
		return;
	}
	network_learn(zone->daemon->network, reply->status);
	r = zone_network_reserve(zone, 0, zone->reservation, &zone->failure);
	if (r == 0) {
		/* A daemon that comes later must know that there is a link to take away. */
		r = state_add_zone(zone->daemon->state, &zone->row, &zone->failure);
	}
	if (r == 0) {
		r = zone_network_attach(zone, 0, zone_network_queues(&zone->row), attached, zone);
		if (r < 0)
			error_set(&zone->failure, r, "protect-daemon is out of memory");
	}
	if (r < 0)
		zone_undo(zone);
}

int zone_network_start(struct zone *zone, const char *reservation)
{
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Status status = PROTECT__NETWORK__STATUS__INIT;

	zone_network_show(zone);
	zone->network_ready = zone->row.network.backend != DEFAULT;
	if (zone->network_ready)
		return 0;
	snprintf(zone->reservation, sizeof(zone->reservation), "%s", reservation);
	request.what_case = PROTECT__NETWORK__REQUEST__WHAT_STATUS;
	request.status = &status;
	if (network_call(&zone->daemon->network->client, &request, got_status, zone) < 0)
		return error_set(&zone->failure, -ENOMEM, "protect-daemon is out of memory");
	return 0;
}

static void detached(void *user, const Protect__Network__Reply *reply, const int *fds,
		     unsigned n_fds)
{
	struct network *network = user;

	(void)fds;
	(void)n_fds;
	if (reply->error)
		network_lags(network);
}

void zone_network_end_link(struct zone *zone, uint32_t link)
{
	struct network *network = zone->daemon->network;
	Protect__Network__Request request = PROTECT__NETWORK__REQUEST__INIT;
	Protect__Network__Detach detach = PROTECT__NETWORK__DETACH__INIT;
	struct network_link *from = &zone->row.network.links[link];
	struct reservation *r = network_of_link(network, zone->row.uuid, link);

	if (from->used && from->service) {
		detach.slot = zone->row.slot;
		detach.index = link;
		request.what_case = PROTECT__NETWORK__REQUEST__WHAT_DETACH;
		request.detach = &detach;
		if (network_call(&network->client, &request, detached, network) < 0)
			network_lags(network);
	}
	*from = (struct network_link){0};
	if (r)
		network_take_back(network, r);
	zone_network_show(zone);
}

void zone_network_close(struct zone *zone)
{
	while (zone->n_taps)
		close_fdp(&zone->taps[--zone->n_taps]);
}

void zone_network_end(struct zone *zone)
{
	struct zone_network *network = &zone->row.network;

	network_forget(&zone->daemon->network->client, zone);
	zone_network_close(zone);
	for (uint32_t i = 0; i < NETWORK_LINKS_MAX; i++)
		zone_network_end_link(zone, i);
	*network = (struct zone_network){.backend = network->backend};
	zone_network_show(zone);
}

/* Points to the texts of a table, up to an empty one. Returns how many. */
static size_t point(const char *texts, size_t size, size_t places, char **out)
{
	size_t n = 0;

	for (; n < places && texts[n * size]; n++)
		out[n] = (char *)(uintptr_t)(texts + n * size);
	return n;
}

#define POINT(texts, out) point(&(texts)[0][0], sizeof((texts)[0]), ARRAY_SIZE(texts), out)

static void fill_link(const struct zone_network *network, uint32_t index, struct zone_links *out)
{
	const struct network_link *from = &network->links[index];
	size_t n = out->n_links++;
	Protect__Agent__Link *link = &out->links[n];

	protect__agent__link__init(link);
	snprintf(out->names[n], sizeof(out->names[n]), "eth%u", index);
	link->name = out->names[n];
	link->mac = (char *)(uintptr_t)from->mac;
	link->mtu = from->mtu;
	link->addresses = out->addresses[n];
	link->n_addresses = POINT(from->addresses, out->addresses[n]);
	link->gateways = out->gateways[n];
	link->n_gateways = POINT(from->gateways, out->gateways[n]);
	if (index == 0) {
		link->routes = out->routes;
		link->n_routes = POINT(network->routes, out->routes);
	} else {
		link->metric = EXTRA_METRIC + index;
	}
	out->pointers[n] = link;
}

void zone_links_fill(const struct zone *zone, struct zone_links *out)
{
	const struct zone_network *network = &zone->row.network;

	out->n_links = 0;
	for (uint32_t i = 0; i < NETWORK_LINKS_MAX; i++)
		if (network->links[i].used)
			fill_link(network, i, out);
	out->n_nameservers = POINT(network->nameservers, out->nameservers);
}

static void show_links(struct zone *zone, struct zone_network_shown *out)
{
	zone_links_fill(zone, &out->texts);
	for (size_t i = 0; i < out->texts.n_links; i++) {
		const Protect__Agent__Link *from = &out->texts.links[i];
		Protect__Control__NetworkLink *to = &out->links[i];
		const struct reservation *r = network_of_link(zone->daemon->network, zone->row.uuid,
							      (uint32_t)(from->name[3] - '0'));

		protect__control__network_link__init(to);
		to->name = from->name;
		to->mac = from->mac;
		to->addresses = from->addresses;
		to->n_addresses = from->n_addresses;
		to->gateways = from->gateways;
		to->n_gateways = from->n_gateways;
		to->routes = from->routes;
		to->n_routes = from->n_routes;
		to->mtu = from->mtu;
		if (r)
			to->reservation = (char *)(uintptr_t)r->row.name;
		out->link_pointers[i] = to;
	}
	out->network.links = out->link_pointers;
	out->network.n_links = out->texts.n_links;
}

void zone_network_show(struct zone *zone)
{
	const struct zone_network *network = &zone->row.network;
	struct zone_network_shown *out = &zone->network_shown;

	protect__control__network__init(&out->network);
	out->network.backend = (Protect__Control__NetworkBackend)network->backend;
	show_links(zone, out);
	out->network.nameservers = out->texts.nameservers;
	out->network.n_nameservers = out->texts.n_nameservers;
	out->network.ports = out->port_pointers;
	for (unsigned i = 0; i < NETWORK_PORTS && network->ports[i].host_port; i++) {
		const struct network_port *port = &network->ports[i];

		protect__control__publish__init(&out->ports[i]);
		out->ports[i].host_address = (char *)(uintptr_t)port->host_address;
		out->ports[i].host_port = port->host_port;
		out->ports[i].zone_port = port->zone_port;
		out->ports[i].udp = port->udp;
		out->port_pointers[out->network.n_ports++] = &out->ports[i];
	}
}
