// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"

#define MESSAGE_MAX 512u
#define LINKS_MAX   4096

struct message {
	union {
		struct nlmsghdr header;
		uint8_t room[MESSAGE_MAX];
	};
};

struct address {
	uint8_t family;
	uint8_t prefix;
	uint8_t len;
	uint8_t bytes[16];
};

static void *begin(struct message *m, uint16_t type, uint16_t flags, size_t body)
{
	memset(m, 0, sizeof(*m));
	m->header.nlmsg_len = (uint32_t)NLMSG_LENGTH(body);
	m->header.nlmsg_type = type;
	m->header.nlmsg_flags = (uint16_t)(flags | NLM_F_REQUEST | NLM_F_ACK);
	return NLMSG_DATA(&m->header);
}

/* Every message here is small and of known size. */
static void add(struct message *m, uint16_t type, const void *data, size_t len)
{
	size_t at = NLMSG_ALIGN(m->header.nlmsg_len);
	struct rtattr *attribute = (struct rtattr *)(void *)(m->room + at);

	attribute->rta_type = type;
	attribute->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(attribute), data, len);
	m->header.nlmsg_len = (uint32_t)(at + RTA_ALIGN(attribute->rta_len));
}

/* Sends it and waits for the kernel's acknowledgement, which comes at once. */
static int ask(const struct message *m)
{
	_cleanup_(close_fdp) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		uint8_t rest[MESSAGE_MAX];
	} answer;
	ssize_t n;

	if (fd < 0 || send(fd, m, m->header.nlmsg_len, 0) < 0)
		return -errno;
	n = recv(fd, &answer, sizeof(answer), 0);
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(answer.header) + sizeof(answer.error) ||
	    answer.header.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return answer.error.error;
}

static int set_up(int index, const char *name, uint32_t mtu)
{
	struct message m;
	struct ifinfomsg *body = begin(&m, RTM_NEWLINK, 0, sizeof(*body));

	body->ifi_index = index;
	body->ifi_flags = IFF_UP;
	body->ifi_change = IFF_UP;
	if (name)
		add(&m, IFLA_IFNAME, name, strlen(name) + 1);
	if (mtu)
		add(&m, IFLA_MTU, &mtu, sizeof(mtu));
	return ask(&m);
}

int net_loopback_up(void)
{
	unsigned index = if_nametoindex("lo");

	return index ? set_up((int)index, NULL, 0) : -errno;
}

static int parse_address(const char *text, bool with_prefix, struct address *out)
{
	_cleanup_(freep) char *copy = strdup(text);
	char *slash = copy ? strchr(copy, '/') : NULL, *end = NULL;
	unsigned long prefix;

	if (!copy)
		return -ENOMEM;
	if (slash)
		*slash++ = '\0';
	if ((slash != NULL) != with_prefix)
		return -EINVAL;
	out->family = strchr(copy, ':') ? AF_INET6 : AF_INET;
	out->len = out->family == AF_INET6 ? 16 : 4;
	prefix = slash ? strtoul(slash, &end, 10) : out->len * 8u;
	if (inet_pton(out->family, copy, out->bytes) != 1 || prefix > out->len * 8u ||
	    (slash && (!*slash || *end)))
		return -EINVAL;
	out->prefix = (uint8_t)prefix;
	return 0;
}

static int add_address(int index, const char *text)
{
	struct message m;
	struct ifaddrmsg *body =
		begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*body));
	struct address address;
	int r = parse_address(text, true, &address);

	if (r < 0)
		return r;
	body->ifa_family = address.family;
	body->ifa_prefixlen = address.prefix;
	body->ifa_index = (uint32_t)index;
	/* The host gave it out: nothing is gained by waiting for duplicate detection. */
	body->ifa_flags = address.family == AF_INET6 ? IFA_F_NODAD : 0;
	add(&m, IFA_LOCAL, address.bytes, address.len);
	add(&m, IFA_ADDRESS, address.bytes, address.len);
	return ask(&m);
}

