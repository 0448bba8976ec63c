// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/volume_disk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/volume_target.h"
#include "supervisor/daemon/zone.h"

#define FNV_BASIS UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

static_assert(VOLUME_TARGET_SIZE > VOLUME_TARGET_MAX, "a target fits into a row");

static uint64_t hash(uint64_t sum, const char *text)
{
	do
		sum = (sum ^ (uint8_t)*text) * FNV_PRIME;
	while (*text++);
	return sum;
}

bool volume_is_folder(const char *name)
{
	return name[0] == '/' && strncmp(name, "/dev/", 5) != 0;
}

struct volume_disk *volume_disk_new(struct zone *zone, const char *owner,
				    const struct volume_mount *mount)
{
	struct volume_disk *volume = calloc(1, sizeof(*volume));

	if (!volume)
		return NULL;
	*volume = (struct volume_disk){.zone = zone,
				       .mount = *mount,
				       .disk = {.zone = zone,
						.read_only = mount->read_only,
						.direct = true,
						.folder = volume_is_folder(mount->name)},
				       .raw = strncmp(mount->target, "/dev/", 5) ==
					      0, /* and nothing else is there */
				       .fd = -1};
	/* The same for every daemon, and for each place of each owner another one. */
	snprintf(volume->disk.serial, sizeof(volume->disk.serial), "v-%016" PRIx64,
		 hash(hash(FNV_BASIS, owner), mount->target));
	protect__control__volume_mount__init(&volume->message);
	volume->message.volume = volume->mount.name;
	volume->message.target = volume->mount.target;
	volume->message.read_only = volume->mount.read_only;
	return volume;
}

struct volume_disk *volume_disk_free(struct volume_disk *volume)
{
	if (!volume)
		return NULL;
	volume_disk_drop(volume);
	free(volume);
	return NULL;
}

static void opened(void *user, const Protect__Storage__Reply *reply, const int *fds, unsigned n_fds)
{
	struct volume_disk *volume = user;
	struct error err = ERROR_NULL;
	bool raw;
	int r;

	if (reply->progress)
		return;
	volume->storage = NULL;
	if (reply->error) {
		volume->fn(volume->user, -(int)reply->error, reply->text);
		return;
	}
	if (n_fds == 1 && reply->volume)
		volume->fd = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
	if (volume->fd < 0 || !reply->volume) {
		volume->fn(volume->user, -EPROTO, "protect-storage sent no file for a volume");
		return;
	}
	if (volume->scratch_bytes) {
		volume->fn(volume->user, 0, "");
		return;
	}
	/* What is on a device of the host only its user knows. */
	raw = volume->mount.name[0] == '/'
		      ? volume->raw
		      : reply->volume->format == PROTECT__STORAGE__VOLUME_FORMAT__VOLUME_RAW;
	r = volume_target_check(volume->mount.name, volume->mount.target, raw, &err);
	volume->fn(volume->user, r, err.text);
}

static void folder_opened(void *user, const struct launch_reply *reply, int connection)
{
	struct volume_disk *volume = user;
	struct error err = ERROR_NULL;
	int r = reply->error;

	volume->launch = NULL;
	volume->fd = connection;
	if (r < 0)
		error_set(&err, r, "%s", reply->text);
	else if (connection < 0)
		r = error_set(&err, -EPROTO, "protect-launch sent no connection to a folder");
	else
		r = volume_target_check(volume->mount.name, volume->mount.target, false, &err);
	volume->fn(volume->user, r, err.text);
}

/* protect-launch looks whether this folder may be shared. */
static void open_folder(struct volume_disk *volume)
{
	struct launch_request request = {.op = LAUNCH_SHARE,
					 .slot = (uint32_t)volume->zone->row.slot,
					 .share.read_only = volume->mount.read_only};
	struct daemon *d = volume->zone->daemon;

	snprintf(request.share.path, sizeof(request.share.path), "%s", volume->mount.name);
	if (uuid_parse(volume->zone->row.uuid, &request.uuid) == 0)
		volume->launch = launch_call(&d->hub, d->options.launch_socket, &request, NULL, 0,
					     folder_opened, volume);
	if (!volume->launch)
		volume->fn(volume->user, -ENOMEM, "protect-daemon is out of memory");
}

void volume_disk_open(struct volume_disk *volume, zone_disk_fn *fn, void *user)
{
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__VolumeOpen what = PROTECT__STORAGE__VOLUME_OPEN__INIT;
	Protect__Storage__ScratchOpen scratch = PROTECT__STORAGE__SCRATCH_OPEN__INIT;
	struct daemon *d = volume->zone->daemon;

	volume->fn = fn;
	volume->user = user;
	if (volume->fd >= 0 || volume->attached || volume->shared) {
		fn(user, 0, "");
		return;
	}
	if (volume->disk.folder) {
		open_folder(volume);
		return;
	}
	what.name = volume->mount.name;
	what.read_only = volume->mount.read_only;
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_VOLUME_OPEN;
	request.volume_open = &what;
	if (volume->scratch_bytes) {
		scratch.size_bytes = volume->scratch_bytes;
		request.what_case = PROTECT__STORAGE__REQUEST__WHAT_SCRATCH_OPEN;
		request.scratch_open = &scratch;
	}
	volume->storage =
		storage_call(&d->hub, d->options.storage_socket, &request, -1, opened, volume);
	if (!volume->storage)
		fn(user, -ENOMEM, "protect-daemon is out of memory");
}

