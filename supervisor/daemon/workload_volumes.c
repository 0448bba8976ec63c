// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/workload_volumes.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/volume_target.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

#define DETACH_TIMEOUT_MS 10000u
#define SERIAL_END	  19u /* after "vN-" and 16 digits */

static_assert(VOLUME_TARGET_SIZE > VOLUME_TARGET_MAX, "a target fits into a row");

static unsigned index_of(const struct workload_volume *volume)
{
	return (unsigned)(volume - volume->workload->volumes);
}

static struct volume_mount *mount_of(const struct workload_volume *volume)
{
	return &volume->workload->row.volumes.items[index_of(volume)];
}

static void make_serial(const struct workload_volume *volume, char serial[VOLUME_SERIAL_SIZE])
{
	size_t n = (size_t)snprintf(serial, VOLUME_SERIAL_SIZE, "v%u-",
				    index_of(volume) % VOLUME_MOUNTS_MAX);

	for (const char *c = volume->workload->row.uuid; *c && n < SERIAL_END; c++)
		if (*c != '-')
			serial[n++] = *c;
	serial[n] = '\0';
}

void workload_volumes_init(struct workload *w)
{
	for (unsigned i = 0; i < VOLUME_MOUNTS_MAX; i++) {
		struct workload_volume *volume = &w->volumes[i];
		struct volume_mount *mount = &w->row.volumes.items[i];

		*volume = (struct workload_volume){.workload = w, .fd = -1};
		protect__control__volume_mount__init(&volume->message);
		volume->message.volume = mount->name;
		volume->message.target = mount->target;
		volume->message.read_only = mount->read_only;
		w->volume_messages[i] = &volume->message;
	}
	w->volumes_held = w->row.volumes.n > 0;
}

void workload_volumes_adopt(struct workload *w)
{
	for (unsigned i = 0; i < w->row.volumes.n; i++)
		w->volumes[i].attached = true;
}

const struct volume_mount *workload_volumes_find(const struct workload *w, const char *volume)
{
	for (unsigned i = 0; w->volumes_held && i < w->row.volumes.n; i++)
		if (strcmp(w->row.volumes.items[i].name, volume) == 0)
			return &w->row.volumes.items[i];
	return NULL;
}

int workload_volumes_check_free(const struct daemon *d, const char *volume, bool read_only,
				struct error *err)
{
	for (const struct workload *w = d->workloads; w; w = w->next) {
		const struct volume_mount *mount = workload_volumes_find(w, volume);

		if (mount && !(mount->read_only && read_only))
			return error_set(err, -EBUSY,
					 "volume '%s' is in use by workload '%s' in zone '%s'%s",
					 volume, w->row.name, w->zone->row.name,
					 read_only ? ", which may write to it" : "");
	}
	return 0;
}

int workload_volumes_check(const struct workload *w, struct error *err)
{
	const struct volume_mounts *mounts = &w->row.volumes;
	int r = 0;

	for (unsigned i = 0; i < mounts->n; i++)
		if (w->volumes[i].detaching)
			return error_set(err, -EAGAIN,
					 "volume '%s' is just being detached; try again",
					 mounts->items[i].name);
	for (unsigned i = 0; !w->volumes_held && r == 0 && i < mounts->n; i++)
		r = workload_volumes_check_free(w->daemon, mounts->items[i].name,
						mounts->items[i].read_only, err);
	return r;
}

static int read_one(const struct daemon *d, const Protect__Control__VolumeMount *from,
		    struct volume_mount *to, struct error *err)
{
	if (!daemon_name_is_good(from->volume))
		return error_set(err, -EINVAL, "'%.63s' cannot be the name of a volume",
				 from->volume);
	if (!volume_target_is_path(from->target))
		return volume_target_check(from->volume, from->target, false, err);
	*to = (struct volume_mount){.read_only = from->read_only};
	snprintf(to->name, sizeof(to->name), "%s", from->volume);
	snprintf(to->target, sizeof(to->target), "%s", from->target);
	return workload_volumes_check_free(d, to->name, to->read_only, err);
}

