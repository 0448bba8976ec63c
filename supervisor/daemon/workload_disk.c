// SPDX-License-Identifier: Apache-2.0
/*
 * The disk of a workload's image. It is named by the image's digest, so the workloads of one image
 * in one zone share it, and the memory that the zone's kernel caches it in. The runner does what it
 * is asked in order: a disk that is being detached is gone when the next attach is looked at.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

#define DETACH_TIMEOUT_MS 10000u

void workload_serial(const struct workload *w, char serial[static WORKLOAD_SERIAL_SIZE])
{
	const char *colon = strchr(w->row.image_digest, ':');
	size_t n = 2;

	serial[0] = 'i';
	serial[1] = '-';
	for (const char *c = colon ? colon + 1 : w->row.image_digest;
	     isxdigit((unsigned char)*c) && n + 1 < WORKLOAD_SERIAL_SIZE; c++)
		serial[n++] = *c;
	serial[n] = '\0';
}

/* Whether another workload of the zone has the same disk, or is about to. */
static bool is_shared(const struct workload *w)
{
	for (const struct workload *o = w->daemon->workloads; o; o = o->next)
		if (o != w && o->zone == w->zone &&
		    strcmp(o->row.image_digest, w->row.image_digest) == 0 &&
		    o->phase != WORKLOAD_PHASE_DETACH &&
		    (o->disk_attached || o->phase == WORKLOAD_PHASE_ATTACH))
			return true;
	return false;
}

static void attached(void *user, int error, const char *text, const Protect__Runner__Reply *reply)
{
	struct workload *w = user;

	(void)reply;
	/* Another workload's, or left by a detach that was never answered: it is the same image. */
	if (error == -EEXIST)
		error = 0;
	w->disk_attached = error == 0;
	w->disk_fn(w, error, text);
}

int workload_attach_disk(struct workload *w, workload_disk_fn *fn)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskAttach attach = PROTECT__RUNNER__DISK_ATTACH__INIT;
	char serial[WORKLOAD_SERIAL_SIZE];
	int r;

	workload_serial(w, serial);
	attach.serial = serial;
	attach.read_only = true;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_ATTACH;
	request.disk_attach = &attach;
	w->disk_fn = fn;
	r = zone_request_disk(w->zone, &request, w->disk, attached, w);
	if (r == 0)
		w->phase = WORKLOAD_PHASE_ATTACH;
	return r;
}

static void detached(void *user, int error, const char *text, const Protect__Runner__Reply *reply)
{
	struct workload *w = user;

	(void)reply;
	if (error)
		log_warning("workload=%s err=\"%s\" disk not detached", w->row.uuid, text);
	w->disk_attached = false;
	w->disk_fn(w, error, text);
}

void workload_detach_disk(struct workload *w, workload_disk_fn *fn)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskDetach detach = PROTECT__RUNNER__DISK_DETACH__INIT;
	char serial[WORKLOAD_SERIAL_SIZE];

	workload_serial(w, serial);
	detach.serial = serial;
	detach.timeout_ms = DETACH_TIMEOUT_MS;
	/* Nothing uses it any more, as far as the agent is honest: what it does not let go is
	 * taken. */
	detach.force = true;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_DETACH;
	request.disk_detach = &detach;
	w->phase = WORKLOAD_PHASE_DETACH;
	w->disk_fn = fn;
	if (w->disk_attached && !is_shared(w) &&
	    zone_request_disk(w->zone, &request, -1, detached, w) == 0)
		return;
	w->disk_attached = false;
	fn(w, 0, "");
}
