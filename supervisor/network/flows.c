// SPDX-License-Identifier: Apache-2.0
#include "supervisor/network/flows.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"

#define TUPLE_MAX   128u /* bytes of one, as an attribute */
#define FOUND_MAX   65536u
#define FROM_SOURCE 1u /* the kernel's CTA_FILTER_F_CTA_IP_SRC: compare the source address */

/* Of CTA_FILTER; no header of ours has them (Linux 5.8). */
enum { FILTER_ORIG_FLAGS = 1, FILTER_REPLY_FLAGS = 2 };

struct flows {
	struct nl_sock *socket;
};

/* The first direction of a connection: what it is known by. */
struct tuple {
	uint8_t bytes[TUPLE_MAX];
	int len;
};

struct found {
	const struct address *address;
	int direction; /* CTA_TUPLE_ORIG or CTA_TUPLE_REPLY: where it is the source */
	struct tuple *tuples;
	unsigned n, room;
};

int flows_open(struct flows **out, struct error *err)
{
	struct flows *flows = calloc(1, sizeof(*flows));
	int r;

	*out = flows;
	if (flows)
		flows->socket = nl_socket_alloc();
	if (!flows || !flows->socket)
		return error_set(err, -ENOMEM, "out of memory");
	r = nl_connect(flows->socket, NETLINK_NETFILTER);
	return r < 0 ? error_set(err, -ENOTSUP, "cannot open nfnetlink: %s", nl_geterror(r)) : 0;
}

struct flows *flows_close(struct flows *flows)
{
	if (flows && flows->socket)
		nl_socket_free(flows->socket);
	free(flows);
	return NULL;
}

static void free_message(struct nl_msg **msg)
{
	nlmsg_free(*msg);
}

static struct nl_msg *new_message(int what, int flags, int family)
{
	struct nfgenmsg header = {.nfgen_family = (uint8_t)family, .version = NFNETLINK_V0};
	struct nl_msg *msg = nlmsg_alloc_simple(NFNL_SUBSYS_CTNETLINK << 8 | what, flags);

	if (msg && nlmsg_append(msg, &header, sizeof(header), NLMSG_ALIGNTO) < 0) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

static int source_attribute(const struct address *address)
{
	return address->family == AF_INET ? CTA_IP_V4_SRC : CTA_IP_V6_SRC;
}

/* Whether the source of this tuple is the address: a kernel that does not filter sends all. */
static bool is_from(struct nlattr *tuple, const struct address *address)
{
	struct nlattr *ip = tuple ? nla_find(nla_data(tuple), nla_len(tuple), CTA_TUPLE_IP) : NULL;
	struct nlattr *source =
		ip ? nla_find(nla_data(ip), nla_len(ip), source_attribute(address)) : NULL;

	return source && nla_len(source) == (int)address_len(address->family) &&
	       memcmp(nla_data(source), address->bytes, address_len(address->family)) == 0;
}

static int take(struct nl_msg *msg, void *user)
{
	struct nlmsghdr *header = nlmsg_hdr(msg);
	struct found *found = user;
	struct nlattr *tuple = nlmsg_find_attr(header, sizeof(struct nfgenmsg), CTA_TUPLE_ORIG);

	if (!tuple || nla_len(tuple) > (int)TUPLE_MAX ||
	    !is_from(nlmsg_find_attr(header, sizeof(struct nfgenmsg), found->direction),
		     found->address) ||
	    found->n == FOUND_MAX)
		return NL_OK;
	if (found->n == found->room) {
		unsigned room = found->room ? found->room * 2 : 64;
		struct tuple *grown = realloc(found->tuples, room * sizeof(*grown));

		if (!grown)
			return NL_STOP;
		found->tuples = grown;
		found->room = room;
	}
	found->tuples[found->n].len = nla_len(tuple);
	memcpy(found->tuples[found->n++].bytes, nla_data(tuple), (size_t)nla_len(tuple));
	return NL_OK;
}

/* Asks for those that have the address as their source in this direction. Of IPv6, Linux (seen in
 * 6.18) sends just the others: there it is to send all. */
static int put_filter(struct nl_msg *msg, const struct found *found)
{
	const struct address *address = found->address;
	bool is_orig = found->direction == CTA_TUPLE_ORIG;
	struct nlattr *tuple, *ip, *filter;

	if (address->family != AF_INET)
		return 0;
	tuple = nla_nest_start(msg, found->direction | NLA_F_NESTED);
	ip = nla_nest_start(msg, CTA_TUPLE_IP | NLA_F_NESTED);
	if (!tuple || !ip ||
	    nla_put(msg, source_attribute(address), (int)address_len(address->family),
		    address->bytes) < 0)
		return -NLE_NOMEM;
	nla_nest_end(msg, ip);
	nla_nest_end(msg, tuple);
	filter = nla_nest_start(msg, CTA_FILTER | NLA_F_NESTED);
	if (!filter ||
	    nla_put_u32(msg, is_orig ? FILTER_ORIG_FLAGS : FILTER_REPLY_FLAGS, FROM_SOURCE) < 0)
		return -NLE_NOMEM;
	nla_nest_end(msg, filter);
	return 0;
}

static int find(struct flows *flows, struct found *found)
{
	_cleanup_(free_message) struct nl_msg *msg =
		new_message(IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, found->address->family);
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int r = msg && cb ? put_filter(msg, found) : -NLE_NOMEM;

	if (r == 0) {
		nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, take, found);
		r = nl_send_auto(flows->socket, msg);
	}
	if (r >= 0)
		r = nl_recvmsgs(flows->socket, cb);
	if (cb)
		nl_cb_put(cb);
	return r;
}

static int forget(struct flows *flows, const struct tuple *tuple, int family)
{
	struct nl_msg *msg = new_message(IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST, family);
	int r;

	if (!msg || nla_put(msg, CTA_TUPLE_ORIG | NLA_F_NESTED, tuple->len, tuple->bytes) < 0) {
		nlmsg_free(msg);
		return -NLE_NOMEM;
	}
	r = nl_send_sync(flows->socket, msg); /* which frees it */
	return r == -NLE_OBJ_NOTFOUND ? 0 : r;
}

static void forget_all(struct flows *flows, const struct nic *nic, const struct address *address)
{
	static const int directions[] = {CTA_TUPLE_ORIG, CTA_TUPLE_REPLY};

	for (unsigned i = 0; i < 2; i++) {
		struct found found = {.address = address, .direction = directions[i]};
		int r = find(flows, &found);

		for (unsigned k = 0; r >= 0 && k < found.n; k++)
			r = forget(flows, &found.tuples[k], address->family);
		free(found.tuples);
		if (r < 0)
			log_warning("link=%s err=\"its connections cannot be forgotten: %s\"",
				    nic->name, nl_geterror(r));
	}
}

void flows_forget(struct flows *flows, const struct nic *nic)
{
	if (nic->ipv4.family)
		forget_all(flows, nic, &nic->ipv4);
	if (nic->ipv6.family)
		forget_all(flows, nic, &nic->ipv6);
}
