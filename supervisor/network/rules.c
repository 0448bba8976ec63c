// SPDX-License-Identifier: Apache-2.0
#include "supervisor/network/rules.h"

#include <string.h>

#define NOT_ROUTED "{ 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 }"
#define ROUTER	   "0xfe800000000000000000000000000001" /* fe80::1 */

/*
 * What the chains of `inet` have in common:
 *   from_zone, to_zone   forwarded packets, by where they come from or go to
 *   to_host		  packets for the host itself
 *   links		  a chain for each link, with its limits
 *   published*		  host port to zone, with the host's address or for all of them
 *   self*		  a zone that comes to itself through a published port
 */
static const char sets[] =
	"map links { type ifname : verdict; }\n"
	"map published4 { type inet_proto . inet_service : ipv4_addr . inet_service; }\n"
	"map published6 { type inet_proto . inet_service : ipv6_addr . inet_service; }\n"
	"map published4_at { type ipv4_addr . inet_proto . inet_service : "
	"ipv4_addr . inet_service; }\n"
	"map published6_at { type ipv6_addr . inet_proto . inet_service : "
	"ipv6_addr . inet_service; }\n"
	"set self4 { type ipv4_addr . ipv4_addr; }\n"
	"set self6 { type ipv6_addr . ipv6_addr; }\n";

static const char nat[] = "chain publish {\n"
			  "dnat ip to ip daddr . meta l4proto . th dport map @published4_at\n"
			  "dnat ip to meta l4proto . th dport map @published4\n"
			  "dnat ip6 to ip6 daddr . meta l4proto . th dport map @published6_at\n"
			  "dnat ip6 to meta l4proto . th dport map @published6\n"
			  "}\n"
			  "chain prerouting { type nat hook prerouting priority dstnat;\n"
			  "fib daddr type local jump publish\n"
			  "}\n"
			  "chain output { type nat hook output priority -100;\n"
			  "fib daddr type local jump publish\n"
			  "}\n"
			  "chain postrouting { type nat hook postrouting priority srcnat;\n"
			  "oifname \"pz*\" ip saddr 127.0.0.0/8 masquerade\n"
			  "oifname \"pz*\" ip saddr . ip daddr @self4 masquerade\n"
			  "oifname \"pz*\" ip6 saddr . ip6 daddr @self6 masquerade\n"
			  "iifname \"pz*\" oifname != \"pz*\" masquerade\n"
			  "}\n";

static void write_forward(FILE *out, const struct settings *settings)
{
	fprintf(out,
		"chain from_zone {\n"
		"tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu\n"
		"ct state established,related accept\n"
		"ct state != new drop\n"
		"iifname vmap @links\n"
		"oifname != \"pz*\" accept\n"
		"ct status dnat accept\n"
		"%s\n"
		"}\n"
		"chain to_zone {\n"
		"tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu\n"
		"ct state established,related accept\n"
		"ct state != new drop\n"
		"ct status dnat oifname vmap @links\n"
		"ct status dnat accept\n"
		"drop\n"
		"}\n"
		"chain forward { type filter hook forward priority filter;\n"
		"iifname \"pz*\" goto from_zone\n"
		"oifname \"pz*\" goto to_zone\n"
		"}\n",
		settings->zone_to_zone ? "accept" : "drop");
}

static void write_input(FILE *out, const struct settings *settings)
{
	fprintf(out, "chain to_host {\n"
		     "icmpv6 type nd-neighbor-solicit accept\n"
		     "ct state established,related accept\n"
		     "ct state != new drop\n"
		     "iifname vmap @links\n");
	for (unsigned i = 0; i < settings->n_services; i++)
		fprintf(out, "meta l4proto %u th dport %u accept\n", settings->services[i].protocol,
			settings->services[i].port);
	if (settings->allow_ping)
		fprintf(out, "icmp type echo-request accept\n"
			     "icmpv6 type echo-request accept\n");
	fprintf(out, "drop\n"
		     "}\n"
		     "chain input { type filter hook input priority filter;\n"
		     "iifname \"pz*\" goto to_host\n"
		     "}\n");
}

void rules_write_tables(FILE *out, const struct settings *settings)
{
	static const char *const families[] = {"inet", "netdev"};

	for (unsigned i = 0; i < 2; i++)
		fprintf(out,
			"add table %s " RULES_TABLE "\n"
			"delete table %s " RULES_TABLE "\n",
			families[i], families[i]);
	fprintf(out,
		"table netdev " RULES_TABLE " { comment \"" RULES_MARK "\"; }\n"
		"table inet " RULES_TABLE " { comment \"" RULES_MARK "\";\n%s",
		sets);
	write_forward(out, settings);
	write_input(out, settings);
	fprintf(out, "%s}\n", nat);
}

static void write_chain(FILE *out, const char *name)
{
	fprintf(out,
		"add chain netdev " RULES_TABLE " %s\n"
		"delete chain netdev " RULES_TABLE " %s\n"
		"add chain netdev " RULES_TABLE
		" %s { type filter hook ingress device \"%s\" priority -500; policy drop; }\n",
		name, name, name, name);
}

void rules_write_unknown(FILE *out, const char *name)
{
	write_chain(out, name);
}

static void write_rule(FILE *out, const struct nic *nic)
{
	fprintf(out, "add rule netdev " RULES_TABLE " %s ", nic->name);
}

/*
 * Who asks for the gateway's hardware address, with its own, and nothing else: the host knows the
 * zone's by heart (route.h), and answers for no other zone.
 */
