// SPDX-License-Identifier: Apache-2.0
/* The commands of protect-storage that need no service: import, prepare-kernel, list. Run by main,
 * in one thread. */
#pragma once

#include "base/error.h"
#include "supervisor/storage/ops.h"

/* Imports SOURCE (oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE) under a name (NULL = its
 * own) and prints the digest. 0 or a negative errno. */
int oneshot_import(struct storage *storage, const char *source, const char *name,
		   struct error *err);

/* Writes kernel, initrd and addons.squashfs of a kernel image (in the store, or oci:DIR[:TAG]) into
 * the folder `output`. */
int oneshot_prepare_kernel(struct storage *storage, const char *ref, const char *output,
			   struct error *err);

/* Prints the store's images, one a line. */
int oneshot_list(struct storage *storage, struct error *err);

/* Splits oci:DIR[:TAG]; *tag is NULL if there is none. dir holds STORE_PATH_MAX bytes. False if
 * source is something else. */
int oneshot_split_layout(const char *source, char *dir, const char **tag);
