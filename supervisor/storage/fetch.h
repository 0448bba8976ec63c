// SPDX-License-Identifier: Apache-2.0
/* The layers of an image, fetched from its source by as many threads as that allows. */
#pragma once

#include "supervisor/storage/image.h"

/* The layers' files while an image is made; zero-initialise. */
struct layer_files {
	int fds[LAYERS_MAX];
	uint32_t n;
};

void layer_files_close(struct layer_files *files);

/*
 * Fetches all layers. The first failure ends the other transfers. Returns 0, or a negative errno
 * with *err set; layer_files_close() ends it in both cases.
 */
int fetch_layers(struct store *store, struct image_source *source,
		 const struct oci_manifest *manifest, struct job *job, struct layer_files *files,
		 struct error *err);
