// SPDX-License-Identifier: Apache-2.0
/*
 * Volumes that come and go while a zone or a workload runs: opened, attached to the zone's bus, put
 * to its place by the zone's agent, or the same back. One such move a zone at a time. What fails on
 * the way in takes back what came before; on the way out the volume stays where it was, in the list
 * of who has it, until it is free.
 */
#pragma once

#include "supervisor/daemon/daemon.h"
#include "supervisor/daemon/volume_disk.h"

struct workload;

/* The requests METHOD_VOLUME_ATTACH and _DETACH: each answers the ticket, now or later. */
void control_volume_attach(struct daemon *d, struct ticket ticket, const void *message);
void control_volume_detach(struct daemon *d, struct ticket ticket, const void *message);

/* Brings an opened volume of a zone that is being launched to its place. fn follows, unless the
 * zone ends before. */
void volume_move_bring(struct zone *zone, struct volume_disk *volume, zone_disk_fn *fn);

/* A workload lets go of its volumes: what was just coming goes, who waits is told. */
void volume_moves_forget(struct workload *w);

/* The zone has no runner any more: who waits is told. */
void volume_moves_lost(struct zone *zone);
