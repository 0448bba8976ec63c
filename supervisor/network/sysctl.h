// SPDX-License-Identifier: Apache-2.0
/* The kernel's network settings below /proc/sys/net, which CAP_NET_ADMIN may write. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "supervisor/network/nic.h"

/*
 * What the host as a whole needs so that zones reach others: forwarding of each family that zones
 * have. Hosts whose links take IPv6 routes from router advertisements go on to do so: forwarding
 * would end that, so their accept_ra becomes 2. Returns 0 or a negative errno with *err set.
 */
int sysctl_set_up_host(const struct settings *settings, struct error *err);

/* Whether this host has IPv6 at all. */
bool sysctl_has_ipv6(void);

/* What one link needs; before it is up. Returns 0 or a negative errno with *err set. */
int sysctl_set_up_link(const struct nic *nic, struct error *err);
