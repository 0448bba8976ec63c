// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/layers_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

#define SYMLINKS_MAX	40
#define WHITEOUT	".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define WHITEOUT_META	".wh..wh."

/* What is still to be walked of a path; a symbolic link puts its target in front. */
struct walk {
	char rest[2 * LAYERS_PATH_MAX];
	unsigned links;
};

static int follow(struct walk *walk, const char *target, const char *rest)
{
	size_t target_len = strlen(target), rest_len = strlen(rest);

	if (++walk->links > SYMLINKS_MAX)
		return -ELOOP;
	if (target_len + 1 + rest_len + 1 > sizeof(walk->rest))
		return -ENAMETOOLONG;
	memmove(walk->rest + target_len + 1, rest, rest_len + 1);
	memcpy(walk->rest, target, target_len);
	walk->rest[target_len] = '/';
	return 0;
}

/* One component below node: the child, made or turned into a folder if `create`. *r: 0, -ENOENT or
 * worse. */
static struct layers_node *enter(struct layers_plan *plan, struct layers_node *node,
				 const char *name, size_t len, bool create, int *r)
{
	struct layers_node *child = tree_find_child(plan, node, name, len);

	*r = 0;
	if (child && (S_ISDIR(child->inode->type) || S_ISLNK(child->inode->type)))
		return child;
	*r = -ENOENT;
	if (!create)
		return NULL;
	/* Another reader would take such a folder for a whiteout. */
	if (!child && len >= strlen(WHITEOUT) && memcmp(name, WHITEOUT, strlen(WHITEOUT)) == 0) {
		*r = -EINVAL;
		return NULL;
	}
	if (!child)
		child = tree_add_child(plan, node, name, len, r);
	if (!child)
		return NULL;
	*r = tree_make_implicit(plan, child);
	tree_touch(plan, child);
	return *r < 0 ? NULL : child;
}

/*
 * Walks to the folder at path (len bytes), following symbolic links inside the tree as an unpacking
 * runtime would. Sets *out; -ENOENT if it is not there and not to be created.
 */
static int walk_to(struct layers_plan *plan, const char *path, size_t len, bool create,
		   struct layers_node **out)
{
	struct walk walk = {.links = 0};
	struct layers_node *node = plan->root;
	char *at = walk.rest;

	memcpy(walk.rest, path, len);
	walk.rest[len] = '\0';
	while (*at) {
		size_t n = strcspn(at, "/");
		char *after = at + n + (at[n] ? 1 : 0);
		struct layers_node *child;
		int r;

		if (++plan->steps > LAYERS_STEPS_MAX)
			return -E2BIG;
		if (n == 2 && memcmp(at, "..", 2) == 0)
			node = node->parent ? node->parent : node;
		if (n == 0 || (n == 1 && *at == '.') || (n == 2 && memcmp(at, "..", 2) == 0)) {
			at = after;
			continue;
		}
		child = enter(plan, node, at, n, create, &r);
		if (!child)
			return r;
		if (S_ISLNK(child->inode->type)) {
			node = child->inode->target[0] == '/' ? plan->root : node;
			r = follow(&walk, child->inode->target, after);
			if (r < 0)
				return r;
			at = walk.rest;
			continue;
		}
		node = child;
		at = after;
	}
	*out = node;
	return 0;
}

/*
 * Makes a path of a tar plain: no leading, trailing or double slashes, no `.`. Returns its length
 * (0 = the root), or -EINVAL for `..`, -ENAMETOOLONG. out holds LAYERS_PATH_MAX bytes.
 */
static int normalise(const char *path, char *out)
{
	size_t used = 0;

	while (*path) {
		size_t len = strcspn(path, "/");

		if (len == 2 && memcmp(path, "..", 2) == 0)
			return -EINVAL;
		if (len > 0 && !(len == 1 && *path == '.')) {
			if (used + 1 + len + 1 > LAYERS_PATH_MAX)
				return -ENAMETOOLONG;
			if (used)
				out[used++] = '/';
			memcpy(out + used, path, len);
			used += len;
		}
		path += len + (path[len] ? 1 : 0);
	}
	out[used] = '\0';
	return (int)used;
}

/* Where the last component of a plain path starts. */
static size_t base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) + 1 : 0;
}

/* The node at a plain path, its parents followed, itself not. NULL: *r is -ENOENT or worse. */
static struct layers_node *lookup(struct layers_plan *plan, const char *path, int *r)
{
	size_t base = base_of(path);
	struct layers_node *parent = NULL, *node;

