// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/zone_volumes.h"

#include <errno.h>
#include <string.h>

#include "supervisor/daemon/volume_moves.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

static int add(struct zone *zone, const struct volume_mount *mount)
{
	struct zone_volumes *volumes = &zone->volumes;
	struct volume_disk *volume = volume_disk_new(zone, zone->row.uuid, mount);

	if (!volume)
		return -ENOMEM;
	volumes->messages[volumes->n] = &volume->message;
	volumes->disks[volumes->n++] = volume;
	return 0;
}

int zone_volumes_init(struct zone *zone)
{
	for (unsigned i = 0; i < zone->row.volumes.n; i++)
		if (add(zone, &zone->row.volumes.items[i]) < 0) {
			zone_volumes_free(zone);
			return -ENOMEM;
		}
	return 0;
}

void zone_volumes_free(struct zone *zone)
{
	while (zone->volumes.n)
		volume_disk_free(zone->volumes.disks[--zone->volumes.n]);
}

void zone_volumes_adopt(struct zone *zone)
{
	for (unsigned i = 0; i < zone->volumes.n; i++)
		zone->volumes.disks[i]->attached = true;
}

struct volume_disk *zone_volumes_add(struct zone *zone, const struct volume_mount *mount)
{
	if (add(zone, mount) < 0)
		return NULL;
	volume_mounts_add(&zone->row.volumes, mount);
	return zone->volumes.disks[zone->volumes.n - 1];
}

void zone_volumes_remove(struct zone *zone, struct volume_disk *volume)
{
	struct zone_volumes *volumes = &zone->volumes;
	unsigned i = 0;

	while (volumes->disks[i] != volume)
		i++;
	for (volumes->n--; i < volumes->n; i++) {
		volumes->disks[i] = volumes->disks[i + 1];
		volumes->messages[i] = volumes->messages[i + 1];
	}
	volume_mounts_remove(&zone->row.volumes, volume->mount.target);
	volume_disk_free(volume);
}

struct volume_disk *zone_volumes_find(const struct zone *zone, const char *volume)
{
	for (unsigned i = 0; zone->row.slot != SLOT_NONE && i < zone->volumes.n; i++)
		if (strcmp(zone->volumes.disks[i]->mount.name, volume) == 0)
			return zone->volumes.disks[i];
	return NULL;
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

void zone_volumes_drop(struct zone *zone)
{
	for (unsigned i = 0; i < zone->volumes.n; i++)
		volume_disk_drop(zone->volumes.disks[i]);
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
