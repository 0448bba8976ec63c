// SPDX-License-Identifier: Apache-2.0
/*
 * The second walk over an image's layers: hands out every entry that won in the plan, together with
 * the reader to take its data from. One thread.
 */
#pragma once

#include "base/error.h"
#include "supervisor/storage/layers.h"

struct layers_sink {
	/*
	 * A winning inode that is not a folder, in the order of the layers: its names (n ≥ 1,
	 * sorted), the entry as the layer has it, and the reader for its data. Returns 0 or a
	 * negative errno with *err set, which ends the walk.
	 */
	int (*entry)(void *context, struct layers_node *const *names, uint32_t n,
		     struct archive_entry *entry, struct layer_reader *reader, struct error *err);
	void *context;
};

/*
 * Walks layers fds[0 … n-1], bottom first: the same files, unchanged, as the plan was made of.
 * Layers from which nothing is left are not read. budget as in layer_reader_open(). Returns 0 or a
 * negative errno with *err set.
 */
int layers_emit(struct layers_plan *plan, const int *fds, uint32_t n, uint64_t *budget,
		const struct layers_sink *sink, struct error *err);
