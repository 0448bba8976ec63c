// SPDX-License-Identifier: Apache-2.0
/*
 * The disk of a workload's image. It is named by the image's digest, so the workloads of one image
 * in one zone share it, and the memory that the zone's kernel caches it in. The runner does what it
 * is asked in order: a disk that is being detached is gone when the next attach is looked at. But a
 * guest may still hold on to one that it was asked for in vain, as while it was paused: it is asked
 * once more, and the disk is attached when it is gone.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

#define DETACH_TIMEOUT_MS  10000u
#define ATTACH_AGAIN_NS	   (250 * NS_PER_MS)
#define ATTACH_PATIENCE_NS (30 * NS_PER_S)

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

static int request_detach(struct workload *w, runner_fn *fn, void *user)
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
	return zone_request_disk(w->zone, &request, -1, fn, user);
}

static int request_attach(struct workload *w);

/* The disk is the same image's, but the guest may let go of it at any moment. One that others use,
 * or are about to, is theirs by now. */
static void attach_again(void *user)
{
	struct workload *w = user;
	int r;

	if (!is_shared(w))
		request_detach(w, NULL, NULL);
	r = request_attach(w);
	if (r < 0)
		w->disk_fn(w, r, strerror(-r));
}

static void attached(void *user, int error, const char *text, const Protect__Runner__Reply *reply)
{
	struct workload *w = user;
	uint64_t now_ns = clock_now_ns();

	(void)reply;
	if (error == -EBUSY && now_ns < w->disk_patience_ns) {
		timer_set(&w->daemon->hub, &w->disk_timer, now_ns + ATTACH_AGAIN_NS, attach_again,
			  w);
		return;
	}
	/* Another workload's, or left by a detach that was never answered: it is the same image. */
	if (error == -EEXIST)
		error = 0;
	w->disk_attached = error == 0;
	w->disk_fn(w, error, text);
}

static int request_attach(struct workload *w)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__DiskAttach attach = PROTECT__RUNNER__DISK_ATTACH__INIT;
	char serial[WORKLOAD_SERIAL_SIZE];

	workload_serial(w, serial);
	attach.serial = serial;
	attach.read_only = true;
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_DISK_ATTACH;
	request.disk_attach = &attach;
	return zone_request_disk(w->zone, &request, w->disk, attached, w);
}

int workload_attach_disk(struct workload *w, workload_disk_fn *fn)
{
	int r;

	w->disk_fn = fn;
	w->disk_patience_ns = clock_now_ns() + ATTACH_PATIENCE_NS;
	r = request_attach(w);
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
	w->phase = WORKLOAD_PHASE_DETACH;
	w->disk_fn = fn;
	if (w->disk_attached && !is_shared(w) && request_detach(w, detached, w) == 0)
		return;
	w->disk_attached = false;
	fn(w, 0, "");
}
