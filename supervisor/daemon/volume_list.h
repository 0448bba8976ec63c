// SPDX-License-Identifier: Apache-2.0
/*
 * The volumes that a workload, or a zone itself, has: those of its row, and what goes with each. A
 * row changes with its list only.
 */
#pragma once

#include "supervisor/daemon/volume_disk.h"

struct volume_list {
	struct zone *zone;
	const char *owner;	    /* the UUID in the row */
	struct volume_mounts *rows; /* in the row */
	struct volume_disk *disks[VOLUME_MOUNTS_MAX];
	Protect__Control__VolumeMount *messages[VOLUME_MOUNTS_MAX]; /* theirs */
	unsigned n;
};

/* Prepares those of a row: owner and rows are parts of it, and stay where they are. Returns 0 or
 * -ENOMEM; then there is none. */
int volume_list_init(struct volume_list *list, struct zone *zone, const char *owner,
		     struct volume_mounts *rows);

/* Frees them; the row keeps them. */
void volume_list_free(struct volume_list *list);

/* One more, which fits, and is in the row after it. NULL without memory. And the end of it. */
struct volume_disk *volume_list_add(struct volume_list *list, const struct volume_mount *mount);
void volume_list_remove(struct volume_list *list, struct volume_disk *volume);

/* By the volume's name; NULL: it is not among them. */
struct volume_disk *volume_list_find(const struct volume_list *list, const char *name);

/* volume_disk_drop() of all. */
void volume_list_drop(struct volume_list *list);
