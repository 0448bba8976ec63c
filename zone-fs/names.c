// SPDX-License-Identifier: Apache-2.0
/* What is done by name: the request's node is a folder, and links are never followed. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "zone-fs/request.h"

/*
 * Of a mode these bits count: a program that runs with its owner's rights would be a way to them,
 * for whoever can reach the folder on the host. The filter knows it, too: no call of this process
 * may carry the other bits.
 */
#define MODE_BITS 01777u

/* The folder of a request by name, and the name. Returns 0 or a negative errno. */
static int take_entry(struct request *request, const char **name)
{
	if (!S_ISDIR(request->node->type))
		return -ENOTDIR;
	*name = request_take_name(request);
	return *name ? 0 : -EINVAL;
}

/* The same behind arguments of a fixed length. */
static int take_entry_after(struct request *request, void *in, size_t len, const char **name)
{
	return request_take(request, in, len) < 0 ? -EINVAL : take_entry(request, name);
}

/* Of what the guest could not be told nothing is made. */
static int check_room(const struct request *request, bool for_folder)
{
	return nodes_have_room(request->fs->nodes, for_folder) ? 0 : -ENFILE;
}

static int answer_entry(struct request *request, const char *name)
{
	struct fuse_entry_out out;
	struct node *node;
	int r = fs_fill_entry(request, name, &out, &node);

	if (r < 0)
		return r;
	memcpy(request->answer, &out, sizeof(out));
	return (int)sizeof(out);
}

int fs_lookup(struct request *request)
{
	const char *name;
	int r = take_entry(request, &name);

	return r < 0 ? r : answer_entry(request, name);
}

/*
 * #syscalls fs: readlinkat symlinkat mknodat(_, _, !026000, 0) unlinkat
 * #syscalls fs.own: mkdirat(_, _, !06000)
 */
int fs_readlink(struct request *request)
{
	int folder_fd, r;
	const char *name;
	ssize_t n;

	if (!S_ISLNK(request->node->type))
		return -EINVAL;
	r = nodes_place(request->node, &folder_fd, &name);
	if (r < 0)
		return r;
	n = readlinkat(folder_fd, name, (char *)request->answer, PATH_MAX);
	return n < 0 ? -errno : (int)n;
}

int fs_symlink(struct request *request)
{
	const char *name, *target;
	int r = take_entry(request, &name);

	if (r < 0)
		return r;
	/* The rest is one text; what it means is up to who follows it. */
	target = (const char *)request->args;
	if (strnlen(target, request->left) == request->left)
		return -EINVAL;
	r = check_room(request, false);
	if (r < 0)
		return r;
	return symlinkat(target, request->node->fd, name) < 0 ? -errno
							      : answer_entry(request, name);
}

int fs_mknod(struct request *request)
{
	struct fuse_mknod_in in;
	const char *name;
	int r = take_entry_after(request, &in, sizeof(in), &name);

	if (r < 0)
		return r;
	if (!S_ISREG(in.mode) && !S_ISFIFO(in.mode) && !S_ISSOCK(in.mode))
		return -EPERM;
	r = check_room(request, false);
	if (r < 0)
		return r;
	return mknodat(request->node->fd, name, in.mode & (S_IFMT | MODE_BITS), 0) < 0
		       ? -errno
		       : answer_entry(request, name);
}

int fs_mkdir(struct request *request)
{
	struct fuse_mkdir_in in;
	const char *name;
	int r = take_entry_after(request, &in, sizeof(in), &name);

	if (r == 0)
		r = check_room(request, true);
	if (r < 0)
		return r;
	return mkdirat(request->node->fd, name, in.mode & MODE_BITS) < 0
		       ? -errno
		       : answer_entry(request, name);
}

static int remove_entry(struct request *request, int flags)
{
	struct node *pinned;
	const char *name;
	int r = take_entry(request, &name);

	if (r < 0)
		return r;
	pinned = nodes_pin(request->fs->nodes, request->node, name);
	r = unlinkat(request->node->fd, name, flags) < 0 ? -errno : 0;
	nodes_unpin(request->fs->nodes, pinned, r == 0);
	return r;
}

int fs_unlink(struct request *request)
{
	return remove_entry(request, 0);
}

int fs_rmdir(struct request *request)
{
	return remove_entry(request, AT_REMOVEDIR);
}

