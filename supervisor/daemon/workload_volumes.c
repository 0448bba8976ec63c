// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/workload_volumes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "supervisor/daemon/volume_moves.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

static int add(struct workload *w, const struct volume_mount *mount)
{
	struct workload_volumes *volumes = &w->volumes;
	struct volume_disk *volume = volume_disk_new(w->zone, w->row.uuid, mount);

	if (!volume)
		return -ENOMEM;
	volumes->messages[volumes->n] = &volume->message;
	volumes->disks[volumes->n++] = volume;
	volumes->held = true;
	return 0;
}

int workload_volumes_init(struct workload *w)
{
	for (unsigned i = 0; i < w->row.volumes.n; i++)
		if (add(w, &w->row.volumes.items[i]) < 0) {
			workload_volumes_free(w);
			return -ENOMEM;
		}
	return 0;
}

void workload_volumes_free(struct workload *w)
{
	while (w->volumes.n)
		volume_disk_free(w->volumes.disks[--w->volumes.n]);
}

void workload_volumes_adopt(struct workload *w)
{
	for (unsigned i = 0; i < w->volumes.n; i++) {
		struct volume_disk *volume = w->volumes.disks[i];

		volume->shared = zone_volumes_find(w->zone, volume->mount.name);
		volume->attached = !volume->shared;
	}
}

struct volume_disk *workload_volumes_add(struct workload *w, const struct volume_mount *mount)
{
	if (add(w, mount) < 0)
		return NULL;
	volume_mounts_add(&w->row.volumes, mount);
	return w->volumes.disks[w->volumes.n - 1];
}

void workload_volumes_remove(struct workload *w, struct volume_disk *volume)
{
	struct workload_volumes *volumes = &w->volumes;
	unsigned i = 0;

	while (volumes->disks[i] != volume)
		i++;
	for (volumes->n--; i < volumes->n; i++) {
		volumes->disks[i] = volumes->disks[i + 1];
		volumes->messages[i] = volumes->messages[i + 1];
	}
	volume_mounts_remove(&w->row.volumes, volume->mount.target);
	volume_disk_free(volume);
}

struct volume_disk *workload_volumes_find(const struct workload *w, const char *volume)
{
	for (unsigned i = 0; w->volumes.held && i < w->volumes.n; i++)
		if (strcmp(w->volumes.disks[i]->mount.name, volume) == 0)
			return w->volumes.disks[i];
	return NULL;
}

int workload_volumes_check(const struct workload *w, struct error *err)
{
	int r = 0;

	for (unsigned i = 0; i < w->volumes.n; i++)
		if (w->volumes.disks[i]->detaching)
			return error_set(err, -EAGAIN,
					 "volume '%s' is just being detached; try again",
					 w->volumes.disks[i]->mount.name);
	for (unsigned i = 0; !w->volumes.held && r == 0 && i < w->volumes.n; i++)
		r = volumes_check_free(w->daemon, w->zone, &w->volumes.disks[i]->mount, err);
	return r;
}

static void one_opened(void *user, int error, const char *text);
static void one_attached(void *user, int error, const char *text);

static void open_next(struct workload *w)
{
	for (unsigned i = 0; i < w->volumes.n; i++) {
		struct volume_disk *volume = w->volumes.disks[i];

		volume->shared = zone_volumes_find(w->zone, volume->mount.name);
		if (volume->fd < 0 && !volume->attached && !volume->shared) {
			volume_disk_open(volume, one_opened, w);
			return;
		}
	}
	w->volumes.fn(w, 0, "");
}

static void one_opened(void *user, int error, const char *text)
{
	struct workload *w = user;

	if (error)
		w->volumes.fn(w, error, text);
	else
		open_next(w);
}

void workload_volumes_open(struct workload *w, workload_volumes_fn *fn)
{
	w->volumes.fn = fn;
	w->volumes.held = w->volumes.n > 0;
	open_next(w);
}

static void attach_next(struct workload *w)
{
	for (unsigned i = 0; i < w->volumes.n; i++) {
		struct volume_disk *volume = w->volumes.disks[i];

		if (!volume->attached && !volume->shared) {
			volume_disk_attach(volume, one_attached, w);
			return;
		}
	}
	w->volumes.fn(w, 0, "");
}

static void one_attached(void *user, int error, const char *text)
{
	struct workload *w = user;

	if (error)
		w->volumes.fn(w, error, text);
	else
		attach_next(w);
}

void workload_volumes_attach(struct workload *w, workload_volumes_fn *fn)
{
	w->volumes.fn = fn;
	w->phase = WORKLOAD_PHASE_VOLUMES;
	attach_next(w);
}

size_t workload_volumes_fill(const struct workload *w, struct workload_volume_messages *out)
{
	for (unsigned i = 0; i < w->volumes.n; i++) {
		volume_disk_fill(w->volumes.disks[i], &out->volumes[i]);
		out->pointers[i] = &out->volumes[i];
	}
	return w->volumes.n;
}

static bool is_any_attached(const struct workload *w)
{
	for (unsigned i = 0; i < w->volumes.n; i++)
		if (w->volumes.disks[i]->attached)
			return true;
	return false;
}

static void one_detached(void *user, int error, const char *text)
{
	struct workload *w = user;

	if (error)
		log_warning("workload=%s err=\"%s\" a volume was not detached", w->row.uuid, text);
	/* What was taken away by force and is there all the same ends with the zone; its lock says
	 * so. */
	for (unsigned i = 0; error && i < w->volumes.n; i++)
		if (!w->volumes.disks[i]->detaching)
			w->volumes.disks[i]->attached = false;
	if (is_any_attached(w))
		return;
	w->volumes.held = false;
	workload_volumes_detached(w);
}

bool workload_volumes_detach(struct workload *w)
{
	volume_moves_forget(w);
	/* Its processes are gone, and the mounts with them, as far as the zone is honest. */
	for (unsigned i = 0; i < w->volumes.n; i++)
		volume_disk_detach(w->volumes.disks[i], true, one_detached, w);
	w->volumes.held = is_any_attached(w);
	return !w->volumes.held;
}

void workload_volumes_forget(struct workload *w)
{
	for (unsigned i = 0; i < w->volumes.n; i++)
		volume_disk_forget(w->volumes.disks[i]);
}

void workload_volumes_drop(struct workload *w)
{
	for (unsigned i = 0; i < w->volumes.n; i++)
		volume_disk_drop(w->volumes.disks[i]);
	w->volumes.held = false;
}
