// SPDX-License-Identifier: Apache-2.0
/* Attributes of files, and of the file system. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/param.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "zone-fs/request.h"

#define MODE_BITS 01777u

static int answer_attr(struct request *request)
{
	struct fuse_attr_out out = {.attr_valid = FS_VALID_S};
	struct stat st;
	int r = nodes_stat(request->node, &st);

	if (r < 0)
		return r;
	fs_fill_attr(request->fs, &st, &out.attr);
	memcpy(request->answer, &out, sizeof(out));
	return (int)sizeof(out);
}

int fs_getattr(struct request *request)
{
	return answer_attr(request);
}

/* Everything belongs to root already, and to nobody else it can be given. */
static bool changes_owner(const struct fuse_setattr_in *in)
{
	return ((in->valid & FATTR_UID) && in->uid != 0) ||
	       ((in->valid & FATTR_GID) && in->gid != 0);
}

static bool is_time(const struct fuse_setattr_in *in, uint32_t set, uint32_t ns)
{
	return !(in->valid & set) || ns < 1000000000;
}

/* What can be refused without trying. */
static int check(const struct fuse_setattr_in *in)
{
	if (changes_owner(in) || ((in->valid & FATTR_MODE) && (in->mode & (S_ISUID | S_ISGID))))
		return -EPERM;
	if ((in->valid & FATTR_SIZE) && in->size > INT64_MAX)
		return -EFBIG;
	return is_time(in, FATTR_ATIME, in->atimensec) && is_time(in, FATTR_MTIME, in->mtimensec)
		       ? 0
		       : -EINVAL;
}

/*
 * #syscalls fs: fchmod(_, !06000) ftruncate utimensat fstatfs
 * #syscalls fs.own: fchmodat(_, _, !06000)
 */
static int set_mode(const struct node *node, mode_t mode)
{
	const char *name;
	int folder_fd, r;

	mode &= MODE_BITS;
	if (node->open_fd >= 0)
		return fchmod(node->open_fd, mode) < 0 ? -errno : 0;
	if (!node->folder) /* the root, which has no other name */
		return fchmodat(node->fd, ".", mode, 0) < 0 ? -errno : 0;
	if (S_ISLNK(node->type))
		return -EOPNOTSUPP;
	/* Should a link be there by now, the mount does not follow it (isolate_open_folder()). */
	r = nodes_place(node, &folder_fd, &name);
	if (r < 0)
		return r;
	return fchmodat(folder_fd, name, mode, 0) < 0 ? -errno : 0;
}

/* What the size is set by: the descriptor of an open file (borrowed), or *opened. */
static int open_for_size(struct request *request, const struct fuse_setattr_in *in, int *opened)
{
	const struct handle *handle;

	if (in->valid & FATTR_FH) {
		handle = fs_handle(request->fs, in->fh, false);
		return handle ? handle->fd : -EBADF;
	}
	*opened = nodes_open(request->node, O_WRONLY);
	return *opened;
}

static struct timespec time_of(uint32_t valid, uint32_t set, uint32_t now, uint64_t s, uint32_t ns)
{
	if (!(valid & set))
		return (struct timespec){.tv_nsec = UTIME_OMIT};
	if (valid & now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	return (struct timespec){.tv_sec = (time_t)s, .tv_nsec = ns};
}

static int set_times(const struct node *node, const struct fuse_setattr_in *in)
{
	const struct timespec times[2] = {
		time_of(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		time_of(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec)};
	int fd = node->fd >= 0 ? node->fd : node->open_fd, r;
	const char *name = "";
	int flags = AT_EMPTY_PATH;

	if (fd < 0) {
		r = nodes_place(node, &fd, &name);
		if (r < 0)
			return r;
		flags = AT_SYMLINK_NOFOLLOW;
	}
	return utimensat(fd, name, times, flags) < 0 ? -errno : 0;
}

/* All that can fail for what was asked does so before anything is changed. */
int fs_setattr(struct request *request)
{
	_cleanup_(close_fdp) int opened = -1;
	struct fuse_setattr_in in;
	int fd = -1, r = request_take(request, &in, sizeof(in));

	if (r == 0)
		r = check(&in);
	if (r == 0 && (in.valid & FATTR_SIZE)) {
		fd = open_for_size(request, &in, &opened);
		r = MIN(fd, 0);
	}
	if (r == 0 && (in.valid & FATTR_MODE))
		r = set_mode(request->node, in.mode);
	if (r == 0 && (in.valid & FATTR_SIZE))
		r = ftruncate(fd, (off_t)in.size) < 0 ? -errno : 0;
	if (r == 0 && (in.valid & (FATTR_ATIME | FATTR_MTIME)))
		r = set_times(request->node, &in);
	return r < 0 ? r : answer_attr(request);
}

int fs_statfs(struct request *request)
{
	struct fuse_statfs_out out = {0};
	struct statfs st;
	int fd = request->node->fd >= 0 ? request->node->fd : request->node->folder->fd;

	if (fstatfs(fd, &st) < 0)
		return -errno;
	out.st = (struct fuse_kstatfs){.blocks = st.f_blocks,
				       .bfree = st.f_bfree,
				       .bavail = st.f_bavail,
				       .files = st.f_files,
				       .ffree = st.f_ffree,
				       .bsize = (uint32_t)st.f_bsize,
				       .namelen = (uint32_t)st.f_namelen,
				       .frsize = (uint32_t)st.f_frsize};
	memcpy(request->answer, &out, sizeof(out));
	return (int)sizeof(out);
}
