// SPDX-License-Identifier: Apache-2.0
/*
 * The network of a zone as its row keeps it: where its links come from, what the zone was told of
 * each, and the ports of the host that lead to it. As text it is a JSON object.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define NETWORK_ADDRESS_SIZE 46u  /* of text, with its NUL */
#define NETWORK_PREFIX_SIZE  50u  /* the same with "/128" */
#define NETWORK_ROUTE_SIZE   100u /* "DESTINATION/PREFIX GATEWAY" */
#define NETWORK_MAC_SIZE     18u
#define NETWORK_LINKS_MAX    4u
#define NETWORK_ADDRESSES    4u /* of one link */
#define NETWORK_GATEWAYS     2u
#define NETWORK_ROUTES	     16u
#define NETWORK_NAMESERVERS  4u
#define NETWORK_PORTS	     32u

struct network_link {
	bool used; /* its place in the table is its index: 0 is eth0 */
	char mac[NETWORK_MAC_SIZE];
	char addresses[NETWORK_ADDRESSES][NETWORK_PREFIX_SIZE]; /* up to an empty one */
	char gateways[NETWORK_GATEWAYS][NETWORK_ADDRESS_SIZE];	/* the same */
	uint32_t mtu;						/* 0 = the device's own */
	bool service; /* protect-network has its other end */
};

struct network_port {
	char host_address[NETWORK_ADDRESS_SIZE]; /* empty = all */
	uint16_t host_port, zone_port;		 /* 0 = no port: the table ends before it */
	bool udp;
};

struct zone_network {
	uint32_t backend; /* protect.control.NetworkBackend */
	struct network_link links[NETWORK_LINKS_MAX];
	char routes[NETWORK_ROUTES][NETWORK_ROUTE_SIZE]; /* of eth0, up to an empty one */
	char nameservers[NETWORK_NAMESERVERS][NETWORK_ADDRESS_SIZE]; /* the same */
	struct network_port ports[NETWORK_PORTS];
};

/* The text, which the caller frees. NULL without memory. */
char *zone_network_print(const struct zone_network *network);

/* text may be NULL or empty: no network. What cannot be read is left out: the row is our own, but
 * its file may be anybody's. */
void zone_network_parse(const char *text, struct zone_network *out);