/* gateway: NULL for a destination on the link itself; destination: NULL for everywhere. */
static int add_route(int index, const struct address *destination, const struct address *gateway,
		     uint32_t metric)
{
	struct message m;
	struct rtmsg *body = begin(&m, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*body));
	uint32_t out_interface = (uint32_t)index;

	body->rtm_family = destination ? destination->family : gateway->family;
	body->rtm_table = RT_TABLE_MAIN;
	body->rtm_protocol = RTPROT_BOOT;
	body->rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	body->rtm_type = RTN_UNICAST;
	if (destination) {
		body->rtm_dst_len = destination->prefix;
		add(&m, RTA_DST, destination->bytes, destination->len);
	}
	if (gateway) {
		body->rtm_flags = RTNH_F_ONLINK;
		add(&m, RTA_GATEWAY, gateway->bytes, gateway->len);
	}
	add(&m, RTA_OIF, &out_interface, sizeof(out_interface));
	if (metric)
		add(&m, RTA_PRIORITY, &metric, sizeof(metric));
	return ask(&m);
}

static int add_default_route(int index, const char *text, uint32_t metric)
{
	struct address gateway;
	int r = parse_address(text, false, &gateway);

	return r < 0 ? r : add_route(index, NULL, &gateway, metric);
}

/* "DESTINATION/PREFIX GATEWAY", or the first alone. */
static int add_text_route(int index, const char *text, uint32_t metric)
{
	_cleanup_(freep) char *copy = strdup(text);
	char *blank = copy ? strchr(copy, ' ') : NULL;
	struct address destination, gateway;
	int r = copy ? 0 : -ENOMEM;

	if (blank)
		*blank++ = '\0';
	if (r == 0)
		r = parse_address(copy, true, &destination);
	if (r == 0 && blank)
		r = parse_address(blank, false, &gateway);
	if (r == 0 && blank && gateway.family != destination.family)
		r = -EINVAL;
	return r < 0 ? r : add_route(index, &destination, blank ? &gateway : NULL, metric);
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
	for (int i = 0; i < 6; i++) {
		char *end;
		unsigned long byte = strtoul(text, &end, 16);

		if (end != text + 2 || byte > 0xff || *end != (i < 5 ? ':' : '\0'))
			return false;
		mac[i] = (uint8_t)byte;
		text = end + 1;
	}
	return true;
}

/* Asks for one link after the other by index: a zone has a handful. */
static int find_link(const uint8_t mac[6])
{
	_cleanup_(close_fdp) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct if_nameindex *all = if_nameindex();
	int index = -ENODEV;

	if (!all)
		return -ENODEV;
	for (struct if_nameindex *at = all; at->if_index && at - all < LINKS_MAX; at++) {
		struct ifreq request = {.ifr_ifindex = 0};

		strncpy(request.ifr_name, at->if_name, IFNAMSIZ - 1);
		if (ioctl(fd, SIOCGIFHWADDR, &request) == 0 &&
		    !memcmp(request.ifr_hwaddr.sa_data, mac, 6)) {
			index = (int)at->if_index;
			break;
		}
	}
	if_freenameindex(all);
	return index;
}

int net_apply(const Protect__Agent__Link *link, struct error *err)
{
	uint8_t mac[6];
	int index, r;

	if (!*link->name || strlen(link->name) >= IFNAMSIZ || strchr(link->name, '/'))
		return error_set(err, -EINVAL, "a link's name is not one");
	if (!parse_mac(link->mac, mac))
		return error_set(err, -EINVAL, "link %s: its hardware address is not one",
				 link->name);
	index = find_link(mac);
	if (index < 0)
		return error_set(err, index, "link %s: the zone has no device with the address %s",
				 link->name, link->mac);
	r = set_up(index, link->name, link->mtu);
	if (r < 0)
		return error_set_errno(err, r, "link %s: set up", link->name);
	for (size_t i = 0; i < link->n_addresses; i++) {
		r = add_address(index, link->addresses[i]);
		if (r < 0)
			return error_set_errno(err, r, "link %s: address %s", link->name,
					       link->addresses[i]);
	}
	for (size_t i = 0; i < link->n_gateways; i++) {
		r = add_default_route(index, link->gateways[i], link->metric);
		if (r < 0)
			return error_set_errno(err, r, "link %s: gateway %s", link->name,
					       link->gateways[i]);
	}
	for (size_t i = 0; i < link->n_routes; i++) {
		r = add_text_route(index, link->routes[i], link->metric);
		if (r < 0)
			return error_set_errno(err, r, "link %s: route %s", link->name,
					       link->routes[i]);
	}
	return 0;
}
