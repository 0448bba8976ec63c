// SPDX-License-Identifier: Apache-2.0
/*
 * A workload's volumes: disks found by serial, mounted as ext4 or given as block devices at paths
 * of the workload; and folders of the host, mounted as virtiofs by tag.
 *
 * What is in a file system comes from whoever wrote it last. The workload's own first process
 * mounts it, as it does its image, without devices (a node could name another workload's disk) and
 * without set-user-id (data carries no rights). A disk that has grown gets its file system grown to
 * it: here, by the kernel of the zone that mounts it, so that the host never reads a file system
 * that a zone wrote.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/volume_target.h"
#include "proto/agent.pb-c.h"
#include "zone-guest/disk.h"
#include "zone-guest/userns.h"

#define VOLUMES_MAX	8u
#define VOLUME_NAME_MAX 63u

struct volume {
	char name[VOLUME_NAME_MAX + 1]; /* for people */
	char serial[DISK_SERIAL_MAX + 1];
	char target[VOLUME_TARGET_MAX + 1];
	char disk[64];			    /* path of its block device, once found */
	char source[VOLUME_TARGET_MAX + 1]; /* of a shared one: where the zone has it, once found */
	bool read_only, raw, shared, folder;
};

struct volumes {
	struct volume items[VOLUMES_MAX]; /* by target: what lies in another comes after it */
	unsigned n;
};

/* Copies and checks what a request says of one, or of all. Return 0 or -EINVAL with *err set. */
int volume_read(const Protect__Agent__Volume *message, struct volume *out, struct error *err);
int volumes_read(Protect__Agent__Volume *const *messages, size_t n, struct volumes *out,
		 struct error *err);

/* The one at a place; NULL if there is none. */
struct volume *volumes_at(struct volumes *volumes, const char *target);

/* Adds one that fits, in its order, and takes one out. */
void volumes_add(struct volumes *volumes, const struct volume *volume);
void volumes_remove(struct volumes *volumes, const char *target);

/* Finds the disks by find_disk (as disk_find()), and those that are shared among zones, the zone's
 * own. Returns 0, or what find_disk returned with *missing set to the serial. */
int volumes_find(struct volumes *volumes, const struct volumes *zones,
		 int (*find_disk)(const char *, char *, size_t), const char **missing);

/*
 * The child's part. First, where the zone's /dev is still there: fds gets a mount or a device for
 * each (-1: none yet); the caller closes them. Then, in the new root with its /dev, they are put in
 * their places. Both return 0 or a negative errno with *err set. With users of its own a workload
 * sees the owners that are on the disk (mount_setattr(2), MOUNT_ATTR_IDMAP).
 */
int volumes_mount(const struct volumes *volumes, const struct userns *userns,
		  int fds[static VOLUMES_MAX], struct error *err);
int volumes_attach(const struct volumes *volumes, const struct userns *userns,
		   const int fds[static VOLUMES_MAX], struct error *err);