static void attached(void *user, int error, const char *text)
{
	struct volume_disk *volume = user;
	struct error err = ERROR_NULL;

	close_fdp(&volume->fd);
	if (error) {
		volume->attached = false;
		error_set(&err, error, "volume '%s' cannot be attached to zone '%s': %s",
			  volume->mount.name, volume->zone->row.name, text);
	}
	volume->fn(volume->user, error, err.text);
}

void volume_disk_attach(struct volume_disk *volume, zone_disk_fn *fn, void *user)
{
	int r;

	volume->fn = fn;
	volume->user = user;
	if (volume->attached || volume->shared) {
		fn(user, 0, "");
		return;
	}
	r = zone_disk_attach(&volume->disk, volume->fd, attached, volume);
	volume->attached = true; /* requests are done in order: a detach that follows finds it */
	if (r < 0)
		attached(volume, r, strerror(-r));
}

static void detached(void *user, int error, const char *text)
{
	struct volume_disk *volume = user;

	volume->detaching = false;
	volume->attached = error != 0;
	volume->fn(volume->user, error, text);
}

bool volume_disk_detach(struct volume_disk *volume, bool force, zone_disk_fn *fn, void *user)
{
	volume->storage = storage_cancel(volume->storage);
	volume->launch = launch_cancel(volume->launch);
	close_fdp(&volume->fd);
	volume->shared = false;
	if (!volume->attached)
		return false;
	volume->fn = fn;
	volume->user = user;
	if (!volume->detaching)
		volume->detaching = zone_disk_detach(&volume->disk, force, detached, volume) == 0;
	volume->attached = volume->detaching;
	return volume->attached;
}

void volume_disk_forget(struct volume_disk *volume)
{
	volume->storage = storage_cancel(volume->storage);
	volume->launch = launch_cancel(volume->launch);
	if (!volume->detaching)
		zone_disk_forget(&volume->disk);
}

void volume_disk_drop(struct volume_disk *volume)
{
	volume->storage = storage_cancel(volume->storage);
	volume->launch = launch_cancel(volume->launch);
	zone_disk_forget(&volume->disk);
	close_fdp(&volume->fd);
	volume->shared = volume->attached = volume->detaching = false;
}

void volume_disk_fill(struct volume_disk *volume, Protect__Agent__Volume *message)
{
	protect__agent__volume__init(message);
	message->serial = volume->disk.serial;
	if (volume->shared) {
		struct volume_disk *zones = zone_volumes_find(volume->zone, volume->mount.name);

		message->serial = zones ? zones->disk.serial : message->serial;
	}
	message->name = volume->mount.name;
	message->target = volume->mount.target;
	message->read_only = volume->mount.read_only;
	message->raw = volume->raw;
	message->shared = volume->shared;
	message->folder = volume->disk.folder;
}

/* Which devices may be given away protect-storage knows, which folders protect-launch. */
static bool is_path(const char *name)
{
	return volume_target_is_path(name) && !strchr(name, ' ') && strlen(name) < VOLUME_NAME_SIZE;
}

int volume_mount_read(const Protect__Control__VolumeMount *from, struct volume_mount *to,
		      struct error *err)
{
	if (!daemon_name_is_good(from->volume) && !is_path(from->volume))
		return error_set(err, -EINVAL, "'%.63s' cannot be the name of a volume",
				 from->volume);
	if (!volume_target_is_path(from->target))
		return volume_target_check(from->volume, from->target, false, err);
	*to = (struct volume_mount){.read_only = from->read_only};
	snprintf(to->name, sizeof(to->name), "%s", from->volume);
	snprintf(to->target, sizeof(to->target), "%s", from->target);
	return 0;
}

int volume_mounts_read(Protect__Control__VolumeMount *const *from, size_t n,
		       struct volume_mounts *to, struct error *err)
{
	to->n = 0;
	if (n > VOLUME_MOUNTS_MAX)
		return error_set(err, -EINVAL, "a workload or zone has at most %u volumes",
				 VOLUME_MOUNTS_MAX);
	for (size_t i = 0; i < n; i++) {
		if (volume_mount_read(from[i], &to->items[i], err) < 0)
			return err->code;
		for (size_t k = 0; k < i; k++)
			if (strcmp(to->items[k].target, to->items[i].target) == 0)
				return error_set(err, -EINVAL, "two volumes cannot both be at '%s'",
						 to->items[i].target);
		to->n++;
	}
	return 0;
}

void volume_mounts_add(struct volume_mounts *mounts, const struct volume_mount *mount)
{
	assert(mounts->n < VOLUME_MOUNTS_MAX);
	mounts->items[mounts->n++] = *mount;
}

void volume_mounts_remove(struct volume_mounts *mounts, const char *target)
{
	for (unsigned i = 0; i < mounts->n; i++)
		if (strcmp(mounts->items[i].target, target) == 0) {
			mounts->n--;
			memmove(&mounts->items[i], &mounts->items[i + 1],
				(mounts->n - i) * sizeof(mounts->items[0]));
			return;
		}
}
