// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/layers_emit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

/* All names that are not folders, sorted by where their content comes from. */
struct winners {
	struct layers_node **nodes;
	uint32_t count;
};

static int by_path(const struct layers_node *x, const struct layers_node *y)
{
	char a[LAYERS_PATH_MAX], b[LAYERS_PATH_MAX];

	layers_path(x, a);
	layers_path(y, b);
	return strcmp(a, b);
}

/* By layer and entry, then by name, so that equal images give equal bytes. */
static int compare(const void *a, const void *b)
{
	const struct layers_node *x = *(struct layers_node *const *)a;
	const struct layers_node *y = *(struct layers_node *const *)b;

	if (x->inode->layer != y->inode->layer)
		return x->inode->layer < y->inode->layer ? -1 : 1;
	if (x->inode->entry != y->inode->entry)
		return x->inode->entry < y->inode->entry ? -1 : 1;
	return by_path(x, y);
}

static int collect(struct layers_plan *plan, struct winners *out)
{
	out->nodes = calloc((size_t)layers_plan_names(plan) + 1, sizeof(struct layers_node *));
	if (!out->nodes)
		return -ENOMEM;
	for (struct layers_node *n = layers_plan_root(plan); n; n = layers_next(n))
		if (!S_ISDIR(n->inode->type))
			out->nodes[out->count++] = n;
	qsort(out->nodes, out->count, sizeof(struct layers_node *), compare);
	return 0;
}

/* How many of the nodes at `at` share its inode. */
static uint32_t count_names(const struct winners *winners, uint32_t at)
{
	uint32_t n = 1;

	while (at + n < winners->count &&
	       winners->nodes[at + n]->inode == winners->nodes[at]->inode)
		n++;
	return n;
}

static int emit_layer(struct winners *winners, uint32_t *at, uint32_t layer, int fd,
		      uint64_t *budget, const struct layers_sink *sink, struct error *err)
{
	_cleanup_(layer_reader_closep) struct layer_reader *reader = NULL;
	struct archive_entry *entry;
	uint32_t number = 0;
	char what[32];
	int r;

	snprintf(what, sizeof(what), "layer %u", layer);
	r = layer_reader_open_fd(&reader, fd, budget, what, err);
	while (r >= 0 && *at < winners->count && winners->nodes[*at]->inode->layer == layer) {
		uint32_t n;

		r = layer_reader_next(reader, &entry, err);
		if (r == 0)
			return error_set(err, -EIO, "%s changed while it was read", what);
		if (r < 0 || number++ != winners->nodes[*at]->inode->entry)
			continue;
		n = count_names(winners, *at);
		r = sink->entry(sink->context, winners->nodes + *at, n, entry, reader, err);
		*at += n;
	}
	return r < 0 ? r : 0;
}

int layers_emit(struct layers_plan *plan, const int *fds, uint32_t n, uint64_t *budget,
		const struct layers_sink *sink, struct error *err)
{
	struct winners winners = {.nodes = NULL};
	uint32_t at = 0;
	int r = collect(plan, &winners);

	if (r < 0)
		error_set(err, r, "out of memory");
	while (r == 0 && at < winners.count) {
		uint32_t layer = winners.nodes[at]->inode->layer;

		r = layer <= n ? emit_layer(&winners, &at, layer, fds[layer - 1], budget, sink, err)
			       : error_set(err, -EINVAL, "layer %u is missing", layer);
	}
	free(winners.nodes);
	return r;
}
