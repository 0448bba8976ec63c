// SPDX-License-Identifier: Apache-2.0
#include "zone-fs/nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define BUCKETS 32768u

struct nodes {
	struct node *root;
	unsigned n_fds;
	uint32_t n_free, n_used; /* of the numbers; n_used were ever given out */
	struct node *table[BUCKETS];
	struct node *by_number[NODES_MAX]; /* [0] is number 1 */
	uint32_t free_numbers[NODES_MAX];
};

static unsigned bucket_of(dev_t dev, ino_t ino)
{
	uint64_t x = (ino ^ (dev << 32)) * UINT64_C(0x9e3779b97f4a7c15);

	return (unsigned)(x >> 32) % BUCKETS;
}

static bool is_same(const struct node *node, const struct stat *st)
{
	return node->dev == st->st_dev && node->ino == st->st_ino &&
	       node->type == (st->st_mode & S_IFMT);
}

static struct node *find(const struct nodes *nodes, const struct stat *st)
{
	struct node *node = nodes->table[bucket_of(st->st_dev, st->st_ino)];

	while (node && !is_same(node, st))
		node = node->next;
	return node;
}

/* #syscalls fs: newfstatat(_, _, _, AT_SYMLINK_NOFOLLOW|AT_NO_AUTOMOUNT)
 *	newfstatat(_, _, _, AT_EMPTY_PATH) */