static void write_neighbours(FILE *out, const struct nic *nic, const struct settings *settings)
{
	char mac[MAC_TEXT_SIZE], zone[ADDRESS_TEXT_SIZE], gateway[ADDRESS_TEXT_SIZE];
	struct address address;

	if (nic->ipv4.family) {
		subnet_gateway(&settings->ipv4, &address);
		write_rule(out, nic);
		fprintf(out,
			"ether type arp arp htype 1 arp ptype 0x0800 arp hlen 6 arp plen 4 "
			"arp operation request arp saddr ether %s arp saddr ip %s arp daddr ip %s "
			"accept\n",
			mac_format(nic->mac, mac), address_format(&nic->ipv4, zone),
			address_format(&address, gateway));
	}
	if (nic->ipv6.family) {
		address_link_local(nic->mac, &address);
		write_rule(out, nic);
		fprintf(out,
			"ether type ip6 ip6 saddr { %s, %s } ip6 hoplimit 255 meta l4proto 58 "
			"icmpv6 type nd-neighbor-solicit @th,64,128 " ROUTER " accept\n",
			address_format(&nic->ipv6, zone), address_format(&address, gateway));
	}
}

/*
 * Packets proper. Who pretends to be a DHCP server is not heard, nor what speaks for a link: it
 * would go no further than the host, but has no business there either. `l4proto != 255` is false
 * for a packet whose headers do not add up.
 */
static void write_packets(FILE *out, const struct nic *nic)
{
	char zone[ADDRESS_TEXT_SIZE];

	if (nic->ipv4.family) {
		address_format(&nic->ipv4, zone);
		write_rule(out, nic);
		fprintf(out, "ether type ip meta l4proto 17 udp sport 67 udp dport 68 drop\n");
		write_rule(out, nic);
		fprintf(out, "ether type ip meta l4proto 1 icmp type { redirect, "
			     "router-advertisement } drop\n");
		write_rule(out, nic);
		fprintf(out,
			"ether type ip meta pkttype host ip saddr %s ip daddr != " NOT_ROUTED
			" meta l4proto != 255 accept\n",
			zone);
	}
	if (nic->ipv6.family) {
		address_format(&nic->ipv6, zone);
		write_rule(out, nic);
		fprintf(out, "ether type ip6 meta l4proto 17 udp sport 547 udp dport 546 drop\n");
		write_rule(out, nic);
		fprintf(out, "ether type ip6 meta l4proto 58 icmpv6 type 130-255 drop\n");
		write_rule(out, nic);
		fprintf(out,
			"ether type ip6 meta pkttype host ip6 saddr %s ip6 daddr != { ::/128, "
			"::1/128, fe80::/10, ff00::/8 } meta l4proto != 255 accept\n",
			zone);
	}
}

static void write_limits(FILE *out, const struct nic *nic, const struct settings *settings)
{
	fprintf(out,
		"add chain inet " RULES_TABLE " %s\n"
		"flush chain inet " RULES_TABLE " %s\n"
		"add rule inet " RULES_TABLE " %s limit rate over %u/second burst %u packets drop\n"
		"add rule inet " RULES_TABLE " %s ct count over %u drop\n",
		nic->name, nic->name, nic->name, settings->connections_per_s,
		settings->connections_per_s * 4, nic->name, settings->connections);
}

/* One element of a published port: `verb` is add or delete. */
static void write_publish(FILE *out, const char *verb, const struct publish *publish,
			  const struct address *zone)
{
	char host[ADDRESS_TEXT_SIZE], text[ADDRESS_TEXT_SIZE];
	int version = zone->family == AF_INET ? 4 : 6;

	if (!zone->family || (publish->host.family && publish->host.family != zone->family))
		return;
	address_format(&publish->host, host);
	fprintf(out, "%s element inet " RULES_TABLE " published%d%s { %s%s%u . %u : %s . %u }\n",
		verb, version, host[0] ? "_at" : "", host, host[0] ? " . " : "",
		publish->udp ? IPPROTO_UDP : IPPROTO_TCP, publish->host_port,
		address_format(zone, text), publish->zone_port);
}

static void write_elements(FILE *out, const char *verb, const struct nic *nic)
{
	char zone[ADDRESS_TEXT_SIZE];

	fprintf(out, "%s element inet " RULES_TABLE " links { \"%s\" : jump %s }\n", verb,
		nic->name, nic->name);
	if (nic->ipv4.family) {
		address_format(&nic->ipv4, zone);
		fprintf(out, "%s element inet " RULES_TABLE " self4 { %s . %s }\n", verb, zone,
			zone);
	}
	if (nic->ipv6.family) {
		address_format(&nic->ipv6, zone);
		fprintf(out, "%s element inet " RULES_TABLE " self6 { %s . %s }\n", verb, zone,
			zone);
	}
	for (unsigned i = 0; i < nic->n_publish; i++) {
		write_publish(out, verb, &nic->publish[i], &nic->ipv4);
		write_publish(out, verb, &nic->publish[i], &nic->ipv6);
	}
}

void rules_write_link(FILE *out, const struct nic *nic, const struct settings *settings)
{
	char mac[MAC_TEXT_SIZE];

	write_chain(out, nic->name);
	write_rule(out, nic);
	fprintf(out, "ether saddr != %s drop\n", mac_format(nic->mac, mac));
	write_neighbours(out, nic, settings);
	write_packets(out, nic);
	write_limits(out, nic, settings);
	write_elements(out, "add", nic);
}

void rules_write_removal(FILE *out, const struct nic *nic)
{
	write_elements(out, "delete", nic);
	fprintf(out,
		"delete chain inet " RULES_TABLE " %s\n"
		"add chain netdev " RULES_TABLE " %s\n"
		"delete chain netdev " RULES_TABLE " %s\n",
		nic->name, nic->name, nic->name);
}
