// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/layers_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/cleanup.h"

#define HASH_SIZE     (1u << 17)
#define IMPLICIT_MODE 0755

/* Keyed with a random seed: an image cannot choose names that all fall together. */
static uint32_t hash_name(const struct layers_plan *plan, const struct layers_node *parent,
			  const char *name, size_t len)
{
	uint64_t hash = plan->seed ^ ((uintptr_t)parent * UINT64_C(0x9e3779b97f4a7c15));

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)name[i]) * UINT64_C(0x100000001b3);
	return (uint32_t)(hash >> 32) ^ (uint32_t)hash;
}

struct layers_node *tree_find_child(struct layers_plan *plan, struct layers_node *parent,
				    const char *name, size_t len)
{
	uint32_t hash = hash_name(plan, parent, name, len);

	for (struct layers_node *n = plan->table[hash % HASH_SIZE]; n; n = n->hash_next)
		if (n->hash == hash && n->parent == parent && n->name_len == len &&
		    memcmp(n->name, name, len) == 0)
			return n;
	return NULL;
}

void tree_put_inode(struct layers_inode *inode)
{
	if (!inode || --inode->names)
		return;
	archive_entry_free(inode->dir.xattrs);
	free(inode->target);
	free(inode);
}

void tree_set_inode(struct layers_node *node, struct layers_inode *inode)
{
	inode->names++;
	tree_put_inode(node->inode);
	node->inode = inode;
}

struct layers_inode *tree_new_inode(struct layers_plan *plan, mode_t type, uint32_t entry)
{
	struct layers_inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	inode->layer = plan->layer;
	inode->entry = entry;
	inode->type = type;
	inode->dir.mode = IMPLICIT_MODE;
	return inode;
}

static void link_child(struct layers_plan *plan, struct layers_node *parent,
		       struct layers_node *node)
{
	node->previous = parent->last_child;
	if (parent->last_child)
		parent->last_child->next = node;
	else
		parent->first_child = node;
	parent->last_child = node;
	node->hash_next = plan->table[node->hash % HASH_SIZE];
	plan->table[node->hash % HASH_SIZE] = node;
}

static void unlink_child(struct layers_plan *plan, struct layers_node *node)
{
	struct layers_node *parent = node->parent, **p = &plan->table[node->hash % HASH_SIZE];

	*(node->previous ? &node->previous->next : &parent->first_child) = node->next;
	*(node->next ? &node->next->previous : &parent->last_child) = node->previous;
	while (*p != node)
		p = &(*p)->hash_next;
	*p = node->hash_next;
}

/* A new name without an inode yet. NULL: *r holds why. */
struct layers_node *tree_add_child(struct layers_plan *plan, struct layers_node *parent,
				   const char *name, size_t len, int *r)
{
	struct layers_node *node;
	size_t path_len = parent->path_len + (parent->parent ? 1 : 0) + len;

	*r = len > NAME_MAX || path_len >= LAYERS_PATH_MAX ? -ENAMETOOLONG
	     : plan->names >= LAYERS_ENTRIES_MAX	   ? -E2BIG
							   : 0;
	if (*r < 0)
		return NULL;
	node = calloc(1, sizeof(*node) + len + 1);
	if (!node) {
		*r = -ENOMEM;
		return NULL;
	}
	node->parent = parent;
	node->path_len = (uint32_t)path_len;
	node->name_len = (uint32_t)len;
	memcpy(node->name, name, len);
	node->hash = hash_name(plan, parent, name, len);
	link_child(plan, parent, node);
	plan->names++;
	return node;
}

/* Removes all below node, then the node unless it is `top` itself. Without recursion: a tree may be
 * 2048 deep. */
void tree_remove_below(struct layers_plan *plan, struct layers_node *top)
{
	struct layers_node *node = top;

	while (top->first_child) {
		struct layers_node *parent;

		while (node->first_child)
			node = node->first_child;
		parent = node->parent;
		unlink_child(plan, node);
		tree_put_inode(node->inode);
		free(node);
		plan->names--;
		node = parent;
	}
}

