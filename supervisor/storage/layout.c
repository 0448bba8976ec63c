// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "supervisor/storage/platform.h"

#define CHUNK_SIZE (64u * 1024)

static int copy_blob(struct layout *layout, struct image_blob *blob, int from, struct job *job,
		     struct error *err)
{
	char chunk[CHUNK_SIZE];
	ssize_t n;

	while ((n = io_read_full(from, chunk, sizeof(chunk))) > 0) {
		int r = image_blob_add(blob, chunk, (size_t)n);

		if (r == -EFBIG)
			return error_set(
				err, r,
				"oci:%s: a blob has more bytes than announced; get the image again",
				layout->path);
		if (r < 0)
			return store_failed(layout->store, r, "copy a blob", err);
		if (job_progress(job, "copying", blob->done_bytes, blob->expected.size_bytes) < 0)
			return error_set(err, -ECANCELED, "cancelled");
	}
	return n < 0 ? error_set_errno(err, (int)n, "cannot read a blob") : 0;
}

static int get_blob(struct image_source *source, const struct oci_descriptor *what, struct job *job,
		    struct error *err)
{
	struct layout *layout = container_of(source, struct layout, source);
	_cleanup_(image_blob_drop) struct image_blob blob = {.fd = -1};
	_cleanup_(close_fdp) int fd = -1;
	char hex[DIGEST_HEX_SIZE], name[128];
	int r;

	digest_hex(&what->digest, hex);
	snprintf(name, sizeof(name), "blobs/sha256/%s", hex);
	/* O_NONBLOCK: a FIFO in its place must not hang us. */
	fd = openat(layout->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_set_errno(err, -errno, "oci:%s: cannot open %s", layout->path, name);
	r = image_blob_begin(&blob, layout->store, what, err);
	if (r == 0)
		r = copy_blob(layout, &blob, fd, job, err);
	return r < 0 ? r : image_blob_end(&blob, layout->path, err);
}

/* As a throw-away copy: layouts are imported from by hand and at start, where it costs little. */
static int check_blob(struct image_source *source, const struct oci_descriptor *what,
		      struct job *job, struct error *err)
{
	int fd = get_blob(source, what, job, err);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int layout_open(struct layout *layout, struct store *store, const char *path, struct error *err)
{
	memset(layout, 0, sizeof(*layout));
	layout->source.blob = get_blob;
	layout->source.manifest = get_blob;
	layout->source.check = check_blob;
	layout->store = store;
	snprintf(layout->path, sizeof(layout->path), "%s", path);
	layout->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return layout->dir_fd < 0
		       ? error_set_errno(err, -errno, "cannot open the OCI layout %s", path)
		       : 0;
}

void layout_close(struct layout *layout)
{
	close_fdp(&layout->dir_fd);
}

int layout_choose(struct layout *layout, const char *tag, struct image_manifest *manifest,
		  char **ref_name, struct job *job, struct error *err)
{
	struct oci_descriptor outer;
	int r;

	memset(manifest, 0, sizeof(*manifest));
	r = io_read_file(layout->dir_fd, "index.json", OCI_JSON_MAX, &manifest->json,
			 &manifest->len);
	if (r < 0)
		return error_set_errno(err, r, "%s is not an OCI layout: cannot read index.json",
				       layout->path);
	r = oci_select(manifest->json, manifest->len, tag, 1, PLATFORM_LEVEL_ANY, &outer, err);
	if (r == 0 && ref_name)
		*ref_name = oci_ref_name(manifest->json, manifest->len, &outer.digest);
	if (r == 0)
		r = image_choose(&layout->source, manifest, tag, 1, job, err);
	if (r < 0)
		image_manifest_clear(manifest);
	return r;
}
