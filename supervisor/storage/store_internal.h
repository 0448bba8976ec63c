// SPDX-License-Identifier: Apache-2.0
/* What the files of the store share among themselves: store.c (files), store_db.c (names),
 * store_sweep.c (start and removal). */
#pragma once

#include <pthread.h>

#include <sqlite3.h>

#include "supervisor/storage/store.h"

#define STORE_CLAIMS_MAX 64

struct store {
	char *path;
	int dir_fd;
	int lock_fd;
	uint64_t max_bytes, max_total_bytes;
	sqlite3 *db; /* in serialized mode; db_lock makes several statements one step */
	pthread_mutex_t db_lock;
	pthread_mutex_t claim_lock;
	pthread_cond_t claim_ended;
	unsigned n_claims;
	struct digest claims[STORE_CLAIMS_MAX];
};

/* Opens store.db and makes its tables. One that is damaged, or of a newer version, is left alone. 0
 * or a negative errno with *err set. */
int store_db_open(struct store *store, struct error *err);

/* What SQLite's last call on the database met, as an error: -ENOSPC, -ENOMEM or -EIO with *err set.
 */
int store_db_failed(struct store *store, struct error *err);

/* Whether the database still needs a file: blobs/sha256/HEX, images/HEX.squashfs, kernels/HEX. 1,
 * 0, or a negative errno. */
int store_db_needs_blob(struct store *store, const char *hex);
int store_db_needs_image(struct store *store, const char *hex, bool kernel);

/* Whether there is no image, kernel or volume, whatever the database says. */
bool store_is_empty(const struct store *store);

/* Takes the store's lock; alone: empties tmp/ and removes files that the database does not know. 0
 * or a negative errno. */
int store_sweep_start(struct store *store, struct error *err);

/* Removes the files of an image that the database no longer knows. */
void store_sweep_image(struct store *store, const struct store_image *image);
