// SPDX-License-Identifier: Apache-2.0
/*
 * Connections that the host asks for to ports of the zone's own loopback address: bytes of a socket
 * become bytes of a stream and back, and each way ends apart. At most FORWARDS_MAX at a time, each
 * with 64 KiB each way. Neither side is trusted to read what it is sent.
 */
#pragma once

#include "zone-guest/zone.h"

#define FORWARDS_MAX 64u

/* The request METHOD_FORWARD: it is answered once the connection is there, or is not to be had. */
void forward_start(struct zone *zone, uint64_t id, const Protect__Agent__Forward *message);
