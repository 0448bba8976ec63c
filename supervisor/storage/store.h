// SPDX-License-Identifier: Apache-2.0
/*
 * The store: one folder of the service, made of files that are named by digest and a database of
 * the names that people use.
 *
 *   blobs/sha256/HEX       manifests and configurations (layers only exist while they are packed,
 * as files without names) images/HEX.squashfs    a workload image, by the digest of its manifest
 *   kernels/HEX/           a zone kernel: image, addons.squashfs, metadata, config.gz, initrd-BASE
 *   volumes/UUID           disks of zones (volume.h)
 *   store.db               SQLite: images, names, volumes
 *   tmp/                   files under construction, emptied at start
 *   lock                   flock: shared by every process that works on the store
 *
 * A file is complete, synced and renamed before the database knows it, so what the database names
 * always exists; what it does not name is removed when a process finds itself alone at start. All
 * functions may be called by any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "supervisor/storage/digest.h"
#include "supervisor/storage/reference.h"

#define STORE_PATH_MAX 4096

struct store;

struct store_image {
	struct digest manifest, config;
	bool kernel;
	uint64_t size_bytes;
	uint64_t created_unix_ms;
	char name[REFERENCE_MAX]; /* as looked up or listed; empty if it has none */
};

/*
 * Opens the store at path and makes it if it is new. max_bytes bounds an image when unpacked.
 * Returns 0 or a negative errno with *err set; store_close() ends it.
 */
int store_open(struct store **out, const char *path, uint64_t max_bytes, struct error *err);
void store_close(struct store *store); /* NULL is allowed */

/* The store's folder as given to store_open(). Borrowed. */
const char *store_path(const struct store *store);

/* How many bytes an image may have when unpacked. */
uint64_t store_max_bytes(const struct store *store);

/* Bounds all images together; 0 = no limit, as at first. Before there are threads. */
void store_set_limit(struct store *store, uint64_t max_total_bytes);

/* Whether an image whose files were just published, and which nobody knows yet, fits under that
 * limit. 0, or -EDQUOT with *err set, and its files are gone then. Under the claim of its digest.
 */
int store_admit(struct store *store, const struct store_image *image, struct error *err);

/* A file without a name for data under construction: gone when it is closed. Returns the descriptor
 * or a negative errno. */
int store_scratch(struct store *store, struct error *err);

/* A fresh path in tmp/ for something that gets its name by store_publish(). out holds
 * STORE_PATH_MAX bytes. 0 or a negative errno. */
int store_tmp_path(struct store *store, char *out, struct error *err);

/* Syncs the file or folder at tmp_path with what it holds, and renames it to `name` below the
 * store. 0 or a negative errno. */
int store_publish(struct store *store, const char *tmp_path, const char *name, struct error *err);

/* Opens a file below the store for reading. Returns the descriptor or a negative errno with *err
 * set. */
int store_open_file(struct store *store, const char *name, struct error *err);

/* Keeps a small blob by its digest, which the caller has checked. Returns 0 or a negative errno
 * with *err set. */
int store_put_blob(struct store *store, const struct digest *digest, const void *data, size_t len,
		   struct error *err);

/* Reads a blob of at most OCI_JSON_MAX bytes; the caller frees *data. Returns 0 or a negative errno
 * with *err set. */
int store_get_blob(struct store *store, const struct digest *digest, char **data, size_t *len,
		   struct error *err);

/*
 * Waits until no other thread works on this digest, then claims it: equal pulls do the work once.
 * Every claim is released. Processes do not exclude each other; both then publish the same bytes.
 */
void store_claim(struct store *store, const struct digest *digest);
void store_release(struct store *store, const struct digest *digest);

/* Attaches the store's path and the way out to a failure of the file system. Returns code. */
int store_failed(struct store *store, int code, const char *doing, struct error *err);

/* Writes the names, below the store, of an image's file (workloads) or folder (kernels). out holds
 * STORE_PATH_MAX bytes. */
void store_image_file(const struct digest *manifest, bool kernel, char *out);

/* Records an image (if new) and, unless name is empty, that name for it. Returns 0 or a negative
 * errno with *err set. */
int store_add(struct store *store, const struct store_image *image, struct error *err);

/* Whether an image is there; fills *image (without a name). Returns 1, 0, or a negative errno with
 * *err set. */
int store_has(struct store *store, const struct digest *manifest, struct store_image *image,
	      struct error *err);

/*
 * Finds an image by NAME[:TAG], full or Docker's short form, by sha256:HEX, or by at least 12
 * leading digits of it. Returns 0, -ENOENT, -EINVAL (several digests start so) or another negative
 * errno with *err set.
 */
int store_find(struct store *store, const char *ref, struct store_image *image, struct error *err);

/* Calls fn for every name of every image, and once for one without names, until fn returns
 * non-zero. 0 or a negative errno. */
int store_list(struct store *store, int (*fn)(void *context, const struct store_image *image),
	       void *context, struct error *err);

/*
 * Removes a name, and the image with it if that was the last; by digest: the image and all its
 * names. Descriptors handed out stay good. An image whose digest is among the n in_use (texts) is
 * not removed, only a name that is not its last: -EBUSY. Returns 0 or a negative errno with *err
 * set.
 */
int store_remove(struct store *store, const char *ref, char *const *in_use, size_t n,
		 struct error *err);
