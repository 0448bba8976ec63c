// SPDX-License-Identifier: Apache-2.0
/*
 * The volumes of a zone itself: opened before there is a runner, so that one that somebody else has
 * ends the launch with nothing changed; attached and mounted when the zone has had its bootstrap,
 * before it is ready. Its workloads may share them.
 *
 * A list in struct zone (zone.h), which the functions take.
 */
#pragma once

#include "supervisor/daemon/volume_list.h"

struct daemon;

/* A daemon that comes later: the runner has all that the row names. */
void zone_volumes_adopt(struct zone *zone);

/* Whether a zone has a volume itself, or is about to; NULL if not. */
struct volume_disk *zone_volumes_find(const struct zone *zone, const char *volume);

/* Whether all are opened. If not they are about to be: zone_launch_go_on() or zone_undo()
 * follows. */
bool zone_volumes_open(struct zone *zone);

/* Attaches and mounts them: zone_ready() or zone_fail() follows. */
void zone_volumes_bring(struct zone *zone);

/*
 * Whether nothing of ours stands in the way of a new user: a workload of user_zone, or that zone
 * itself. The locks decide; who is known here by name is told. 0, or -EBUSY or -EINVAL with *err.
 */
int volumes_check_free(const struct daemon *d, const struct zone *user_zone,
		       const struct volume_mount *mount, struct error *err);
