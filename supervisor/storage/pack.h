// SPDX-License-Identifier: Apache-2.0
/*
 * Packs a plan into one squashfs: the merged tar is written into a pipe to `mksquashfs - OUT -tar`,
 * so no name from an image ever touches the host's file system. Folders go first, every hard link
 * right behind its target, because mksquashfs drops links that come before. Equal layers give equal
 * bytes. One thread.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "supervisor/storage/job.h"
#include "supervisor/storage/layers.h"

/*
 * Writes the file `out` (which must not exist) from the plan and its layers fds[0 … n-1]. On
 * failure no file is left. budget as in layer_reader_open(). Returns 0, -ENOSPC when the disk is
 * full, -ECANCELED, or another negative errno with *err set.
 */
int pack_squashfs(struct layers_plan *plan, const int *fds, uint32_t n, uint64_t *budget,
		  const char *out, struct job *job, struct error *err);
