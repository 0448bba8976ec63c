// SPDX-License-Identifier: Apache-2.0
/*
 * OCI image layouts on this machine (OCI image-spec, image-layout.md). Its owner may change the
 * folder while it is read: every blob is copied into the store once and verified there. One thread
 * owns a layout.
 */
#pragma once

#include "supervisor/storage/image.h"

struct layout {
	struct image_source source;
	struct store *store; /* borrowed */
	int dir_fd;
	char path[STORE_PATH_MAX];
};

/* Opens the folder. Returns 0 or a negative errno with *err set; layout_close() ends it. */
int layout_open(struct layout *layout, struct store *store, const char *path, struct error *err);
void layout_close(struct layout *layout);

/*
 * Chooses the image with this tag (NULL = the only one). *ref_name (the caller's; may be NULL) is
 * what the layout calls it. Returns 0 or a negative errno with *err set.
 */
int layout_choose(struct layout *layout, const char *tag, struct image_manifest *manifest,
		  char **ref_name, struct job *job, struct error *err);
