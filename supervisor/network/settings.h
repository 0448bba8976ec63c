// SPDX-License-Identifier: Apache-2.0
/*
 * What the operator decides about zones' networks: section [network] of the configuration file
 * (docs/network.md). Read once at the start, and then constant.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "supervisor/network/address.h"

#define SETTINGS_NAMESERVERS_MAX 8u
#define SETTINGS_SERVICES_MAX	 32u

/* A service of the host that zones may reach. */
struct host_service {
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t port;
};

struct settings {
	struct subnet ipv4, ipv6; /* of zones; without a family: none */
	uint32_t mtu;
	struct address nameservers[SETTINGS_NAMESERVERS_MAX];
	unsigned n_nameservers;
	struct host_service services[SETTINGS_SERVICES_MAX];
	unsigned n_services;
	bool allow_ping; /* of the host by zones */
	bool zone_to_zone;
	uint32_t connections, connections_per_s; /* of a link, tracked by the kernel */
};

/*
 * Fills *settings with the defaults, then with what path says (may be absent unless required); then
 * the host's nameservers if none are given. Returns 0 or a negative errno with *err set.
 */
int settings_read(struct settings *settings, const char *path, bool required, struct error *err);

/* Adds the nameservers of a resolv.conf (text is changed) that zones can reach: none of loopback,
 * none of a link. Returns how many it added. */
unsigned settings_add_resolvers(struct settings *settings, char *text);
