// SPDX-License-Identifier: Apache-2.0
/* The host's part: conflicts, and the subnets' own routes. */
#include "supervisor/network/route.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/cache.h>
#include <netlink/errno.h>
#include <netlink/route/link.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/network/route_internal.h"

static int to_errno(int r)
{
	static const struct {
		int nle, error;
	} known[] = {
		{NLE_NOMEM, ENOMEM},	     {NLE_EXIST, EEXIST},      {NLE_INVAL, EINVAL},
		{NLE_RANGE, ERANGE},	     {NLE_OPNOTSUPP, ENOTSUP}, {NLE_AF_NOSUPPORT, ENOTSUP},
		{NLE_OBJ_NOTFOUND, ENOENT},  {NLE_BUSY, EBUSY},	       {NLE_NOACCESS, EACCES},
		{NLE_PERM, EPERM},	     {NLE_NODEV, ENODEV},      {NLE_DUMP_INTR, EAGAIN},
		{NLE_NOADDR, EADDRNOTAVAIL},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].nle == abs(r))
			return -known[i].error;
	return -EIO;
}

int route_error(int r, const char *what, const char *name, struct error *err)
{
	return error_set(err, to_errno(r), "%s %s: %s", what, name, nl_geterror(r));
}

/*
 * #syscalls network.start: socket(AF_NETLINK) bind getsockname getpid
 *	setsockopt(_, SOL_SOCKET, SO_SNDBUF) setsockopt(_, SOL_SOCKET, SO_RCVBUF)
 *
 * #syscalls network: sendmsg recvmsg poll
 */
int route_open(struct route **out, struct error *err)
{
	struct route *route = calloc(1, sizeof(*route));
	int r;

	*out = route;
	if (route)
		route->socket = nl_socket_alloc();
	if (!route || !route->socket)
		return error_set(err, -ENOMEM, "out of memory");
	r = nl_connect(route->socket, NETLINK_ROUTE);
	return r < 0 ? route_error(r, "cannot open", "rtnetlink", err) : 0;
}

struct route *route_close(struct route *route)
{
	if (route && route->socket)
		nl_socket_free(route->socket);
	free(route);
	return NULL;
}

struct nl_addr *route_address(const struct address *address, unsigned prefix)
{
	struct nl_addr *result =
		nl_addr_build(address->family, address->bytes, address_len(address->family));

	if (result)
		nl_addr_set_prefixlen(result, (int)prefix);
	return result;
}

int route_add(struct route *route, struct nl_addr *dst, int ifindex, struct nl_addr *source)
{
	struct rtnl_route *entry = rtnl_route_alloc();
	struct rtnl_nexthop *hop = ifindex ? rtnl_route_nh_alloc() : NULL;
	int r = -NLE_NOMEM;

	if (entry && (!ifindex || hop)) {
		rtnl_route_set_family(entry, (uint8_t)nl_addr_get_family(dst));
		rtnl_route_set_table(entry, RT_TABLE_MAIN);
		rtnl_route_set_protocol(entry, ROUTE_PROTOCOL);
		rtnl_route_set_dst(entry, dst);
		if (source)
			rtnl_route_set_pref_src(entry, source);
		if (hop) {
			rtnl_route_set_scope(entry, RT_SCOPE_LINK);
			rtnl_route_nh_set_ifindex(hop, ifindex);
			rtnl_route_add_nexthop(entry, hop); /* it is the route's now */
			hop = NULL;
		} else {
			rtnl_route_set_type(entry, RTN_UNREACHABLE);
			rtnl_route_set_scope(entry, RT_SCOPE_UNIVERSE);
		}
		r = rtnl_route_add(route->socket, entry, NLM_F_REPLACE);
	}
	if (hop)
		rtnl_route_nh_free(hop);
	if (entry)
		rtnl_route_put(entry);
	return r;
}

/* What a walk over the host's routes looks for. */
struct walk {
	struct route *route;
	const struct settings *settings;
	struct nl_cache *links;
	struct error *err;
	int r;
};

static bool read_dst(struct rtnl_route *entry, struct subnet *out)
{
	struct nl_addr *dst = rtnl_route_get_dst(entry);
	int family = dst ? nl_addr_get_family(dst) : 0;

	*out = (struct subnet){.base.family = family};
	if (!address_len(family) || nl_addr_get_len(dst) != address_len(family))
		return false;
	memcpy(out->base.bytes, nl_addr_get_binary_addr(dst), address_len(family));
	out->prefix = nl_addr_get_prefixlen(dst);
	return out->prefix > 0; /* the default route goes everywhere */
}

