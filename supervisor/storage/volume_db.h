// SPDX-License-Identifier: Apache-2.0
/* The rows of volumes in the store's database. Any thread. */
#pragma once

#include "supervisor/storage/volume.h"

/* What is to become of a row's file. */
enum volume_state {
	VOLUME_READY,
	VOLUME_MAKING,	 /* there may be a file; it is nobody's yet */
	VOLUME_REMOVING, /* the same, and nobody's any more */
};

/* Makes the table if it is new. All here return 0 or a negative errno with *err set. */
int volume_db_open(struct store *store, struct error *err);

/* A new row in the state VOLUME_MAKING: -EEXIST if the name is taken, -ENOSPC at VOLUMES_MAX. */
int volume_db_add(struct store *store, const struct volume *volume, struct error *err);

/* A row by its name: -ENOENT if there is none, -EBUSY if it is not VOLUME_READY. */
int volume_db_find(struct store *store, const char *name, struct volume *out, struct error *err);

/* The rows in a state, by name; *out is freed by the caller. */
int volume_db_list(struct store *store, enum volume_state state, struct volume **out, unsigned *n,
		   struct error *err);

int volume_db_set(struct store *store, const char *file, enum volume_state state,
		  struct error *err);
int volume_db_delete(struct store *store, const char *file, struct error *err);