/* #syscalls fs: renameat renameat2 linkat(_, _, _, _, 0) */
static int rename_entry(struct request *request, uint64_t to_number, unsigned flags)
{
	struct nodes *nodes = request->fs->nodes;
	struct node *from = request->node, *to = nodes_get(nodes, to_number), *pinned = NULL;
	const char *name, *new_name;
	int r = take_entry(request, &name);

	if (r < 0)
		return r;
	new_name = request_take_name(request);
	if (!new_name || (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)))
		return -EINVAL;
	if (!to || !S_ISDIR(to->type))
		return -ESTALE;
	if (!(flags & RENAME_EXCHANGE))
		pinned = nodes_pin(nodes, to, new_name);
	r = renameat2(from->fd, name, to->fd, new_name, flags) < 0 ? -errno : 0;
	nodes_unpin(nodes, pinned, r == 0);
	if (r == 0)
		nodes_moved(nodes, to, new_name);
	if (r == 0 && (flags & RENAME_EXCHANGE))
		nodes_moved(nodes, from, name);
	return r;
}

int fs_rename(struct request *request)
{
	struct fuse_rename_in in;

	if (request_take(request, &in, sizeof(in)) < 0)
		return -EINVAL;
	return rename_entry(request, in.newdir, 0);
}

int fs_rename2(struct request *request)
{
	struct fuse_rename2_in in;

	if (request_take(request, &in, sizeof(in)) < 0)
		return -EINVAL;
	return rename_entry(request, in.newdir, in.flags);
}

/* Here the request's node is the folder, and the file is named by its number. */
int fs_link(struct request *request)
{
	struct fuse_link_in in;
	const char *name, *old_name;
	struct node *old;
	int old_fd, r = take_entry_after(request, &in, sizeof(in), &name);

	if (r < 0)
		return r;
	old = nodes_get(request->fs->nodes, in.oldnodeid);
	r = old ? nodes_place(old, &old_fd, &old_name) : -ESTALE;
	if (r < 0)
		return r;
	return linkat(old_fd, old_name, request->node->fd, name, 0) < 0
		       ? -errno
		       : answer_entry(request, name);
}

/*
 * #syscalls fs.own: openat(_, _,
 *	O_CREAT|O_NOFOLLOW|O_NONBLOCK|O_NOCTTY|O_CLOEXEC/0xFFEFEF7C, !06000)
 */
static int create(struct request *request, const char *name, const struct fuse_create_in *in)
{
	/* The access mode of a new file is not bound by its mode: it is open at once. */
	unsigned flags = in->flags & (O_ACCMODE | O_EXCL | O_SYNC | O_DSYNC);
	int fd = openat(request->node->fd, name,
			(int)flags | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
			in->mode & MODE_BITS);

	return fd < 0 ? -errno : fd;
}

/* Whether what was opened is what the node stands for. */
static int check_same(const struct node *node, int fd)
{
	struct stat st;

	if (fstatat(fd, "", &st, AT_EMPTY_PATH) < 0)
		return -errno;
	return S_ISREG(st.st_mode) && st.st_dev == node->dev && st.st_ino == node->ino ? 0
										       : -ESTALE;
}

int fs_create(struct request *request)
{
	_cleanup_(close_fdp) int fd = -1;
	struct fuse_entry_out entry;
	struct fuse_open_out out = {0};
	struct fuse_create_in in;
	struct node *node;
	const char *name;
	int r = take_entry_after(request, &in, sizeof(in), &name);

	if (r == 0)
		r = fs_has_handle_left(request->fs) ? check_room(request, false) : -ENFILE;
	if (r < 0)
		return r;
	fd = create(request, name, &in);
	if (fd < 0)
		return fd;
	r = fs_fill_entry(request, name, &entry, &node);
	if (r < 0)
		return r;
	r = check_same(node, fd);
	if (r == 0 && (in.flags & O_TRUNC) && ftruncate(fd, 0) < 0)
		r = -errno;
	if (r == 0)
		r = fs_open_handle(request->fs, node, steal_fd(&fd), &out.fh);
	if (r < 0) {
		nodes_forget(request->fs->nodes, node, 1);
		return r;
	}
	memcpy(request->answer, &entry, sizeof(entry));
	memcpy(request->answer + sizeof(entry), &out, sizeof(out));
	return (int)(sizeof(entry) + sizeof(out));
}
