// SPDX-License-Identifier: Apache-2.0
/*
 * NICs that come and go while a zone runs: addresses, a link of protect-network, the function on
 * the zone's bus, and what the zone is told of it, one after the other. One such operation a zone
 * at a time. Whatever fails on the way takes back what came before.
 */
#pragma once

#include "proto/control.pb-c.h"
#include "proto/runner.pb-c.h"
#include "supervisor/daemon/daemon.h"

struct zone;

/* The requests METHOD_NETWORK_ATTACH and _DETACH: each answers the ticket, now or later. */
void control_network_attach(struct daemon *d, struct ticket ticket, const void *message);
void control_network_detach(struct daemon *d, struct ticket ticket, const void *message);

/* The zone has no runner any more: who waits is told. */
void zone_nics_lost(struct zone *zone);

/* An earlier daemon may have been killed in the middle: links that the runner does not have go. */
void zone_nics_compare(struct zone *zone, const Protect__Runner__StatusReply *status);