static void name_link(const struct walk *walk, struct rtnl_route *entry, char *name, size_t size)
{
	struct rtnl_nexthop *hop =
		rtnl_route_get_nnexthops(entry) > 0 ? rtnl_route_nexthop_n(entry, 0) : NULL;

	name[0] = '\0';
	if (hop)
		rtnl_link_i2name(walk->links, rtnl_route_nh_get_ifindex(hop), name, size);
}

static void find_conflict(struct nl_object *object, void *user)
{
	struct rtnl_route *entry = (struct rtnl_route *)object;
	struct walk *walk = user;
	const struct settings *settings = walk->settings;
	char name[IF_NAMESIZE], route_text[ADDRESS_TEXT_SIZE], text[ADDRESS_TEXT_SIZE];
	const struct subnet *ours;
	struct subnet dst;
	uint32_t slot, index;

	if (walk->r < 0 || !read_dst(entry, &dst) ||
	    rtnl_route_get_protocol(entry) == ROUTE_PROTOCOL)
		return;
	ours = dst.base.family == AF_INET ? &settings->ipv4 : &settings->ipv6;
	if (!subnet_overlaps(ours, &dst))
		return;
	name_link(walk, entry, name, sizeof(name));
	if (nic_parse_name(name, &slot, &index))
		return;
	walk->r = error_set(walk->err, -EADDRINUSE,
			    "the subnet %s of zones is in use on this host (%s%s%s): give another "
			    "with %s in the section [network] of protect.conf",
			    subnet_format(ours, text), subnet_format(&dst, route_text),
			    name[0] ? ", link " : "", name,
			    dst.base.family == AF_INET ? "ipv4-subnet" : "ipv6-subnet");
}

/* A subnet that zones had under other settings. */
static void remove_stale(struct nl_object *object, void *user)
{
	struct rtnl_route *entry = (struct rtnl_route *)object;
	struct walk *walk = user;
	const struct subnet *ours;
	struct subnet dst;

	if (!read_dst(entry, &dst) || rtnl_route_get_protocol(entry) != ROUTE_PROTOCOL ||
	    rtnl_route_get_type(entry) != RTN_UNREACHABLE)
		return;
	ours = dst.base.family == AF_INET ? &walk->settings->ipv4 : &walk->settings->ipv6;
	if (dst.prefix != ours->prefix || !address_equal(&dst.base, &ours->base))
		rtnl_route_delete(walk->route->socket, entry, 0);
}

static int each_route(struct route *route, const struct settings *settings,
		      void (*fn)(struct nl_object *object, void *user), struct error *err)
{
	struct walk walk = {.route = route, .settings = settings, .err = err};
	struct nl_cache *routes = NULL;
	int r = rtnl_link_alloc_cache(route->socket, AF_UNSPEC, &walk.links);

	if (r == 0)
		r = rtnl_route_alloc_cache(route->socket, AF_UNSPEC, 0, &routes);
	if (r == 0)
		nl_cache_foreach(routes, fn, &walk);
	if (routes)
		nl_cache_free(routes);
	if (walk.links)
		nl_cache_free(walk.links);
	return r < 0 ? route_error(r, "cannot read", "the host's routes", err) : walk.r;
}

int route_find_conflict(struct route *route, const struct settings *settings, struct error *err)
{
	return each_route(route, settings, find_conflict, err);
}

int route_set_up_host(struct route *route, const struct settings *settings, struct error *err)
{
	const struct subnet *const subnets[] = {&settings->ipv4, &settings->ipv6};
	int r = each_route(route, settings, remove_stale, err);

	for (unsigned i = 0; r == 0 && i < ARRAY_SIZE(subnets); i++) {
		_cleanup_(route_put_address) struct nl_addr *dst = NULL;
		char text[ADDRESS_TEXT_SIZE];

		if (!subnets[i]->base.family)
			continue;
		dst = route_address(&subnets[i]->base, subnets[i]->prefix);
		r = dst ? route_add(route, dst, 0, NULL) : -NLE_NOMEM;
		if (r < 0)
			r = route_error(r, "cannot make the route for",
					subnet_format(subnets[i], text), err);
	}
	return r;
}
