// SPDX-License-Identifier: Apache-2.0
/*
 * The volumes of a workload: opened by protect-storage, whose descriptor is the lock; attached to
 * the zone as disks of their own; detached when the workload has ended, and then free for the next.
 * Nothing has to be given back when a zone ends: the lock goes with its hypervisor.
 *
 * Part of struct workload (workload.h), which the functions take.
 */
#pragma once

#include "proto/agent.pb-c.h"
#include "proto/control.pb-c.h"
#include "supervisor/daemon/daemon.h"

#define VOLUME_SERIAL_SIZE 21 /* "vN-" and 16 digits of the workload's UUID */

struct workload;

/* Volume i of a workload; its name and place are in the row. */
struct workload_volume {
	struct workload *workload;
	Protect__Control__VolumeMount message; /* for clients; borrows from the row */
	int fd; /* its file and lock, until the runner has them; -1 = none */
	bool raw;
	bool attached;	/* the runner may have it */
	bool detaching; /* the runner is asked to let go */
};

/* Prepares them for a new workload in the list. */
void workload_volumes_init(struct workload *w);

/* A daemon that comes later: the runner may have all that the row names. */
void workload_volumes_adopt(struct workload *w);

/* Whether a workload has a volume, or is about to; NULL if not. */
const struct volume_mount *workload_volumes_find(const struct workload *w, const char *volume);

/* Whether none of our workloads stands in the way of a new user. 0, or -EBUSY with *err. */
int workload_volumes_check_free(const struct daemon *d, const char *volume, bool read_only,
				struct error *err);

/* Whether one that has ended may have its volumes again. 0, -EBUSY or -EAGAIN with *err. */
int workload_volumes_check(const struct workload *w, struct error *err);

/* Checks what a launch asks for and copies it. 0 or a negative errno with *err. */
int workload_volumes_read(const struct daemon *d, const Protect__Control__WorkloadLaunch *request,
			  struct volume_mounts *out, struct error *err);

/* Error 0, or a negative errno with text; w is as it was before the call then. */
typedef void workload_volumes_fn(struct workload *w, int error, const char *text);

/* Asks storage for all of them. fn may run from in here. */
void workload_volumes_open(struct workload *w, workload_volumes_fn *fn);

/* Attaches to the zone what was opened. fn may run from in here. */
void workload_volumes_attach(struct workload *w, workload_volumes_fn *fn);

/* Fills the agent's messages, which borrow from w and serials. */
void workload_volumes_fill(const struct workload *w,
			   Protect__Agent__Volume messages[VOLUME_MOUNTS_MAX],
			   char serials[VOLUME_MOUNTS_MAX][VOLUME_SERIAL_SIZE]);

/* Drops the descriptors and asks the runner to let go of what is attached. True if nothing is left
 * to wait for; otherwise workload_volumes_detached() follows, unless the workload or zone goes
 * before. May be called again. */
bool workload_volumes_detach(struct workload *w);

/* Nothing can be asked any more: the zone has ended, or the workload is freed. */
void workload_volumes_drop(struct workload *w);

/* workload_end.c: what was detached last is free. */
void workload_volumes_detached(struct workload *w);
