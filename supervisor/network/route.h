// SPDX-License-Identifier: Apache-2.0
/*
 * Links, addresses, neighbours and routes, over rtnetlink (libnl-3). All that belongs to one link
 * goes with it; what is left is one route of type "unreachable" a subnet, so that no packet for an
 * address that no zone has follows the host's default route. Owned by one thread.
 */
#pragma once

#include "supervisor/network/nic.h"

#define ROUTE_PROTOCOL 112 /* of our routes (ip route: "proto 112") */

struct route;

/* Returns 0 or a negative errno with *err set. */
int route_open(struct route **out, struct error *err);
struct route *route_close(struct route *route);

/* Whether a link or a route of the host's has addresses of the zones' subnets: -EADDRINUSE. */
int route_find_conflict(struct route *route, const struct settings *settings, struct error *err);

/* Makes the subnets' own routes, and removes those of subnets that zones had before. */
int route_set_up_host(struct route *route, const struct settings *settings, struct error *err);

/* What a name belongs to: 0 = nobody, 1 = a tap, -EEXIST = another kind of link. */
int route_find_link(struct route *route, const char *name);

/* Removes a tap, whoever still has it open. Returns 0, also when there is none. */
int route_remove_link(struct route *route, const char *name, struct error *err);

/* Calls fn for each tap whose name is one of ours. */
int route_each_link(struct route *route, void (*fn)(void *user, const char *name), void *user);

/*
 * MTU, the host's addresses and the zone's neighbour entries of a link, then up, then the zone's
 * routes. Entries of neighbours are permanent: nothing that a zone says changes them. What is
 * there already is no error. Returns 0 or a negative errno with *err set.
 */
int route_set_up_link(struct route *route, const struct nic *nic, const struct settings *settings,
		      struct error *err);
