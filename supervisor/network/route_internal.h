// SPDX-License-Identifier: Apache-2.0
/* What route.c and route_link.c share. */
#pragma once

#include <netlink/addr.h>
#include <netlink/netlink.h>
#include <netlink/object.h>

#include "supervisor/network/route.h"

struct route {
	struct nl_sock *socket;
};

/* The negative errno of what libnl returned, with its text: "WHAT NAME: reason". */
int route_error(int r, const char *what, const char *name, struct error *err);

/* An address or subnet as libnl has it, for nl_addr_put(); NULL without memory. */
struct nl_addr *route_address(const struct address *address, unsigned prefix);

static inline void route_put_address(struct nl_addr **address)
{
	if (*address)
		nl_addr_put(*address);
}

/* Adds a route of ours to dst (borrowed): to a link, or unreachable with ifindex 0. 0 or libnl's
 * error. */
int route_add(struct route *route, struct nl_addr *dst, int ifindex, struct nl_addr *source);
