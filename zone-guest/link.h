// SPDX-License-Identifier: Apache-2.0
/*
 * The zone's connection to its host: vsock to the host's IDM port, or a vchan where the zone is a
 * Xen domain; tried for ever. Connecting does not block: while no one answers, the workloads'
 * output still has to be taken.
 */
#pragma once

#include <stdint.h>

#include "zone-guest/reactor.h"
#include "zone-guest/vchan_link.h"
#include "zone-guest/zone.h"

struct link {
	struct zone *zone;
	struct reactor_watch watch; /* a socket that is connecting, owned */
	struct reactor_timer timer; /* the next attempt */
	uint64_t pause_ns;
	bool on_xen;
	struct vchan_link vchan;
};

/* Connects now, and again whenever the session ends. *link outlives the zone's reactor. */
void link_start(struct link *link, struct zone *zone);
