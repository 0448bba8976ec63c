// SPDX-License-Identifier: Apache-2.0
/* Addresses of IPv4 and IPv6, and which of a subnet's may be given to zones. Pure functions. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "supervisor/daemon/state_network.h"

struct address {
	uint8_t len; /* 4 or 16 bytes; 0 = none */
	uint8_t bytes[16];
};

struct subnet {
	struct address base; /* len 0: there is none */
	unsigned prefix;
};

/* Of text without a prefix. Returns whether it is one. */
bool address_parse(const char *text, struct address *out);
void address_print(const struct address *address, char out[NETWORK_ADDRESS_SIZE]);

/* Of "ADDRESS/PREFIX". Bits behind the prefix become 0. Returns whether it is one. */
bool subnet_parse(const char *text, struct subnet *out);

/* Whether a zone may have this address: it is in the subnet, and neither one of the first two (the
 * subnet's own and the host's) nor the last (of IPv4, everybody's). */
bool subnet_gives(const struct subnet *subnet, const struct address *address);

/* The next address that a zone may have; after the last, or where *at is none of the subnet's, the
 * first one. Returns false if there is none at all. */
bool subnet_next(const struct subnet *subnet, struct address *at);
