// SPDX-License-Identifier: Apache-2.0
/*
 * What the daemon asks for one link, checked: nothing of the request is used that has not gone
 * through nic_check(), and every text that reaches the kernel is made from these numbers again.
 * Pure; any thread.
 */
#pragma once

#include <net/if.h>

#include "base/uuid.h"
#include "proto/network.pb-c.h"
#include "supervisor/network/settings.h"

#define NIC_SLOT_MAX	65535u
#define NIC_INDEX_MAX	7u
#define NIC_QUEUES_MAX	8u
#define NIC_PUBLISH_MAX 64u
#define NIC_NAME_FORMAT "pz%un%u"

struct publish {
	struct address host; /* without a family: all of the host's */
	uint16_t host_port, zone_port;
	bool udp;
};

struct nic {
	struct uuid zone;
	uint32_t slot, index;
	char name[IF_NAMESIZE];
	uint8_t mac[MAC_BYTES];
	struct address ipv4, ipv6; /* the zone's; without a family: none */
	uint32_t mtu;
	struct publish publish[NIC_PUBLISH_MAX];
	unsigned n_publish;
};

/* Returns 0, or a negative errno with *err set. */
int nic_check(const Protect__Network__Nic *request, const struct settings *settings,
	      struct nic *nic, struct error *err);

/* The name of a link; slot and index are checked. Returns 0 or -EINVAL with *err set. */
int nic_name(uint32_t slot, uint32_t index, char name[IF_NAMESIZE], struct error *err);

/* Whether a link's name is one that nic_name() makes; then its numbers. */
bool nic_parse_name(const char *name, uint32_t *slot, uint32_t *index);

/* Whether two published ports are one and the same on the host. */
bool publish_collides(const struct publish *a, const struct publish *b);