static int stat_name(int folder_fd, const char *name, struct stat *st)
{
	return fstatat(folder_fd, name, st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0 ? -errno : 0;
}

static int stat_fd(int fd, struct stat *st)
{
	return fstatat(fd, "", st, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* Returns a number or 0. */
static uint32_t take_number(struct nodes *nodes)
{
	if (nodes->n_free)
		return nodes->free_numbers[--nodes->n_free];
	return nodes->n_used < NODES_MAX ? ++nodes->n_used : 0;
}

/* Into the table, with a number. Returns NULL when there are too many, or no memory. */
static struct node *add(struct nodes *nodes, const struct stat *st)
{
	struct node **chain = &nodes->table[bucket_of(st->st_dev, st->st_ino)];
	struct node *node = calloc(1, sizeof(*node));
	uint32_t number = node ? take_number(nodes) : 0;

	if (!number) {
		free(node);
		return NULL;
	}
	*node = (struct node){.number = number,
			      .dev = st->st_dev,
			      .ino = st->st_ino,
			      .type = st->st_mode & S_IFMT,
			      .fd = -1,
			      .open_fd = -1,
			      .next = *chain};
	*chain = node;
	nodes->by_number[number - 1] = node;
	return node;
}

static void drop_fd(struct nodes *nodes, struct node *node)
{
	nodes->n_fds -= node->fd >= 0;
	close_fdp(&node->fd);
}

/* Out of the table. Returns its folder, which has a user less. */
static struct node *drop(struct nodes *nodes, struct node *node)
{
	struct node **at = &nodes->table[bucket_of(node->dev, node->ino)];
	struct node *folder = node->folder;

	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	nodes->by_number[node->number - 1] = NULL;
	nodes->free_numbers[nodes->n_free++] = node->number;
	drop_fd(nodes, node);
	free(node->name);
	free(node);
	if (folder)
		folder->n_users--;
	return folder;
}

/* Frees what nobody needs any more, and then maybe the folder that it was in. */
static void drop_unneeded(struct nodes *nodes, struct node *node)
{
	while (node && node != nodes->root && node->n_lookups == 0 && node->n_users == 0)
		node = drop(nodes, node);
}

int nodes_new(struct nodes **out, int root_fd)
{
	struct nodes *nodes = calloc(1, sizeof(*nodes));
	struct stat st;
	int r = nodes ? stat_fd(root_fd, &st) : -ENOMEM;

	if (r == 0 && !S_ISDIR(st.st_mode))
		r = -ENOTDIR;
	if (r == 0)
		nodes->root = add(nodes, &st);
	if (r < 0 || !nodes->root) {
		close(root_fd);
		free(nodes);
		return r < 0 ? r : -ENOMEM;
	}
	nodes->root->fd = root_fd;
	nodes->n_fds = 1;
	*out = nodes;
	return 0;
}

void nodes_forget_all(struct nodes *nodes)
{
	for (uint32_t i = 1; i < nodes->n_used; i++)
		if (nodes->by_number[i])
			nodes->by_number[i]->n_lookups = 0;
	for (uint32_t i = 1; i < nodes->n_used; i++)
		drop_unneeded(nodes, nodes->by_number[i]);
}

struct nodes *nodes_free(struct nodes *nodes)
{
	if (!nodes)
		return NULL;
	nodes_forget_all(nodes);
	drop(nodes, nodes->root);
	free(nodes);
	return NULL;
}

struct node *nodes_get(const struct nodes *nodes, uint64_t number)
{
	return number >= 1 && number <= NODES_MAX ? nodes->by_number[number - 1] : NULL;
}

/* A folder cannot be in itself, however the host moves things about: such a ring would never be
 * freed. */
static bool is_in(const struct node *folder, const struct node *node)
{
	for (; folder; folder = folder->folder)
		if (folder == node)
			return true;
	return false;
}

static bool is_at(const struct node *node, const struct node *folder, const char *name)
{
	return node->folder == folder && strcmp(node->name, name) == 0;
}

static int move_to(struct nodes *nodes, struct node *node, struct node *folder, const char *name)
{
	struct node *old = node->folder;
	char *copy;

	if (node == nodes->root || is_in(folder, node))
		return -ELOOP;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	free(node->name);
	node->name = copy;
	node->folder = folder;
	folder->n_users++;
	if (old)
		nodes_unuse(nodes, old);
	return 0;
}

/* This is where it was seen last. A file that has a name needs no descriptor. */
static int set_place(struct nodes *nodes, struct node *node, struct node *folder, const char *name)
{
	int r = is_at(node, folder, name) ? 0 : move_to(nodes, node, folder, name);

	if (r == 0 && !S_ISDIR(node->type))
		drop_fd(nodes, node);
	return r;
}

/* #syscalls fs.own: openat(_, _, O_PATH|O_NOFOLLOW|O_CLOEXEC) close */
/* Gives a node its descriptor, which must be of the same file. Returns 0 or a negative errno. */
static int open_path(struct nodes *nodes, struct node *node, int folder_fd, const char *name)
{
	_cleanup_(close_fdp) int fd = -1;
	struct stat st;
	int r;

	if (nodes->n_fds >= NODES_FDS_MAX)
		return -ENFILE;
	fd = openat(folder_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = stat_fd(fd, &st);
	if (r == 0 && !is_same(node, &st))
		r = -ESTALE;
	if (r < 0)
		return r;
	node->fd = steal_fd(&fd);
	nodes->n_fds++;
	return 0;
}

bool nodes_have_room(const struct nodes *nodes, bool for_folder)
{
	return (nodes->n_free || nodes->n_used < NODES_MAX) &&
	       (!for_folder || nodes->n_fds < NODES_FDS_MAX);
}

int nodes_look_up(struct nodes *nodes, struct node *folder, const char *name, struct node **out,
		  struct stat *st)
{
	struct node *node;
	int r = stat_name(folder->fd, name, st);

	if (r < 0)
		return r;
	node = find(nodes, st);
	if (!node)
		node = add(nodes, st);
	if (!node)
		return -ENFILE;
	r = set_place(nodes, node, folder, name);
	if (r == 0 && S_ISDIR(node->type) && node->fd < 0)
		r = open_path(nodes, node, folder->fd, name);
	if (r < 0) {
		drop_unneeded(nodes, node);
		return r;
	}
	node->n_lookups++;
	*out = node;
	return 0;
}

void nodes_forget(struct nodes *nodes, struct node *node, uint64_t n)
{
	node->n_lookups -= n < node->n_lookups ? n : node->n_lookups;
	drop_unneeded(nodes, node);
}

void nodes_use(struct node *node)
{
	node->n_users++;
}

void nodes_unuse(struct nodes *nodes, struct node *node)
{
	node->n_users--;
	drop_unneeded(nodes, node);
}

static int stat_place(const struct node *node, struct stat *st)
{
	int r;

	if (!node->folder)
		return -ESTALE;
	r = stat_name(node->folder->fd, node->name, st);
	if (r == -ENOENT || (r == 0 && !is_same(node, st)))
		return -ESTALE;
	return r;
}

int nodes_stat(const struct node *node, struct stat *st)
{
	if (node->fd >= 0)
		return stat_fd(node->fd, st);
	if (node->open_fd >= 0)
		return stat_fd(node->open_fd, st);
	return stat_place(node, st);
}

int nodes_place(const struct node *node, int *folder_fd, const char **name)
{
	struct stat st;
	int r = stat_place(node, &st);

	if (r < 0)
		return r;
	*folder_fd = node->folder->fd;
	*name = node->name;
	return 0;
}

/*
 * What should be a file may just have become a pipe or a device: nobody is waited for, and devices
 * cannot be opened on such a mount.
 *
 * #syscalls fs.own: openat(_, _, O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC)
 *	openat(_, _, O_NOFOLLOW|O_NONBLOCK|O_NOCTTY|O_CLOEXEC/0xFFEFEFFC)
 */
int nodes_open(const struct node *node, int flags)
{
	int wanted = flags & (O_ACCMODE | O_SYNC | O_DSYNC);
	_cleanup_(close_fdp) int fd = -1;
	struct stat st;
	int r;

	if (S_ISDIR(node->type)) {
		fd = openat(node->fd, ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		return fd < 0 ? -errno : steal_fd(&fd);
	}
	if (!S_ISREG(node->type))
		return -EPERM;
	if (!node->folder || node->fd >= 0)
		return -ESTALE;
	fd = openat(node->folder->fd, node->name,
		    wanted | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP ? -ESTALE : -errno;
	r = stat_fd(fd, &st);
	if (r == 0 && !is_same(node, &st))
		r = -ESTALE;
	return r < 0 ? r : steal_fd(&fd);
}

struct node *nodes_pin(struct nodes *nodes, const struct node *folder, const char *name)
{
	struct node *node;
	struct stat st;

	if (stat_name(folder->fd, name, &st) < 0)
		return NULL;
	node = find(nodes, &st);
	if (!node || node->fd >= 0 || !is_at(node, folder, name))
		return NULL;
	return open_path(nodes, node, folder->fd, name) == 0 ? node : NULL;
}

void nodes_unpin(struct nodes *nodes, struct node *pinned, bool is_gone)
{
	if (pinned && !is_gone)
		drop_fd(nodes, pinned);
}

void nodes_moved(struct nodes *nodes, struct node *folder, const char *name)
{
	struct node *node;
	struct stat st;

	if (stat_name(folder->fd, name, &st) < 0)
		return;
	node = find(nodes, &st);
	if (node)
		set_place(nodes, node, folder, name);
}
