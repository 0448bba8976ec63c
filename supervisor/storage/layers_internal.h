// SPDX-License-Identifier: Apache-2.0
/* What layers.c (how a layer's entries change the tree) and layers_tree.c (the tree) share. Not for
 * others. */
#pragma once

#include "supervisor/storage/layers.h"

/* A hard link that came before its target in the tar: tried again when the layer is read. */
struct pending {
	struct pending *next;
	char *target; /* points into text */
	char text[];  /* path, NUL, target, NUL */
};

struct layers_plan {
	struct layers_node *root;
	struct layers_node **table; /* by parent and name */
	uint64_t seed;
	uint32_t layer; /* the one being added, from 1 */
	uint32_t names;
	uint32_t entries;
	uint32_t steps;
	uint64_t text_bytes;
	struct pending *pending, **pending_tail;
};

/* The child of this name, or NULL. */
struct layers_node *tree_find_child(struct layers_plan *plan, struct layers_node *parent,
				    const char *name, size_t len);

/* Adds a name without an inode, which the caller then sets. NULL: *r is -ENAMETOOLONG, -E2BIG or
 * -ENOMEM. */
struct layers_node *tree_add_child(struct layers_plan *plan, struct layers_node *parent,
				   const char *name, size_t len, int *r);

/* A new inode of the present layer, which no name has yet. NULL when memory is short. */
struct layers_inode *tree_new_inode(struct layers_plan *plan, mode_t type, uint32_t entry);

/* Drops a name's hold on an inode (NULL is allowed); the last frees it. */
void tree_put_inode(struct layers_inode *inode);

/* Makes a name stand for inode instead of what it stood for. */
void tree_set_inode(struct layers_node *node, struct layers_inode *inode);

/* Makes node a folder of which no layer says anything. 0 or -ENOMEM. */
int tree_make_implicit(struct layers_plan *plan, struct layers_node *node);

/* Notes that the present layer brought node. */
void tree_touch(struct layers_plan *plan, struct layers_node *node);

/* Removes all below a node; the node with all below it. */
void tree_remove_below(struct layers_plan *plan, struct layers_node *top);
void tree_remove(struct layers_plan *plan, struct layers_node *node);

/* Hides what lower layers brought below top; what the present layer brought stays, in folders that
 * lost their owner. 0, -E2BIG or -ENOMEM. */
int tree_hide_below(struct layers_plan *plan, struct layers_node *top);

/* Frees the hard links that wait for their targets. */
void tree_free_pending(struct layers_plan *plan);
