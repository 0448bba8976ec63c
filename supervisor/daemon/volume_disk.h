// SPDX-License-Identifier: Apache-2.0
/*
 * A volume that one workload, or a zone itself, has: opened by protect-storage, whose descriptor is
 * the lock; attached to the zone as a disk; detached, and then free for the next. Nothing has to be
 * given back when a zone ends: the lock goes with its hypervisor.
 *
 * A folder of the host, which only a workload has, comes the same way, but from protect-launch:
 * what is attached is the connection to a server of its own, and ends with it. Nothing locks it.
 *
 * What a zone has itself its workloads share: theirs has no file and no disk of its own.
 */
#pragma once

#include "proto/agent.pb-c.h"
#include "proto/control.pb-c.h"
#include "supervisor/daemon/launch_client.h"
#include "supervisor/daemon/state.h"
#include "supervisor/daemon/storage_client.h"
#include "supervisor/daemon/zone_disk.h"

struct volume_disk {
	struct zone *zone;
	struct volume_mount mount;
	Protect__Control__VolumeMount message; /* for clients; borrows from mount */
	struct zone_disk disk;
	int fd;			/* its file and lock, until the runner has them; -1 = none */
	bool raw;		/* a device */
	uint64_t scratch_bytes; /* no volume, but a new disk of this size; 0 = a volume */
	bool shared;		/* it is the zone's */
	bool attached;		/* the runner may have it */
	bool detaching;		/* the runner is asked to let go */
	struct storage_call *storage;
	struct launch_call *launch; /* of a folder */
	zone_disk_fn *fn;	    /* while something is asked */
	void *user;
};

/* owner: the UUID of the workload, or of the zone. NULL without memory. */
struct volume_disk *volume_disk_new(struct zone *zone, const char *owner,
				    const struct volume_mount *mount);

/* Forgets all that is asked, closes the file. NULL is allowed; returns NULL. */
struct volume_disk *volume_disk_free(struct volume_disk *volume);

/* Asks storage for it, unless it is there already, or shared. fn may run from in here. */
void volume_disk_open(struct volume_disk *volume, zone_disk_fn *fn, void *user);

/* Attaches what was opened. fn may run from in here. */
void volume_disk_attach(struct volume_disk *volume, zone_disk_fn *fn, void *user);

/* Closes its file; lets go of the disk, as zone_disk_detach(). Returns whether fn follows; if not,
 * nothing of it is attached. */
bool volume_disk_detach(struct volume_disk *volume, bool force, zone_disk_fn *fn, void *user);

/* No fn follows of an open or attach under way. What the runner was asked to attach it does. */
void volume_disk_forget(struct volume_disk *volume);

/* Nothing can be asked any more: the zone has ended. */
void volume_disk_drop(struct volume_disk *volume);

/* Fills the agent's message, which borrows from it. */
void volume_disk_fill(struct volume_disk *volume, Protect__Agent__Volume *message);

/* Whether the name of a volume is the path of a folder of the host. */
bool volume_is_folder(const char *name);

/* Checks what a client asks for, and copies it. 0 or a negative errno with *err. */
int volume_mount_read(const Protect__Control__VolumeMount *from, struct volume_mount *to,
		      struct error *err);

/* The same for a list, in which no two may be at one place. */
int volume_mounts_read(Protect__Control__VolumeMount *const *from, size_t n,
		       struct volume_mounts *to, struct error *err);

/* Adds one that fits, and takes out the one at a place. */
void volume_mounts_add(struct volume_mounts *mounts, const struct volume_mount *mount);
void volume_mounts_remove(struct volume_mounts *mounts, const char *target);
