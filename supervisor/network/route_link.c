// SPDX-License-Identifier: Apache-2.0
/* The part of one link. */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/cache.h>
#include <netlink/errno.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/neighbour.h>
#include <string.h>

#include "base/cleanup.h"
#include "supervisor/network/route_internal.h"

static void put_link(struct rtnl_link **link)
{
	if (*link)
		rtnl_link_put(*link);
}

static bool is_tap(struct rtnl_link *link)
{
	const char *type = rtnl_link_get_type(link);

	return type && strcmp(type, "tun") == 0;
}

/* 0, or libnl's error. */
static int get_link(struct route *route, const char *name, struct rtnl_link **link)
{
	int r = rtnl_link_get_kernel(route->socket, 0, name, link);

	return r == -NLE_OBJ_NOTFOUND ? -NLE_NODEV : r;
}

int route_find_link(struct route *route, const char *name)
{
	_cleanup_(put_link) struct rtnl_link *link = NULL;
	int r = get_link(route, name, &link);

	if (r < 0)
		return r == -NLE_NODEV ? 0 : -EIO;
	return is_tap(link) ? 1 : -EEXIST;
}

int route_remove_link(struct route *route, const char *name, struct error *err)
{
	_cleanup_(put_link) struct rtnl_link *link = NULL;
	int r = get_link(route, name, &link);

	if (r == -NLE_NODEV)
		return 0;
	if (r == 0 && !is_tap(link))
		return error_set(err, -EEXIST,
				 "the link %s is not ours and in the way: rename or remove it",
				 name);
	if (r == 0)
		r = rtnl_link_delete(route->socket, link);
	return r < 0 && r != -NLE_NODEV ? route_error(r, "cannot remove the link", name, err) : 0;
}

struct each {
	void (*fn)(void *user, const char *name);
	void *user;
};

static void visit_link(struct nl_object *object, void *user)
{
	struct rtnl_link *link = (struct rtnl_link *)object;
	const char *name = rtnl_link_get_name(link);
	const struct each *each = user;
	uint32_t slot, index;

	if (name && is_tap(link) && nic_parse_name(name, &slot, &index))
		each->fn(each->user, name);
}

int route_each_link(struct route *route, void (*fn)(void *user, const char *name), void *user)
{
	struct each each = {.fn = fn, .user = user};
	struct nl_cache *links = NULL;

	if (rtnl_link_alloc_cache(route->socket, AF_UNSPEC, &links) < 0)
		return -EIO;
	nl_cache_foreach(links, visit_link, &each);
	nl_cache_free(links);
	return 0;
}

static int add_address(struct route *route, int ifindex, const struct address *address,
		       unsigned prefix)
{
	_cleanup_(route_put_address) struct nl_addr *local = route_address(address, prefix);
	struct rtnl_addr *entry = rtnl_addr_alloc();
	int r = -NLE_NOMEM;

	if (local && entry) {
		rtnl_addr_set_ifindex(entry, ifindex);
		rtnl_addr_set_local(entry, local);
		/* Nobody else can have it: no detection of duplicates, which would take a second.
		 */
		if (address->family == AF_INET6)
			rtnl_addr_set_flags(entry, IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
		r = rtnl_addr_add(route->socket, entry, NLM_F_REPLACE);
	}
	if (entry)
		rtnl_addr_put(entry);
	return r == -NLE_EXIST ? 0 : r;
}

static int add_neighbour(struct route *route, int ifindex, const struct address *address,
			 const uint8_t mac[MAC_BYTES])
{
	_cleanup_(route_put_address) struct nl_addr *dst =
		route_address(address, address_len(address->family) * 8);
	_cleanup_(route_put_address) struct nl_addr *lladdr = nl_addr_build(AF_LLC, mac, MAC_BYTES);
	struct rtnl_neigh *entry = rtnl_neigh_alloc();
	int r = -NLE_NOMEM;

	if (dst && lladdr && entry) {
		rtnl_neigh_set_ifindex(entry, ifindex);
		rtnl_neigh_set_dst(entry, dst);
		rtnl_neigh_set_lladdr(entry, lladdr);
		rtnl_neigh_set_state(entry, NUD_PERMANENT);
		r = rtnl_neigh_add(route->socket, entry, NLM_F_CREATE | NLM_F_REPLACE);
	}
	if (entry)
		rtnl_neigh_put(entry);
	return r;
}

/* The host's addresses on the link, and where the zone is. */
static int add_addresses(struct route *route, int ifindex, const struct nic *nic,
			 const struct settings *settings)
{
	const struct address router = {.family = AF_INET6, .bytes = {0xfe, 0x80, [15] = 1}};
	struct address gateway, link_local;
	int r = 0;

	if (nic->ipv4.family) {
		subnet_gateway(&settings->ipv4, &gateway);
		r = add_address(route, ifindex, &gateway, 32);
		if (r == 0)
			r = add_neighbour(route, ifindex, &nic->ipv4, nic->mac);
	}
	if (r == 0 && nic->ipv6.family) {
		subnet_gateway(&settings->ipv6, &gateway);
		address_link_local(nic->mac, &link_local);
		r = add_address(route, ifindex, &gateway, 128);
		if (r == 0)
			r = add_address(route, ifindex, &router, 64);
		if (r == 0)
			r = add_neighbour(route, ifindex, &nic->ipv6, nic->mac);
		if (r == 0)
			r = add_neighbour(route, ifindex, &link_local, nic->mac);
	}
	return r;
}

static int bring_up(struct route *route, struct rtnl_link *link, const struct nic *nic)
{
	struct rtnl_link *change = rtnl_link_alloc();
	int r = -NLE_NOMEM;

	if (change) {
		rtnl_link_set_mtu(change, nic->mtu);
		rtnl_link_set_flags(change, IFF_UP);
		r = rtnl_link_change(route->socket, link, change, 0);
		rtnl_link_put(change);
	}
	return r;
}

static int add_route(struct route *route, int ifindex, const struct address *address,
		     const struct subnet *subnet)
{
	_cleanup_(route_put_address) struct nl_addr *dst =
		route_address(address, address_len(address->family) * 8);
	_cleanup_(route_put_address) struct nl_addr *source = NULL;
	struct address gateway;

	subnet_gateway(subnet, &gateway);
	source = route_address(&gateway, address_len(address->family) * 8);
	return dst && source ? route_add(route, dst, ifindex, source) : -NLE_NOMEM;
}

int route_set_up_link(struct route *route, const struct nic *nic, const struct settings *settings,
		      struct error *err)
{
	_cleanup_(put_link) struct rtnl_link *link = NULL;
	int r = get_link(route, nic->name, &link),
	    ifindex = r == 0 ? rtnl_link_get_ifindex(link) : 0;

	if (r == 0 && !is_tap(link))
		return error_set(err, -EEXIST, "the link %s is not ours", nic->name);
	if (r == 0)
		r = add_addresses(route, ifindex, nic, settings);
	if (r == 0)
		r = bring_up(route, link, nic);
	if (r == 0 && nic->ipv4.family)
		r = add_route(route, ifindex, &nic->ipv4, &settings->ipv4);
	if (r == 0 && nic->ipv6.family)
		r = add_route(route, ifindex, &nic->ipv6, &settings->ipv6);
	return r < 0 ? route_error(r, "cannot set up the link", nic->name, err) : 0;
}
