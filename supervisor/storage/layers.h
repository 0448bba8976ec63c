// SPDX-License-Identifier: Apache-2.0
/*
 * What the layers of an image amount to (OCI image-spec, layer.md): a tree of names, built bottom
 * layer first from the headers alone, in which each name knows the layer and the entry that it
 * comes from. Whiteouts and opaque folders hide what lower layers brought, never what their own
 * layer brings. Hard links share one inode. The tree lives in memory only; a second walk over the
 * layers (layers_emit) then delivers the contents of those entries that won.
 *
 * Layers are hostile. `..`, empty and too long names are refused; leading slashes and `.` go; a
 * parent that is missing or not a folder is made one, root's, 0755; a parent that is a symbolic
 * link is followed inside the tree, as when unpacking. Bounds: LAYERS_ENTRIES_MAX entries and
 * names, LAYERS_TEXT_MAX bytes of link targets and attributes, LAYERS_STEPS_MAX names passed on the
 * way to all of them and below what whiteouts name, PATH_MAX for any path. One thread owns a plan.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/util.h"
#include "supervisor/storage/layer_reader.h"

#define LAYERS_MAX	   127
#define LAYERS_ENTRIES_MAX 1000000u
#define LAYERS_TEXT_MAX	   (64 * MIB)
#define LAYERS_STEPS_MAX   (16u << 20) /* some seconds */
#define LAYERS_PATH_MAX	   4096u       /* with the NUL */
#define LAYERS_NO_ENTRY	   UINT32_MAX

/* What one or several names are. `entry` counts the entries of its layer from 0. */
struct layers_inode {
	uint32_t layer;	    /* from 1, the bottom layer */
	uint32_t entry;	    /* LAYERS_NO_ENTRY: a folder that no layer describes */
	uint32_t names;	    /* nodes that point here */
	mode_t type;	    /* S_IFMT bits */
	struct layers_dir { /* of folders: they are written from here, before everything else */
		mode_t mode;
		uint32_t uid, gid;
		int64_t mtime_s;
		struct archive_entry *xattrs; /* ours, NULL if there are none; holds nothing else */
	} dir;
	char *target; /* of symbolic links */
};

struct layers_node {
	struct layers_node *parent, *first_child, *last_child, *next, *previous;
	struct layers_node *hash_next;
	struct layers_inode *inode;
	uint32_t hash;
	uint32_t touched;  /* the last layer that brought this name or one below it */
	uint32_t path_len; /* of the path from the root, without a leading slash */
	uint32_t name_len;
	char name[];
};

struct layers_plan;

/* An empty tree (the root folder, 0755, root's). Returns 0 or -ENOMEM. */
int layers_plan_new(struct layers_plan **out);

/* Frees a plan (NULL is allowed). */
void layers_plan_free(struct layers_plan *plan);

static inline void layers_plan_freep(struct layers_plan **plan)
{
	layers_plan_free(*plan);
}

/*
 * Lays the next layer over the tree: reads all entries of reader. data_budget (borrowed) is lowered
 * by the size of every file, which a sparse file makes larger than the tar. Returns 0 or a negative
 * errno with *err set; the plan is then only to be freed.
 */
int layers_plan_add(struct layers_plan *plan, struct layer_reader *reader, uint64_t *data_budget,
		    struct error *err);

/* The root folder. */
struct layers_node *layers_plan_root(struct layers_plan *plan);

/* How many names there are, the root not counted. */
uint32_t layers_plan_names(const struct layers_plan *plan);

/* The node at a path, symbolic links not followed; NULL if there is none. */
struct layers_node *layers_plan_find(struct layers_plan *plan, const char *path);

/* Writes a node's path without a leading slash; the root's is empty. out holds LAYERS_PATH_MAX
 * bytes. */
void layers_path(const struct layers_node *node, char *out);

/* The node after this one when folders come before what they hold; NULL after the last. Starts at
 * the root. */
struct layers_node *layers_next(const struct layers_node *node);

/*
 * Copies the extended attributes that an image may bring from one entry to another: user.* and
 * security.capability, not those of overlay file systems, which would change what a zone's overlay
 * shows.
 */
void layers_copy_xattrs(struct archive_entry *from, struct archive_entry *to);

/* How many bytes of memory those attributes of an entry take, here or in mksquashfs. Returns 0, or
 * -EINVAL if one is longer than Linux has them. */
int layers_count_xattrs(struct archive_entry *entry, size_t *bytes);
