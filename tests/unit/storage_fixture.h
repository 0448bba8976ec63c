// SPDX-License-Identifier: Apache-2.0
/* What the tests of storage share: a store in a temporary folder, tars built entry by entry, and
 * OCI layouts made of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <archive.h>
#include <archive_entry.h>

#include "supervisor/storage/ops.h"

struct fixture {
	char dir[64];	  /* removed by fixture_close() */
	char layout[128]; /* dir/layout, made by layout_write() */
	struct settings settings;
	struct storage storage;
};

/* Makes the folder and opens a store in it with room for images of max_bytes. */
void fixture_open(struct fixture *fixture, uint64_t max_bytes);
void fixture_close(struct fixture *fixture);

/* A tar under construction, in memory. */
struct tar {
	struct archive *archive;
	char *data;
	size_t len;
};

struct tar *tar_new(const char *filter); /* NULL, "gzip" or "zstd" */
void tar_dir(struct tar *tar, const char *path, unsigned mode);
void tar_file(struct tar *tar, const char *path, const char *text);
void tar_symlink(struct tar *tar, const char *path, const char *target);
void tar_hard_link(struct tar *tar, const char *path, const char *target);
void tar_device(struct tar *tar, const char *path, unsigned major, unsigned minor);
void tar_xattr_file(struct tar *tar, const char *path, const char *name, const void *value,
		    size_t len);
void tar_end(struct tar *tar);
void tar_free(struct tar *tar);

/* What layout_write() does wrong on purpose. */
struct layout_faults {
	bool diff_id;	/* the first layer's diff_id is another's */
	bool digest;	/* a byte of the first layer's blob is changed after it got its digest */
	bool truncated; /* the first layer's blob lacks its last byte */
	bool size;	/* the manifest announces one byte less */
};

/* Writes dir/layout with one image of these layers (which tar_end() ended), tagged "test". */
void layout_write(struct fixture *fixture, struct tar *const *layers, unsigned n,
		  const struct layout_faults *faults);

/* Imports dir/layout as `name`. Returns what ops_import_layout() does. */
int layout_import(struct fixture *fixture, const char *name, struct store_image *image,
		  struct error *err);

/* What a command prints on standard output; the caller frees it. The format makes a line for sh. */
char *output_of(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether any file is left in the store's tmp/. */
bool tmp_is_empty(struct fixture *fixture);
