// SPDX-License-Identifier: Apache-2.0
/*
 * Volumes: disks with names that outlive zones, each a sparse file volumes/UUID of the store. What
 * is in one was written by zones, so nothing here ever reads it: mkfs.ext4 runs on a file that is
 * all zeros, and a file system grows in the zone that mounts it, by that zone's kernel.
 *
 * A lock is the open file itself: volume_open() hands out a descriptor with an
 * open-file-description lock (F_OFD_SETLK; one writer or many readers), which whoever holds the
 * last copy of it holds. It travels with the descriptor to the hypervisor, outlives this service
 * and the daemon, and the kernel ends it with the zone, however that ends.
 *
 * Rows say what is about to happen before a file is made or goes, so a crash leaves nothing half
 * made: volumes_start() ends what was begun. A file that no row knows is somebody's data, and left
 * alone. Any thread.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/util.h"
#include "base/uuid.h"
#include "supervisor/storage/store.h"

#define VOLUMES_MAX	512u /* a list of them fits into one packet */
#define VOLUME_NAME_MAX 63u
#define VOLUME_SIZE_MIN (16 * MIB) /* less has no room for a journal */
#define VOLUME_SIZE_MAX (UINT64_C(1) << 44)

enum volume_format { VOLUME_EXT4, VOLUME_RAW };
enum volume_use { VOLUME_FREE, VOLUME_READERS, VOLUME_WRITER };

struct volume {
	char name[VOLUME_NAME_MAX + 1];
	char file[UUID_TEXT_SIZE]; /* its name in volumes/ */
	enum volume_format format;
	enum volume_use use;
	uint64_t created_unix_ms;
	uint64_t size_bytes, allocated_bytes; /* as a disk, and of the store's disk */
};

/* Makes the table if it is new and, alone with the store, removes what a crash left half made. 0 or
 * a negative errno with *err set. */
int volumes_start(struct store *store, struct error *err);

/*
 * Makes a volume of at least size_bytes (rounded up to whole MiB) by the program mkfs, if it is
 * ext4. Returns 0 and *out, -EEXIST, -EINVAL (name or size), -ENOSPC, or another negative errno
 * with *err set; then nothing is left of it.
 */
int volume_create(struct store *store, const char *mkfs, const char *name, uint64_t size_bytes,
		  enum volume_format format, struct volume *out, struct error *err);

/*
 * Makes an ext4 of at least size_bytes without a name, by the program mkfs: it goes with the last
 * copy of the descriptor that is returned, so nothing of it is ever left. *out, or a negative errno
 * with *err set.
 */
int volume_make_scratch(struct store *store, const char *mkfs, uint64_t size_bytes,
			struct volume *out, struct error *err);

/* Calls fn for each volume by name until fn returns non-zero. 0, what fn returned if negative, or a
 * negative errno with *err set. */
int volume_list(struct store *store, int (*fn)(void *context, const struct volume *volume),
		void *context, struct error *err);

/* Makes it larger; nobody may use it. 0 and *out, -EINVAL (smaller, or no size), -EBUSY, -ENOENT or
 * another negative errno with *err set. */
int volume_resize(struct store *store, const char *name, uint64_t size_bytes, struct volume *out,
		  struct error *err);

/* Removes it and its data; nobody may use it. 0, -EBUSY, -ENOENT or another negative errno with
 * *err set. */
int volume_remove(struct store *store, const char *name, struct error *err);

/* Opens and locks it. Returns the descriptor, whose last copy is the lock, and *out; or -EBUSY,
 * -ENOENT or another negative errno with *err set. */
int volume_open(struct store *store, const char *name, bool read_only, struct volume *out,
		struct error *err);