int workload_volumes_read(const struct daemon *d, const Protect__Control__WorkloadLaunch *request,
			  struct volume_mounts *out, struct error *err)
{
	out->n = 0;
	if (request->n_volumes > VOLUME_MOUNTS_MAX)
		return error_set(err, -EINVAL, "a workload has at most %u volumes",
				 VOLUME_MOUNTS_MAX);
	for (size_t i = 0; i < request->n_volumes; i++) {
		int r = read_one(d, request->volumes[i], &out->items[i], err);

		if (r < 0)
			return r;
		for (size_t k = 0; k < i; k++)
			if (strcmp(out->items[k].target, out->items[i].target) == 0)
				return error_set(err, -EINVAL, "two volumes cannot both be at '%s'",
						 out->items[i].target);
		out->n++;
	}
	return 0;
}

static void opened(void *user, const Protect__Storage__Reply *reply, const int *fds, unsigned n_fds)
{
	struct workload_volume *volume = user;
	struct workload *w = volume->workload;
	struct volume_mount *mount = mount_of(volume);
	struct error err = ERROR_NULL;
	int r;

	if (reply->progress)
		return;
	w->storage = NULL;
	if (reply->error) {
		w->volumes_fn(w, -(int)reply->error, reply->text);
		return;
	}
	if (n_fds == 1 && reply->volume)
		volume->fd = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
	if (volume->fd < 0 || !reply->volume) {
		w->volumes_fn(w, -EPROTO, "protect-storage sent no file for a volume");
		return;
	}
	volume->raw = reply->volume->format == PROTECT__STORAGE__VOLUME_FORMAT__VOLUME_RAW;
	r = volume_target_check(mount->name, mount->target, volume->raw, &err);
	if (r < 0)
		w->volumes_fn(w, r, err.text);
	else
		workload_volumes_open(w, w->volumes_fn);
}

static void open_one(struct workload_volume *volume)
{
	Protect__Storage__Request request = PROTECT__STORAGE__REQUEST__INIT;
	Protect__Storage__VolumeOpen what = PROTECT__STORAGE__VOLUME_OPEN__INIT;
	struct workload *w = volume->workload;

	what.name = mount_of(volume)->name;
	what.read_only = mount_of(volume)->read_only;
	request.what_case = PROTECT__STORAGE__REQUEST__WHAT_VOLUME_OPEN;
	request.volume_open = &what;
	w->storage = storage_call(&w->daemon->hub, w->daemon->options.storage_socket, &request, -1,
				  opened, volume);
	if (!w->storage)
		w->volumes_fn(w, -ENOMEM, "protect-daemon is out of memory");
}

void workload_volumes_open(struct workload *w, workload_volumes_fn *fn)
{
	w->volumes_fn = fn;
	w->volumes_held = w->row.volumes.n > 0;
	for (unsigned i = 0; i < w->row.volumes.n; i++)
		if (w->volumes[i].fd < 0 && !w->volumes[i].attached) {
			open_one(&w->volumes[i]);
			return;
		}
	fn(w, 0, "");
}

static void say_not_attached(struct workload_volume *volume, int error, const char *text)
{
	struct workload *w = volume->workload;
	struct error err = ERROR_NULL;

	volume->attached = false;
	error_set(&err, error, "volume '%s' cannot be attached to zone '%s': %s",
		  mount_of(volume)->name, w->zone->row.name, text);
	w->volumes_fn(w, error, err.text);
}

static void attached(void *user, int error, const char *text, const Protect__Runner__Reply *reply)
{
	struct workload_volume *volume = user;

	(void)reply;
	close_fdp(&volume->fd);
	if (error)
		say_not_attached(volume, error, text);
	else
		workload_volumes_attach(volume->workload, volume->workload->volumes_fn);
}