void tree_remove(struct layers_plan *plan, struct layers_node *node)
{
	tree_remove_below(plan, node);
	unlink_child(plan, node);
	tree_put_inode(node->inode);
	free(node);
	plan->names--;
}

void tree_touch(struct layers_plan *plan, struct layers_node *node)
{
	for (; node && node->touched != plan->layer; node = node->parent)
		node->touched = plan->layer;
}

/* Makes node a folder of which no layer says anything. */
int tree_make_implicit(struct layers_plan *plan, struct layers_node *node)
{
	struct layers_inode *inode = tree_new_inode(plan, S_IFDIR, LAYERS_NO_ENTRY);

	if (!inode)
		return -ENOMEM;
	tree_set_inode(node, inode);
	return 0;
}

/* The node after `node` in a walk of what is below top that does not go below `node`. */
static struct layers_node *next_beside(const struct layers_node *node,
				       const struct layers_node *top)
{
	while (node != top && !node->next)
		node = node->parent;
	return node == top ? NULL : node->next;
}

static struct layers_node *next_below(const struct layers_node *node, const struct layers_node *top)
{
	return node->first_child ? node->first_child : next_beside(node, top);
}

/* Hides what lower layers brought below top; what the present layer brought stays, in folders that
 * lost their owner. */
int tree_hide_below(struct layers_plan *plan, struct layers_node *top)
{
	struct layers_node *node = next_below(top, top);

	while (node) {
		if (++plan->steps > LAYERS_STEPS_MAX)
			return -E2BIG;
		if (node->touched < plan->layer) {
			struct layers_node *hidden = node;

			node = next_beside(hidden, top);
			tree_remove(plan, hidden);
			continue;
		}
		if (node->inode->layer < plan->layer && tree_make_implicit(plan, node) < 0)
			return -ENOMEM;
		node = next_below(node, top);
	}
	return 0;
}

void tree_free_pending(struct layers_plan *plan)
{
	while (plan->pending) {
		struct pending *next = plan->pending->next;

		free(plan->pending);
		plan->pending = next;
	}
	plan->pending_tail = &plan->pending;
}

int layers_plan_new(struct layers_plan **out)
{
	_cleanup_(layers_plan_freep) struct layers_plan *plan = calloc(1, sizeof(*plan));

	if (!plan)
		return -ENOMEM;
	plan->pending_tail = &plan->pending;
	plan->table = calloc(HASH_SIZE, sizeof(struct layers_node *));
	plan->root = calloc(1, sizeof(*plan->root) + 1);
	if (!plan->table || !plan->root || getrandom(&plan->seed, sizeof(plan->seed), 0) < 0)
		return -ENOMEM;
	if (tree_make_implicit(plan, plan->root) < 0)
		return -ENOMEM;
	*out = steal_ptr(&plan);
	return 0;
}

void layers_plan_free(struct layers_plan *plan)
{
	if (!plan)
		return;
	if (plan->root) {
		tree_remove_below(plan, plan->root);
		tree_put_inode(plan->root->inode);
	}
	tree_free_pending(plan);
	free(plan->root);
	free(plan->table);
	free(plan);
}

struct layers_node *layers_plan_root(struct layers_plan *plan)
{
	return plan->root;
}

uint32_t layers_plan_names(const struct layers_plan *plan)
{
	return plan->names;
}

struct layers_node *layers_plan_find(struct layers_plan *plan, const char *path)
{
	struct layers_node *node = plan->root;

	while (node && *path) {
		size_t len = strcspn(path, "/");

		node = tree_find_child(plan, node, path, len);
		path += len + (path[len] ? 1 : 0);
	}
	return node;
}

void layers_path(const struct layers_node *node, char *out)
{
	size_t at = node->path_len;

	out[at] = '\0';
	for (; node->parent; node = node->parent) {
		at -= node->name_len;
		memcpy(out + at, node->name, node->name_len);
		if (at)
			out[--at] = '/';
	}
}

struct layers_node *layers_next(const struct layers_node *node)
{
	const struct layers_node *top = node;

	while (top->parent)
		top = top->parent;
	return next_below(node, top);
}
