// SPDX-License-Identifier: Apache-2.0
/*
 * The network of one zone: from the request of a launch to a link that its runner is given, what
 * the zone is told of it, and its end. Links of protect-network are in row.network before the
 * service is asked for them, so that whoever comes later takes them away.
 */
#pragma once

#include "proto/agent.pb-c.h"
#include "proto/control.pb-c.h"
#include "proto/network.pb-c.h"
#include "supervisor/daemon/network.h"

struct zone;

/* A message about one link, with what it points to. */
struct zone_nic {
	Protect__Network__Nic nic;
	Protect__Network__Publish ports[NETWORK_PORTS];
	Protect__Network__Publish *pointers[NETWORK_PORTS];
};

/*
 * Checks what a launch asks for and puts it into the row. request may be NULL: the default. taps:
 * descriptors that came with it, borrowed. Returns 0 or a negative errno with text.
 */
int zone_network_take(struct daemon *d, const Protect__Control__ZoneNetwork *request,
		      unsigned n_taps, struct zone_row *row, struct error *err);

/* Sees to its link: zone_launch_go_on() or zone_undo() follows later, or network_ready is set.
 * Returns 0, or a negative errno with zone->failure set. */
int zone_network_start(struct zone *zone, const char *reservation);

/* Sees to addresses for a link (of a reservation of that name, or ""), which is in the row after
 * it. Returns 0 or a negative errno with text. */
int zone_network_reserve(struct zone *zone, uint32_t link, const char *name, struct error *err);

/* Asks protect-network for a link that has addresses. Returns 0 or a negative errno. */
int zone_network_attach(struct zone *zone, uint32_t link, unsigned queues, network_fn *fn,
			void *user);

/* Fills the message about a link of protect-network. Returns false if there is none. */
bool zone_nic_fill(struct zone *zone, uint32_t link, struct zone_nic *out);

/* Closes the taps, which its runner has, or which nobody needs. */
void zone_network_close(struct zone *zone);

/* Gives back all that it has: links, addresses, descriptors. May be called twice. */
void zone_network_end(struct zone *zone);

/* Gives back one link that protect-network has the other end of. */
void zone_network_end_link(struct zone *zone, uint32_t link);

/* Takes what the service said of a link that it made. */
void zone_network_note(struct zone *zone, uint32_t link,
		       const Protect__Network__Attached *attached);

/* What the zone is told of its links; everything is borrowed from the zone or lies in here. */
struct zone_links {
	Protect__Agent__Link links[NETWORK_LINKS_MAX];
	Protect__Agent__Link *pointers[NETWORK_LINKS_MAX];
	char names[NETWORK_LINKS_MAX][8];
	char *addresses[NETWORK_LINKS_MAX][NETWORK_ADDRESSES];
	char *gateways[NETWORK_LINKS_MAX][NETWORK_GATEWAYS];
	char *routes[NETWORK_ROUTES];
	char *nameservers[NETWORK_NAMESERVERS];
	size_t n_links, n_nameservers;
};
void zone_links_fill(const struct zone *zone, struct zone_links *out);

/* The same for people, as the field `network` of a zone's message: zone->network_shown. To be made
 * anew whenever the row's network, or the name of a reservation, has changed. */
struct zone_network_shown {
	Protect__Control__Network network;
	Protect__Control__NetworkLink links[NETWORK_LINKS_MAX];
	Protect__Control__NetworkLink *link_pointers[NETWORK_LINKS_MAX];
	Protect__Control__Publish ports[NETWORK_PORTS];
	Protect__Control__Publish *port_pointers[NETWORK_PORTS];
	struct zone_links texts;
};
void zone_network_show(struct zone *zone);

/* How many queue pairs a zone's link gets. */
unsigned zone_network_queues(const struct zone_row *row);
