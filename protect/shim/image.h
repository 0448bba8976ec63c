// SPDX-License-Identifier: Apache-2.0
/*
 * A container's image in protect's store: its layers (layer.h) are read once for their digests,
 * which make its name; if the store has none of that name they are read again, into an archive in
 * docker's form that the daemon imports. Containers of the same contents so share an image and, in
 * a zone, a disk.
 */
#pragma once

#include "base/error.h"
#include "protect/shim/layer.h"
#include "protect/shim/link.h"

#define IMAGE_NAME_SIZE	 48u
#define IMAGE_BINDS_MAX	 96u
#define IMAGE_BIND_BYTES (64u * 1024 * 1024) /* of a volume that is copied */

struct image_job;

/* error: 0 and the image's name, or a negative errno and why. The job is gone after it. */
typedef void image_fn(void *user, int error, const char *text);

/* What is in it; all borrowed until done. */
struct image_contents {
	Protect__Shim__Mount **mounts;
	size_t n_mounts;
	const char *folder; /* of the bundle: rootfs */
	const struct spec_bind *binds;
	size_t n_binds;
};

/* Starts. Returns 0, and done follows, or a negative errno with *err set. */
int image_make(struct image_job **out, struct link *link, const struct image_contents *contents,
	       image_fn *done, void *user, struct error *err);

/* Ends one whose outcome nobody wants. NULL is allowed. */
void image_drop(struct image_job *job);
