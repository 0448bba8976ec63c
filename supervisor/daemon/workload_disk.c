// SPDX-License-Identifier: Apache-2.0
/*
 * The disk of a workload's image. It is named by the image's digest, so the workloads of one image
 * in one zone share it, and the memory that the zone's kernel caches it in.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

void workload_name_disk(struct workload *w)
{
	const char *colon = strchr(w->row.image_digest, ':');
	char *serial = w->image_disk.serial;
	size_t n = 2;

	serial[0] = 'i';
	serial[1] = '-';
	for (const char *c = colon ? colon + 1 : w->row.image_digest;
	     isxdigit((unsigned char)*c) && n + 1 < ZONE_DISK_SERIAL_SIZE; c++)
		serial[n++] = *c;
	serial[n] = '\0';
}

/* Whether another workload of the zone has the same disk, or is about to. */
static bool is_shared(const void *user)
{
	const struct workload *w = user;

	for (const struct workload *o = w->daemon->workloads; o; o = o->next)
		if (o != w && o->zone == w->zone &&
		    strcmp(o->row.image_digest, w->row.image_digest) == 0 &&
		    o->phase != WORKLOAD_PHASE_DETACH &&
		    (o->disk_attached || o->phase == WORKLOAD_PHASE_ATTACH))
			return true;
	return false;
}

static void attached(void *user, int error, const char *text)
{
	struct workload *w = user;

	w->disk_attached = error == 0;
	w->disk_fn(w, error, text);
}

int workload_attach_disk(struct workload *w, workload_disk_fn *fn)
{
	int r;

	workload_name_disk(w);
	w->image_disk.is_shared = is_shared;
	w->disk_fn = fn;
	r = zone_disk_attach(&w->image_disk, w->disk, attached, w);
	if (r == 0)
		w->phase = WORKLOAD_PHASE_ATTACH;
	return r;
}

static void detached(void *user, int error, const char *text)
{
	struct workload *w = user;

	(void)error, (void)text;
	w->disk_attached = false;
	workload_disk_detached(w);
}

void workload_detach_disk(struct workload *w)
{
	w->phase = WORKLOAD_PHASE_DETACH;
	/* Nothing uses it any more, as far as the agent is honest. */
	workload_name_disk(w);
	if (w->disk_attached && !is_shared(w) &&
	    zone_disk_detach(&w->image_disk, true, detached, w) == 0)
		return;
	detached(w, 0, "");
}
