// SPDX-License-Identifier: Apache-2.0
/*
 * The volumes of a workload, from its launch to its end: opened and attached one after the other,
 * and detached when it has ended. Those that its zone has itself it shares with the zone.
 *
 * Part of struct workload (workload.h), which the functions take.
 */
#pragma once

#include "supervisor/daemon/daemon.h"
#include "supervisor/daemon/volume_list.h"

struct workload;

/* Error 0, or a negative errno with text; w is as it was before the call then. */
typedef void workload_volumes_fn(struct workload *w, int error, const char *text);

struct workload_volumes {
	struct volume_list list;
	workload_volumes_fn *fn; /* while they are opened or attached */
	bool held;		 /* nobody else may write to them */
	struct volume_disk
		*scratch; /* the disk for what it writes, over all its runs; NULL = none */
};

/* Prepares those of the row, for a new workload in the list. Returns 0 or -ENOMEM. */
int workload_volumes_init(struct workload *w);
void workload_volumes_free(struct workload *w);

/* A daemon that comes later: the runner may have all that the row names. */
void workload_volumes_adopt(struct workload *w);

/* Whether a workload has a volume, or is about to; NULL if not. */
struct volume_disk *workload_volumes_find(const struct workload *w, const char *volume);

/* Whether one that has ended may have its volumes again. 0, -EBUSY or -EAGAIN with *err. */
int workload_volumes_check(const struct workload *w, struct error *err);

/* Fills the agent's messages, which borrow from w. Returns how many. */
struct workload_volume_messages {
	Protect__Agent__Volume volumes[VOLUME_MOUNTS_MAX], *pointers[VOLUME_MOUNTS_MAX];
};
size_t workload_volumes_fill(const struct workload *w, struct workload_volume_messages *out);

/* Asks storage for all of them. fn may run from in here. */
void workload_volumes_open(struct workload *w, workload_volumes_fn *fn);

/* Attaches to the zone what was opened. fn may run from in here. */
void workload_volumes_attach(struct workload *w, workload_volumes_fn *fn);

/* Drops the descriptors and asks the runner to let go of what is attached. True if nothing is left
 * to wait for; otherwise workload_volumes_detached() follows, unless the workload or zone goes
 * before. May be called again. */
bool workload_volumes_detach(struct workload *w);

/* What is opened or attached goes on without us. */
void workload_volumes_forget(struct workload *w);

/* Lets go of the scratch disk, with the workload. Returns whether fn follows. */
bool workload_volumes_drop_scratch(struct workload *w, zone_disk_fn *fn);

/* Nothing can be asked any more: the zone has ended. */
void workload_volumes_drop(struct workload *w);

/* workload_end.c: what was detached last is free. */
void workload_volumes_detached(struct workload *w);
