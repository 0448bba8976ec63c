// SPDX-License-Identifier: Apache-2.0
/*
 * A disk or a folder that a running zone gets, and lets go of. The runner does what it is asked in
 * order: a disk that is being detached is gone when the next attach is looked at. But a guest may
 * still hold on to one that it was asked for in vain, as while it was paused: it is asked once
 * more, and the new disk is attached when the old one is gone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "supervisor/daemon/hub.h"

#define ZONE_DISK_SERIAL_SIZE 21 /* as long as virtio-blk's, with a NUL */

struct zone;

/* Error 0, or a negative errno with text. */
typedef void zone_disk_fn(void *user, int error, const char *text);

/* Embedded in who has it; zone, serial and the two below it are set once. Does not move while
 * anything is asked. */
struct zone_disk {
	struct zone *zone;
	char serial[ZONE_DISK_SERIAL_SIZE];
	bool read_only;
	bool direct; /* past the host's page cache */
	bool folder; /* of the host: fd is the connection to its server, serial the tag */

	int fd; /* borrowed, while it is attached */
	/* Whether others in the zone have the same disk, or are about to; NULL = never. */
	bool (*is_shared)(const void *user);
	zone_disk_fn *fn;
	void *user;
	struct timer timer;   /* until the runner is asked again */
	uint64_t patience_ns; /* when it is not asked again any more */
};

/*
 * Attaches the file behind fd, which must stay open until fn has run. Of a disk that is shared one
 * that is there already is as good. Returns 0, and fn follows, or a negative errno.
 */
int zone_disk_attach(struct zone_disk *disk, int fd, zone_disk_fn *fn, void *user);

/*
 * Asks the zone to let go of it, for 10 s; with force it is then taken away, within 5 s more. fn
 * may be NULL; a disk that is not there is none of its errors, and those are in the log. Returns 0,
 * and fn follows, or a negative errno.
 */
int zone_disk_detach(struct zone_disk *disk, bool force, zone_disk_fn *fn, void *user);

/* No fn follows any more. What the runner was asked it does all the same. */
void zone_disk_forget(struct zone_disk *disk);
