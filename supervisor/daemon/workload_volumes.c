// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/workload_volumes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/daemon/volume_moves.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

static int add_scratch(struct workload *w)
{
	const struct volume_mount mount = {.name = "scratch", .target = "/"};

	w->volumes.scratch = volume_disk_new(w->zone, w->row.uuid, &mount);
	if (!w->volumes.scratch)
		return -ENOMEM;
	w->volumes.scratch->scratch_bytes = w->row.scratch_bytes;
	return 0;
}

int workload_volumes_init(struct workload *w)
{
	int r;

	w->volumes.held = w->row.volumes.n > 0;
	r = volume_list_init(&w->volumes.list, w->zone, w->row.uuid, &w->row.volumes);
	if (r == 0 && w->row.scratch_bytes && add_scratch(w) < 0) {
		workload_volumes_free(w);
		return -ENOMEM;
	}
	return r;
}

void workload_volumes_free(struct workload *w)
{
	w->volumes.scratch = volume_disk_free(w->volumes.scratch);
	volume_list_free(&w->volumes.list);
}

void workload_volumes_adopt(struct workload *w)
{
	if (w->volumes.scratch)
		w->volumes.scratch->attached = true;
	for (unsigned i = 0; i < w->volumes.list.n; i++) {
		struct volume_disk *volume = w->volumes.list.disks[i];

		volume->shared = zone_volumes_find(w->zone, volume->mount.name);
		volume->attached = !volume->shared;
	}
}

struct volume_disk *workload_volumes_find(const struct workload *w, const char *volume)
{
	return w->volumes.held ? volume_list_find(&w->volumes.list, volume) : NULL;
}

int workload_volumes_check(const struct workload *w, struct error *err)
{
	int r = 0;

	for (unsigned i = 0; i < w->volumes.list.n; i++)
		if (w->volumes.list.disks[i]->detaching)
			return error_set(err, -EAGAIN,
					 "volume '%s' is just being detached; try again",
					 w->volumes.list.disks[i]->mount.name);
	for (unsigned i = 0; !w->volumes.held && r == 0 && i < w->volumes.list.n; i++)
		r = volumes_check_free(w->daemon, w->zone, &w->volumes.list.disks[i]->mount, err);
	return r;
}

static void one_opened(void *user, int error, const char *text);
static void one_attached(void *user, int error, const char *text);

static void open_next(struct workload *w)
{
	struct volume_disk *scratch = w->volumes.scratch;

	if (scratch && scratch->fd < 0 && !scratch->attached) {
		volume_disk_open(scratch, one_opened, w);
		return;
	}
	for (unsigned i = 0; i < w->volumes.list.n; i++) {
		struct volume_disk *volume = w->volumes.list.disks[i];

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
	w->volumes.held = w->volumes.list.n > 0;
	open_next(w);
}

static void attach_next(struct workload *w)
{
	struct volume_disk *scratch = w->volumes.scratch;

	if (scratch && !scratch->attached) {
		volume_disk_attach(scratch, one_attached, w);
		return;
	}
	for (unsigned i = 0; i < w->volumes.list.n; i++) {
		struct volume_disk *volume = w->volumes.list.disks[i];

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
	for (unsigned i = 0; i < w->volumes.list.n; i++) {
		volume_disk_fill(w->volumes.list.disks[i], &out->volumes[i]);
		out->pointers[i] = &out->volumes[i];
	}
	return w->volumes.list.n;
}

static bool is_any_attached(const struct workload *w)
{
	for (unsigned i = 0; i < w->volumes.list.n; i++)
		if (w->volumes.list.disks[i]->attached)
			return true;
	return false;
}

static void one_detached(void *user, int error, const char *text)
{
	struct workload *w = user;

	(void)text;
	/* What was taken away by force and is there all the same ends with the zone; its lock says
	 * so. */
	for (unsigned i = 0; error && i < w->volumes.list.n; i++)
		if (!w->volumes.list.disks[i]->detaching)
			w->volumes.list.disks[i]->attached = false;
	if (is_any_attached(w))
		return;
	w->volumes.held = false;
	workload_volumes_detached(w);
}

bool workload_volumes_detach(struct workload *w)
{
	volume_moves_forget(w);
	/* Its processes are gone, and the mounts with them, as far as the zone is honest. */
	for (unsigned i = 0; i < w->volumes.list.n; i++)
		volume_disk_detach(w->volumes.list.disks[i], true, one_detached, w);
	w->volumes.held = is_any_attached(w);
	return !w->volumes.held;
}

bool workload_volumes_drop_scratch(struct workload *w, zone_disk_fn *fn)
{
	return w->volumes.scratch && volume_disk_detach(w->volumes.scratch, true, fn, w);
}

void workload_volumes_forget(struct workload *w)
{
	if (w->volumes.scratch)
		volume_disk_forget(w->volumes.scratch);
	for (unsigned i = 0; i < w->volumes.list.n; i++)
		volume_disk_forget(w->volumes.list.disks[i]);
}

void workload_volumes_drop(struct workload *w)
{
	if (w->volumes.scratch)
		volume_disk_drop(w->volumes.scratch);
	volume_list_drop(&w->volumes.list);
	w->volumes.held = false;
}
