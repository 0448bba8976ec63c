// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/zone_disk.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "supervisor/daemon/zone.h"

#define DETACH_TIMEOUT_MS  10000u
#define ATTACH_AGAIN_NS	   (250 * NS_PER_MS)
#define ATTACH_PATIENCE_NS (30 * NS_PER_S)

static bool is_shared(const struct zone_disk *disk)
{
	return disk->is_shared && disk->is_shared(disk->user);
}

static int request_share_detach(struct zone_disk *disk, bool force, runner_fn *fn)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__ShareDetach detach = PROTECT__RUNNER__SHARE_DETACH__INIT;

	detach.tag = disk->serial;
	detach.timeout_ms = DETACH_TIMEOUT_MS;
	detach.force = force;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_SHARE_DETACH;
	request.share_detach = &detach;
	return zone_request_disk(disk->zone, &request, -1, fn, disk);
}

static int request_detach(struct zone_disk *disk, bool force, runner_fn *fn)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskDetach detach = PROTECT__RUNNER__DISK_DETACH__INIT;

	if (disk->folder)
		return request_share_detach(disk, force, fn);
	detach.serial = disk->serial;
	detach.timeout_ms = DETACH_TIMEOUT_MS;
	detach.force = force;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_DETACH;
	request.disk_detach = &detach;
	return zone_request_disk(disk->zone, &request, -1, fn, disk);
}

static int request_attach(struct zone_disk *disk);

/* The guest may let go of the old one at any moment. One that others use, or are about to, is
 * theirs by now. */
static void attach_again(void *user)
{
	struct zone_disk *disk = user;
	int r;

	if (!is_shared(disk))
		request_detach(disk, true, NULL);
	r = request_attach(disk);
	if (r < 0)
		disk->fn(disk->user, r, strerror(-r));
}

static void attached(void *user, int error, const char *text, const Protect__Runner__Reply *reply)
{
	struct zone_disk *disk = user;
	uint64_t now_ns = clock_now_ns();

	(void)reply;
	/* Of the image's disk: another workload's, or left by a detach that was never answered. */
	if (error == -EEXIST && disk->is_shared)
		error = 0;
	if ((error == -EBUSY || error == -EEXIST) && now_ns < disk->patience_ns) {
		timer_set(&disk->zone->daemon->hub, &disk->timer, now_ns + ATTACH_AGAIN_NS,
			  attach_again, disk);
		return;
	}
	disk->fn(disk->user, error, text);
}

static int request_share_attach(struct zone_disk *disk)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__ShareAttach attach = PROTECT__RUNNER__SHARE_ATTACH__INIT;

	attach.tag = disk->serial;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_SHARE_ATTACH;
	request.share_attach = &attach;
	return zone_request_disk(disk->zone, &request, disk->fd, attached, disk);
}

static int request_attach(struct zone_disk *disk)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskAttach attach = PROTECT__RUNNER__DISK_ATTACH__INIT;

	if (disk->folder)
		return request_share_attach(disk);
	attach.serial = disk->serial;
	attach.read_only = disk->read_only;
	attach.direct = disk->direct;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_ATTACH;
	request.disk_attach = &attach;
	return zone_request_disk(disk->zone, &request, disk->fd, attached, disk);
}

int zone_disk_attach(struct zone_disk *disk, int fd, zone_disk_fn *fn, void *user)
{
	disk->fd = fd;
	disk->fn = fn;
	disk->user = user;
	disk->patience_ns = clock_now_ns() + ATTACH_PATIENCE_NS;
	return request_attach(disk);
}

static void detached(void *user, int error, const char *text, const Protect__Runner__Reply *reply)
{
	struct zone_disk *disk = user;

	(void)reply;
	if (error == -ENOENT)
		error = 0;
	if (error)
		log_warning("zone=%s disk=%s err=\"%s\" not detached", disk->zone->row.uuid,
			    disk->serial, text);
	if (disk->fn)
		disk->fn(disk->user, error, text);
}

int zone_disk_detach(struct zone_disk *disk, bool force, zone_disk_fn *fn, void *user)
{
	zone_disk_forget(disk);
	disk->fn = fn;
	disk->user = user;
	return request_detach(disk, force, detached);
}

void zone_disk_forget(struct zone_disk *disk)
{
	timer_stop(&disk->timer);
	runner_forget(disk->zone->disks, disk);
}
