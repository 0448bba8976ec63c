// SPDX-License-Identifier: Apache-2.0
/*
 * From a source of blobs to an image in the store: choose the manifest, fetch, verify, merge, pack
 * or extract, name. A source is a registry, a layout folder or a spooled archive; it delivers only
 * bytes that have the digest and the size asked for. One worker thread runs one installation; equal
 * ones wait for each other.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>

#include "base/error.h"
#include "supervisor/storage/job.h"
#include "supervisor/storage/oci.h"
#include "supervisor/storage/store.h"

struct image_source {
	/* How many threads may be in blob() at once; 0 = one. */
	unsigned parallel;
	/* Of x86-64, that the image is to have; see oci_select(). */
	unsigned level;
	/* Returns a descriptor (the caller's) of a file with exactly the bytes of `what`, or a
	 * negative errno with *err set. */
	int (*blob)(struct image_source *source, const struct oci_descriptor *what, struct job *job,
		    struct error *err);
	/* The same for a manifest or an index, of at most OCI_JSON_MAX bytes. */
	int (*manifest)(struct image_source *source, const struct oci_descriptor *what,
			struct job *job, struct error *err);
	/* Verifies the bytes of `what` without keeping them: 0 or a negative errno with *err set.
	 * NULL for a source that would have to be asked over a network. */
	int (*check)(struct image_source *source, const struct oci_descriptor *what,
		     struct job *job, struct error *err);
};

/* A manifest as its author wrote it. */
struct image_manifest {
	char *json; /* ours */
	size_t len;
	struct digest digest;
};

static inline void image_manifest_clear(struct image_manifest *manifest)
{
	free(manifest->json);
	manifest->json = NULL;
}

/*
 * Follows indexes, starting with what *manifest holds, to the manifest for linux/amd64, which
 * *manifest then holds. tag and only are for the outermost index, see oci_select(). Returns 0 or a
 * negative errno with *err set.
 */
int image_choose(struct image_source *source, struct image_manifest *manifest, const char *tag,
		 int only, struct job *job, struct error *err);

/*
 * Puts the image of a manifest into the store under `name` (empty = without a name); when it is
 * there already only the name is set, after the source's check() of every blob: a damaged copy is
 * refused whatever the store has. Fills *image. Returns 0 or a negative errno with *err set, and
 * then nothing is left behind.
 */
int image_install(struct store *store, struct image_source *source,
		  const struct image_manifest *manifest, const char *name, struct job *job,
		  struct store_image *image, struct error *err);

/* A file under construction whose bytes must turn out to be those of a descriptor. */
struct image_blob {
	struct oci_descriptor expected;
	int fd;
	uint64_t done_bytes;
	struct digest_stream *hash;
};

/* Starts a blob in a scratch file of the store. 0 or a negative errno with *err set; ended by
 * image_blob_end() or …_drop(). */
int image_blob_begin(struct image_blob *blob, struct store *store,
		     const struct oci_descriptor *expected, struct error *err);

/* Adds bytes. Returns 0, -EFBIG when there are more than announced, or another negative errno. */
int image_blob_add(struct image_blob *blob, const void *data, size_t len);

/* Forgets the bytes so far. 0 or a negative errno. */
int image_blob_restart(struct image_blob *blob);

/* Checks size and digest. Returns the descriptor or -EBADMSG with *err set; the blob is gone. from
 * names the source in errors. */
int image_blob_end(struct image_blob *blob, const char *from, struct error *err);

/* Gives a blob up; twice is fine. */
void image_blob_drop(struct image_blob *blob);