static void attach_one(struct workload_volume *volume)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskAttach attach = PROTECT__RUNNER__DISK_ATTACH__INIT;
	struct workload *w = volume->workload;
	char serial[VOLUME_SERIAL_SIZE];
	int r;

	make_serial(volume, serial);
	attach.serial = serial;
	attach.read_only = mount_of(volume)->read_only;
	attach.direct = true;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_ATTACH;
	request.disk_attach = &attach;
	r = zone_request_disk(w->zone, &request, volume->fd, attached, volume);
	volume->attached = true; /* requests are done in order: a detach that follows finds it */
	if (r < 0)
		say_not_attached(volume, r, strerror(-r));
}

void workload_volumes_attach(struct workload *w, workload_volumes_fn *fn)
{
	w->volumes_fn = fn;
	w->phase = WORKLOAD_PHASE_VOLUMES;
	for (unsigned i = 0; i < w->row.volumes.n; i++)
		if (!w->volumes[i].attached) {
			attach_one(&w->volumes[i]);
			return;
		}
	fn(w, 0, "");
}

void workload_volumes_fill(const struct workload *w,
			   Protect__Agent__Volume messages[VOLUME_MOUNTS_MAX],
			   char serials[VOLUME_MOUNTS_MAX][VOLUME_SERIAL_SIZE])
{
	for (unsigned i = 0; i < w->row.volumes.n; i++) {
		struct volume_mount *mount = mount_of(&w->volumes[i]);

		make_serial(&w->volumes[i], serials[i]);
		protect__agent__volume__init(&messages[i]);
		messages[i].serial = serials[i];
		messages[i].name = mount->name;
		messages[i].target = mount->target;
		messages[i].read_only = mount->read_only;
		messages[i].raw = w->volumes[i].raw;
	}
}

static bool is_any_attached(const struct workload *w)
{
	for (unsigned i = 0; i < w->row.volumes.n; i++)
		if (w->volumes[i].attached)
			return true;
	return false;
}

static void detached(void *user, int error, const char *text, const Protect__Runner__Reply *reply)
{
	struct workload_volume *volume = user;
	struct workload *w = volume->workload;

	(void)reply;
	if (error && error != -ENOENT)
		log_warning("workload=%s volume=%s err=\"%s\" not detached", w->row.uuid,
			    mount_of(volume)->name, text);
	volume->attached = volume->detaching = false;
	if (is_any_attached(w))
		return;
	w->volumes_held = false;
	workload_volumes_detached(w);
}

static void detach_one(struct workload_volume *volume)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskDetach detach = PROTECT__RUNNER__DISK_DETACH__INIT;
	struct workload *w = volume->workload;
	char serial[VOLUME_SERIAL_SIZE];

	make_serial(volume, serial);
	detach.serial = serial;
	detach.timeout_ms = DETACH_TIMEOUT_MS;
	/* Its processes are gone, and the mount with them, as far as the zone is honest. */
	detach.force = true;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_DETACH;
	request.disk_detach = &detach;
	runner_forget(w->zone->disks, volume);
	volume->detaching = zone_request_disk(w->zone, &request, -1, detached, volume) == 0;
	volume->attached = volume->detaching;
}

bool workload_volumes_detach(struct workload *w)
{
	for (unsigned i = 0; i < w->row.volumes.n; i++) {
		close_fdp(&w->volumes[i].fd);
		if (w->volumes[i].attached && !w->volumes[i].detaching)
			detach_one(&w->volumes[i]);
	}
	w->volumes_held = is_any_attached(w);
	return !w->volumes_held;
}

void workload_volumes_drop(struct workload *w)
{
	for (unsigned i = 0; i < w->row.volumes.n; i++) {
		runner_forget(w->zone->disks, &w->volumes[i]);
		close_fdp(&w->volumes[i].fd);
		w->volumes[i].attached = w->volumes[i].detaching = false;
	}
	w->volumes_held = false;
}
