// SPDX-License-Identifier: Apache-2.0
/*
 * Sockets that hold published ports: bound, and nothing else, so that a port that is taken is an
 * error at once and nobody takes one later. Packets go to the zone before they come to a socket.
 */
#pragma once

#include "supervisor/network/nic.h"

#define HOLD_FDS_MAX (2 * NIC_PUBLISH_MAX) /* IPv4 and IPv6 */

struct hold {
	int fds[HOLD_FDS_MAX];
	unsigned n;
};

/* Binds all published ports of a NIC. Returns 0, or a negative errno (-EADDRINUSE: taken) with *err
 * set, and then holds none. */
int hold_ports(struct hold *hold, const struct nic *nic, struct error *err);

void hold_release(struct hold *hold);
