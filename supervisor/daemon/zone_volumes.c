// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/zone_volumes.h"

#include <errno.h>
#include <string.h>

#include "supervisor/daemon/volume_moves.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

void zone_volumes_adopt(struct zone *zone)
{
	for (unsigned i = 0; i < zone->volumes.n; i++)
		zone->volumes.disks[i]->attached = true;
}

struct volume_disk *zone_volumes_find(const struct zone *zone, const char *volume)
{
	return zone->row.slot != SLOT_NONE ? volume_list_find(&zone->volumes, volume) : NULL;
}

static void opened(void *user, int error, const char *text)
{
	struct zone *zone = user;

	if (!error) {
		zone_launch_go_on(zone);
		return;
	}
	error_set(&zone->failure, error, "%s", text);
	zone_undo(zone);
}

bool zone_volumes_open(struct zone *zone)
{
	for (unsigned i = 0; i < zone->volumes.n; i++)
		if (zone->volumes.disks[i]->fd < 0) {
			volume_disk_open(zone->volumes.disks[i], opened, zone);
			return false;
		}
	return true;
}

static void bring_from(struct zone *zone, unsigned i);

static void brought(void *user, int error, const char *text)
{
	struct zone *zone = user;

	if (error)
		zone_fail(zone, error, "zone '%s': %s", zone->row.name, text);
	else
		bring_from(zone, ++zone->n_volumes_brought);
}

static void bring_from(struct zone *zone, unsigned i)
{
	if (i < zone->volumes.n)
		volume_move_bring(zone, zone->volumes.disks[i], brought);
	else
		zone_ready(zone);
}

void zone_volumes_bring(struct zone *zone)
{
	zone->n_volumes_brought = 0;
	bring_from(zone, 0);
}

/* How a workload sees what its zone has. */
static int check_shared(const struct zone *zone, const struct volume_disk *volume,
			const struct volume_mount *mount, struct error *err)
{
	bool raw = strncmp(mount->target, "/dev/", 5) == 0;

	if (raw != volume->raw)
		return error_set(err, -EINVAL,
				 "volume '%s' is a %s in zone '%s', and cannot be at '%s'",
				 mount->name, volume->raw ? "device" : "folder", zone->row.name,
				 mount->target);
	if (volume->mount.read_only && !mount->read_only)
		return error_set(err, -EBUSY, "zone '%s' has volume '%s' read-only: add ':ro'",
				 zone->row.name, mount->name);
	if (raw && mount->read_only && !volume->mount.read_only)
		return error_set(err, -EINVAL,
				 "zone '%s' may write to the device '%s', and so may who shares it",
				 zone->row.name, mount->name);
	return 0;
}

static int say_used(const struct volume_mount *mount, const char *what, const char *name,
		    const char *in, struct error *err)
{
	return error_set(err, -EBUSY, "volume '%s' is in use by %s '%s'%s%s%s%s", mount->name, what,
			 name, *in ? " in zone '" : "", in, *in ? "'" : "",
			 mount->read_only ? ", which may write to it" : "");
}

int volumes_check_free(const struct daemon *d, const struct zone *user_zone,
		       const struct volume_mount *mount, struct error *err)
{
	const struct volume_disk *volume =
		user_zone ? zone_volumes_find(user_zone, mount->name) : NULL;

	if (volume_is_folder(mount->name))
		return user_zone ? 0
				 : error_set(err, -EOPNOTSUPP,
					     "folder '%s' can be given to workloads only, not to a "
					     "zone itself",
					     mount->name);
	if (volume)
		return check_shared(user_zone, volume, mount, err);
	for (const struct zone *z = d->zones; z; z = z->next) {
		volume = zone_volumes_find(z, mount->name);
		if (volume && !(volume->mount.read_only && mount->read_only))
			return say_used(mount, "zone", z->row.name, "", err);
	}
	for (const struct workload *w = d->workloads; w; w = w->next) {
		volume = workload_volumes_find(w, mount->name);
		if (volume && !volume->shared && !(volume->mount.read_only && mount->read_only))
			return say_used(mount, "workload", w->row.name, w->zone->row.name, err);
	}
	return 0;
}
