// SPDX-License-Identifier: Apache-2.0
/* Internet addresses and subnets of both families as bytes in network order. Pure; any thread. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define ADDRESS_TEXT_SIZE (INET6_ADDRSTRLEN + 4) /* of a subnet too */
#define MAC_BYTES	  6
#define MAC_TEXT_SIZE	  18

struct address {
	int family; /* AF_INET, AF_INET6, 0 = none */
	uint8_t bytes[16];
};

struct subnet {
	struct address base;
	unsigned prefix;
};

/* Bytes of an address of that family: 4, 16, or 0. */
unsigned address_len(int family);

/* Parses an address of either family. Returns 0 or -EINVAL. */
int address_parse(const char *text, struct address *out);

/* Writes the address as text; "" for none. Returns text. */
const char *address_format(const struct address *address, char text[ADDRESS_TEXT_SIZE]);

bool address_equal(const struct address *a, const struct address *b);

bool address_is_loopback(const struct address *address);

/* The link-local address that a device with this MAC gives itself (RFC 4291, appendix A). */
void address_link_local(const uint8_t mac[MAC_BYTES], struct address *out);

/* Parses ADDRESS/PREFIX of that family, no bit set behind the prefix. Returns 0 or -EINVAL. */
int subnet_parse(const char *text, int family, struct subnet *out);

const char *subnet_format(const struct subnet *subnet, char text[ADDRESS_TEXT_SIZE]);

bool subnet_contains(const struct subnet *subnet, const struct address *address);

/* Whether they have an address in common. */
bool subnet_overlaps(const struct subnet *a, const struct subnet *b);

/* The first address behind the subnet's own: the host's on every link. */
void subnet_gateway(const struct subnet *subnet, struct address *out);

/* Whether a zone may have it: inside, and not the subnet's own, the gateway's or, of IPv4, the last
 * one. */
bool subnet_has_zone(const struct subnet *subnet, const struct address *address);

/* Parses 02:…, lower case: unicast and locally administered. Returns 0 or -EINVAL. */
int mac_parse(const char *text, uint8_t mac[MAC_BYTES]);

const char *mac_format(const uint8_t mac[MAC_BYTES], char text[MAC_TEXT_SIZE]);
