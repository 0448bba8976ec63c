// SPDX-License-Identifier: Apache-2.0
/* What is done with open files and folders, by the number of a handle. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/param.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "zone-fs/request.h"

#define DIRENTS_MAX (32u * 1024) /* read at once */

/* getdents64(2). */
struct dirent64_head {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
};

#define DIRENT_NAME (offsetof(struct dirent64_head, type) + 1)

static int open_node(struct request *request)
{
	struct fuse_open_in in;
	struct fuse_open_out out = {0};
	int fd, r = request_take(request, &in, sizeof(in));

	if (r < 0)
		return r;
	if (request->fs->read_only && (in.flags & O_ACCMODE) != O_RDONLY)
		return -EROFS;
	fd = nodes_open(request->node, (int)in.flags);
	if (fd < 0)
		return fd;
	r = fs_open_handle(request->fs, request->node, fd, &out.fh);
	if (r < 0)
		return r;
	memcpy(request->answer, &out, sizeof(out));
	return (int)sizeof(out);
}

/* O_TRUNC does not come: the guest's kernel asks for it by SETATTR. O_APPEND is the guest's, too:
 * it says where each write goes, and what it writes back of a mapping must not go to the end. */
int fs_open(struct request *request)
{
	return S_ISDIR(request->node->type) ? -EISDIR : open_node(request);
}

int fs_opendir(struct request *request)
{
	return S_ISDIR(request->node->type) ? open_node(request) : -ENOTDIR;
}

/* #syscalls fs: pread64 pwrite64 fsync fdatasync fallocate
 *	lseek(_, _, SEEK_SET) lseek(_, _, SEEK_DATA) lseek(_, _, SEEK_HOLE) getdents64 */
int fs_read(struct request *request)
{
	struct fuse_read_in in;
	const struct handle *handle;
	ssize_t n;

	if (request_take(request, &in, sizeof(in)) < 0 || in.size > FS_IO_MAX ||
	    in.offset > INT64_MAX)
		return -EINVAL;
	handle = fs_handle(request->fs, in.fh, false);
	if (!handle)
		return -EBADF;
	n = pread(handle->fd, request->answer, in.size, (off_t)in.offset);
	return n < 0 ? -errno : (int)n;
}

int fs_write(struct request *request)
{
	struct fuse_write_out out = {0};
	struct fuse_write_in in;
	const struct handle *handle;
	ssize_t n;

	if (request_take(request, &in, sizeof(in)) < 0 || in.size > request->left ||
	    in.size > FS_IO_MAX || in.offset > INT64_MAX)
		return -EINVAL;
	handle = fs_handle(request->fs, in.fh, false);
	if (!handle)
		return -EBADF;
	n = pwrite(handle->fd, request->args, in.size, (off_t)in.offset);
	if (n < 0)
		return -errno;
	out.size = (uint32_t)n;
	memcpy(request->answer, &out, sizeof(out));
	return (int)sizeof(out);
}

/* One entry of the kernel's as the guest wants it, if there is room for it. Returns its length or
 * 0. */
static size_t put_dirent(const struct node *folder, const struct dirent64_head *head,
			 const char *name, uint8_t *to, size_t room)
{
	struct fuse_dirent out = {.ino = head->ino,
				  .off = (uint64_t)head->off,
				  .namelen = (uint32_t)strlen(name),
				  .type = head->type};
	size_t len = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + out.namelen);

	if (len > room)
		return 0;
	/* What is above the folder that is shared is not the guest's business. */
	if (!folder->folder && strcmp(name, "..") == 0)
		out.ino = folder->ino;
	memset(to, 0, len);
	memcpy(to, &out, FUSE_NAME_OFFSET);
	memcpy(to + FUSE_NAME_OFFSET, name, out.namelen);
	return len;
}

static int put_dirents(const struct node *folder, const uint8_t *list, size_t n, uint8_t *to,
		       size_t room)
{
	size_t used = 0, len;

	for (size_t at = 0; at < n;) {
		struct dirent64_head head;

		memcpy(&head, list + at, DIRENT_NAME);
		len = put_dirent(folder, &head, (const char *)list + at + DIRENT_NAME, to + used,
				 room - used);
		if (!len)
			break;
		used += len;
		at += head.len;
	}
	/* An end of the list that is none. */
	return n && !used ? -EINVAL : (int)used;
}

/* Reads from where the guest says, which may be anywhere: the kernel checks it. */
int fs_readdir(struct request *request)
{
	uint8_t list[DIRENTS_MAX];
	const struct handle *handle;
	struct fuse_read_in in;
	long n;

	if (request_take(request, &in, sizeof(in)) < 0 || in.size > FS_IO_MAX)
		return -EINVAL;
	handle = fs_handle(request->fs, in.fh, true);
	if (!handle)
		return -EBADF;
	if (lseek(handle->fd, (off_t)in.offset, SEEK_SET) < 0)
		return -errno;
	n = syscall(SYS_getdents64, handle->fd, list, MIN(in.size, (uint32_t)sizeof(list)));
	return n < 0 ? -errno
		     : put_dirents(handle->node, list, (size_t)n, request->answer, in.size);
}

static int release(struct request *request, bool is_folder)
{
	struct fuse_release_in in;
	struct handle *handle;

	if (request_take(request, &in, sizeof(in)) < 0)
		return -EINVAL;
	handle = fs_handle(request->fs, in.fh, is_folder);
	if (!handle)
		return -EBADF;
	fs_close_handle(request->fs, handle);
	return 0;
}

int fs_release(struct request *request)
{
	return release(request, false);
}

int fs_releasedir(struct request *request)
{
	return release(request, true);
}

int fs_fsync(struct request *request)
{
	bool is_folder = request->header.opcode == FUSE_FSYNCDIR;
	const struct handle *handle;
	struct fuse_fsync_in in;
	int r;

	if (request_take(request, &in, sizeof(in)) < 0)
		return -EINVAL;
	handle = fs_handle(request->fs, in.fh, is_folder);
	if (!handle)
		return -EBADF;
	r = in.fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(handle->fd) : fsync(handle->fd);
	return r < 0 ? -errno : 0;
}

int fs_fallocate(struct request *request)
{
	const uint32_t modes = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
	struct fuse_fallocate_in in;
	const struct handle *handle;

	if (request_take(request, &in, sizeof(in)) < 0 || in.offset > INT64_MAX ||
	    in.length > INT64_MAX)
		return -EINVAL;
	if (in.mode & ~modes)
		return -EOPNOTSUPP;
	handle = fs_handle(request->fs, in.fh, false);
	if (!handle)
		return -EBADF;
	return fallocate(handle->fd, (int)in.mode, (off_t)in.offset, (off_t)in.length) < 0 ? -errno
											   : 0;
}

/* Only what the guest cannot know: where data and holes are. */
int fs_lseek(struct request *request)
{
	struct fuse_lseek_in in;
	struct fuse_lseek_out out;
	const struct handle *handle;
	off_t at;

	if (request_take(request, &in, sizeof(in)) < 0 || in.offset > INT64_MAX ||
	    (in.whence != SEEK_DATA && in.whence != SEEK_HOLE))
		return -EINVAL;
	handle = fs_handle(request->fs, in.fh, false);
	if (!handle)
		return -EBADF;
	at = lseek(handle->fd, (off_t)in.offset, (int)in.whence);
	if (at < 0)
		return -errno;
	out.offset = (uint64_t)at;
	memcpy(request->answer, &out, sizeof(out));
	return (int)sizeof(out);
}
