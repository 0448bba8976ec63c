// SPDX-License-Identifier: Apache-2.0
/*
 * Merging of hostile layers. The input is layers as tars (or compressed), cut at the marker
 * "|layer|". Whatever they hold, the tree stays a tree: no name has `/`, `.`, `..` or a whiteout,
 * each is found by its path, only folders hold names, and the second walk meets every winner once.
 */
#include <locale.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/storage/layers_emit.h"

#define MARKER "|layer|"
#define LAYERS 4
#define BUDGET (8 * MIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_node(struct layers_plan *plan, const struct layers_node *node)
{
	char path[LAYERS_PATH_MAX];

	layers_path(node, path);
	if (strlen(path) != node->path_len || layers_plan_find(plan, path) != node)
		abort();
	if (node->first_child && !S_ISDIR(node->inode->type))
		abort();
	if (!node->parent)
		return;
	if (strchr(node->name, '/') || strcmp(node->name, ".") == 0 ||
	    strcmp(node->name, "..") == 0 || !node->name[0])
		abort();
	if (strncmp(node->name, ".wh.", 4) == 0)
		abort();
}

static int count_entry(void *context, struct layers_node *const *names, uint32_t n,
		       struct archive_entry *entry, struct layer_reader *reader, struct error *err)
{
	char chunk[4096];
	ssize_t got;

	(void)names;
	(void)entry;
	*(uint32_t *)context += n;
	while ((got = layer_reader_data(reader, chunk, sizeof(chunk), err)) > 0)
		;
	return got < 0 ? (int)got : 0;
}

static void check_plan(struct layers_plan *plan, const int *fds, uint32_t n)
{
	uint32_t others = 0, met = 0;
	uint64_t budget = UINT64_MAX;
	const struct layers_sink sink = {.entry = count_entry, .context = &met};

	for (struct layers_node *node = layers_plan_root(plan); node; node = layers_next(node)) {
		check_node(plan, node);
		others += !S_ISDIR(node->inode->type);
	}
	if (layers_emit(plan, fds, n, &budget, &sink, NULL) == 0 && met != others)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct layers_plan *plan = NULL;
	uint64_t budget = BUDGET, data_budget = BUDGET;
	int fds[LAYERS];
	uint32_t n = 0;
	int r = 0;

	setlocale(LC_CTYPE, "C.UTF-8");
	if (layers_plan_new(&plan) < 0)
		return 0;
	while (n < LAYERS && r == 0) {
		const uint8_t *end = memmem(data, len, MARKER, strlen(MARKER));
		size_t part = end ? (size_t)(end - data) : len;
		struct layer_reader *reader = NULL;
		struct digest digest;

		fds[n] = memfd_create("layer", MFD_CLOEXEC);
		if (write(fds[n], data, part) != (ssize_t)part)
			abort();
		r = layer_reader_open_fd(&reader, fds[n++], &budget, "layer", NULL);
		if (r == 0)
			r = layers_plan_add(plan, reader, &data_budget, NULL);
		if (r == 0)
			r = layer_reader_finish(reader, &digest, NULL);
		layer_reader_close(reader);
		if (!end)
			break;
		data = end + strlen(MARKER);
		len -= part + strlen(MARKER);
	}
	if (r == 0)
		check_plan(plan, fds, n);
	layers_plan_free(plan);
	while (n)
		close(fds[--n]);
	return 0;
}