	if (!path[0])
		return plan->root;
	*r = walk_to(plan, path, base, false, &parent);
	if (*r < 0)
		return NULL;
	node = tree_find_child(plan, parent, path + base, strlen(path + base));
	*r = node ? 0 : -ENOENT;
	return node;
}

/* Puts inode at a plain path, whatever was there before; a folder over a folder keeps what it
 * holds. */
static int place(struct layers_plan *plan, const char *path, struct layers_inode *inode)
{
	size_t base = base_of(path);
	struct layers_node *parent = NULL, *node = plan->root;
	int r = 0;

	if (path[0]) {
		r = walk_to(plan, path, base, true, &parent);
		if (r < 0)
			return r;
		node = tree_find_child(plan, parent, path + base, strlen(path + base));
		if (!node)
			node = tree_add_child(plan, parent, path + base, strlen(path + base), &r);
		if (!node)
			return r;
	} else if (!S_ISDIR(inode->type)) {
		return -ENOTDIR;
	}
	if (!S_ISDIR(inode->type))
		tree_remove_below(plan, node);
	tree_set_inode(node, inode);
	tree_touch(plan, node);
	return 0;
}

static int whiteout(struct layers_plan *plan, const char *path, size_t base)
{
	const char *name = path + base + strlen(WHITEOUT);
	char victim[LAYERS_PATH_MAX];
	struct layers_node *node = NULL;
	int r = 0;

	if (strcmp(path + base, WHITEOUT_OPAQUE) == 0) {
		r = walk_to(plan, path, base, false, &node);
		return r < 0 ? (r == -ENOENT ? 0 : r) : tree_hide_below(plan, node);
	}
	if (strncmp(path + base, WHITEOUT_META, strlen(WHITEOUT_META)) == 0)
		return 0;
	if (strlen(name) == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	memcpy(victim, path, base);
	memcpy(victim + base, name, strlen(name) + 1);
	node = lookup(plan, victim, &r);
	if (!node)
		return r == -ENOENT ? 0 : r;
	if (node->touched < plan->layer) {
		tree_remove(plan, node);
		return 0;
	}
	if (S_ISDIR(node->inode->type) && node->inode->layer < plan->layer) {
		r = tree_make_implicit(plan, node);
		if (r < 0)
			return r;
	}
	return tree_hide_below(plan, node);
}

static int charge_text(struct layers_plan *plan, size_t len)
{
	plan->text_bytes += len;
	return plan->text_bytes > LAYERS_TEXT_MAX ? -E2BIG : 0;
}

static int link_to(struct layers_plan *plan, const char *path, const char *target)
{
	struct layers_inode *inode;
	int r = -ENOENT;
	struct layers_node *node = lookup(plan, target, &r);

	if (!node)
		return r;
	if (S_ISDIR(node->inode->type))
		return -EISDIR;
	if (strcmp(path, target) == 0)
		return 0;
	inode = node->inode;
	inode->names++; /* place() may remove the target's own name */
	r = place(plan, path, inode);
	tree_put_inode(inode);
	return r;
}

static int add_pending(struct layers_plan *plan, const char *path, const char *target)
{
	size_t path_size = strlen(path) + 1, target_size = strlen(target) + 1;
	struct pending *pending;
	int r = charge_text(plan, sizeof(*pending) + path_size + target_size);

	if (r < 0)
		return r;
	pending = malloc(sizeof(*pending) + path_size + target_size);
	if (!pending)
		return -ENOMEM;
	pending->next = NULL;
	pending->target = pending->text + path_size;
	memcpy(pending->text, path, path_size);
	memcpy(pending->target, target, target_size);
	*plan->pending_tail = pending;
	plan->pending_tail = &pending->next;
	return 0;
}

static int add_hard_link(struct layers_plan *plan, const char *path, struct archive_entry *entry)
{
	const char *raw = archive_entry_hardlink(entry);
	char target[LAYERS_PATH_MAX];
	int r = raw ? normalise(raw, target) : -EINVAL;

	if (r < 0)
		return r;
	r = link_to(plan, path, target);
	return r == -ENOENT ? add_pending(plan, path, target) : r;
}

static int resolve_pending(struct layers_plan *plan, const char *what, struct error *err)
{
	for (struct pending *p = plan->pending; p; p = p->next) {
		int r = link_to(plan, p->text, p->target);

		if (r < 0)
			return error_set(err, -EBADMSG,
					 "%s: hard link '%s' to '%s', which is not there", what,
					 p->text, p->target);
	}
	return 0;
}

/* Takes what the plan itself needs to know of an entry into its inode. */
static int describe(struct layers_plan *plan, struct layers_inode *inode,
		    struct archive_entry *entry)
{
	if (S_ISLNK(inode->type)) {
		const char *target = archive_entry_symlink(entry);

		if (!target || !target[0] || strlen(target) >= LAYERS_PATH_MAX)
			return -EINVAL;
		inode->target = strdup(target);
		return inode->target ? charge_text(plan, strlen(target) + 1) : -ENOMEM;
	}
	if (S_ISDIR(inode->type)) {
		inode->dir.mode = archive_entry_perm(entry);
		inode->dir.uid = (uint32_t)archive_entry_uid(entry);
		inode->dir.gid = (uint32_t)archive_entry_gid(entry);
		inode->dir.mtime_s = archive_entry_mtime(entry);
		if (archive_entry_xattr_count(entry) == 0)
			return 0;
		inode->dir.xattrs = archive_entry_new();
		if (!inode->dir.xattrs)
			return -ENOMEM;
		layers_copy_xattrs(entry, inode->dir.xattrs);
	}
	return 0;
}

static int add_inode(struct layers_plan *plan, const char *path, struct archive_entry *entry,
		     uint32_t number, uint64_t *data_budget)
{
	mode_t type = archive_entry_filetype(entry);
	int64_t size = archive_entry_size(entry), uid = archive_entry_uid(entry);
	int64_t gid = archive_entry_gid(entry);
	struct layers_inode *inode;
	size_t xattrs_len;
	int r;

	if (!S_ISREG(type) && !S_ISDIR(type) && !S_ISLNK(type) && !S_ISCHR(type) &&
	    !S_ISBLK(type) && !S_ISFIFO(type))
		return -EINVAL;
	if (uid < 0 || uid > UINT32_MAX - 1 || gid < 0 || gid > UINT32_MAX - 1 || size < 0)
		return -EINVAL;
	if (S_ISREG(type) && (uint64_t)size > *data_budget)
		return -EFBIG;
	if (S_ISREG(type))
		*data_budget -= (uint64_t)size;
	inode = tree_new_inode(plan, type, number);
	if (!inode)
		return -ENOMEM;
	inode->names = 1; /* ours, until it has found its place */
	r = layers_count_xattrs(entry, &xattrs_len);
	if (r == 0)
		r = charge_text(plan, xattrs_len);
	if (r == 0)
		r = describe(plan, inode, entry);
	if (r == 0)
		r = place(plan, path, inode);
	tree_put_inode(inode);
	return r;
}

static int add_entry(struct layers_plan *plan, struct archive_entry *entry, uint32_t number,
		     uint64_t *data_budget)
{
	const char *raw = archive_entry_pathname(entry);
	char path[LAYERS_PATH_MAX];
	size_t base;
	int r;

	if (++plan->entries > LAYERS_ENTRIES_MAX)
		return -E2BIG;
	r = raw ? normalise(raw, path) : -EINVAL;
	if (r < 0)
		return r;
	base = base_of(path);
	if (strncmp(path + base, WHITEOUT, strlen(WHITEOUT)) == 0)
		return whiteout(plan, path, base);
	if (archive_entry_hardlink(entry))
		return add_hard_link(plan, path, entry);
	return add_inode(plan, path, entry, number, data_budget);
}

static const char *reason_of(int code)
{
	switch (code) {
	case -E2BIG:
		return "the image has too many entries, too deep ones, or too many attributes";
	case -EFBIG:
		return "the image is larger than allowed when unpacked; raise --max-size";
	case -ENAMETOOLONG:
		return "the path is too long";
	case -ELOOP:
		return "too many symbolic links in the path";
	case -ENOMEM:
		return "out of memory";
	case -EISDIR:
		return "a hard link to a folder";
	default:
		return "the entry is not valid";
	}
}

int layers_plan_add(struct layers_plan *plan, struct layer_reader *reader, uint64_t *data_budget,
		    struct error *err)
{
	struct archive_entry *entry;
	uint32_t number = 0;
	int r;

	plan->layer++;
	while ((r = layer_reader_next(reader, &entry, err)) > 0) {
		r = add_entry(plan, entry, number++, data_budget);
		if (r < 0) {
			const char *path = archive_entry_pathname(entry);

			return error_set(err, r, "layer %u, '%.200s': %s", plan->layer,
					 path ? path : "", reason_of(r));
		}
	}
	if (r == 0) {
		char what[32];

		snprintf(what, sizeof(what), "layer %u", plan->layer);
		r = resolve_pending(plan, what, err);
	}
	tree_free_pending(plan);
	return r;
}
