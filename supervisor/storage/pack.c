// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/pack.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "supervisor/storage/child.h"
#include "supervisor/storage/layers_emit.h"

#define PIPE_SIZE  (1024 * 1024)
#define CHUNK_SIZE (256u * 1024)
#define OUTPUT_MAX (64u * 1024)
/* What mksquashfs may hold in memory; its own default is a quarter of the machine's. */
#define MKSQUASHFS_MEMORY "256M"

/* squashfs_fs.h: 64-bit words of the superblock, inode types, the place of an inode's time. */
#define SUPER_ROOT_INODE      4
#define SUPER_INODE_TABLE     8
#define METADATA_UNCOMPRESSED 0x8000
#define INODE_DIR	      1
#define INODE_LARGE_DIR	      8
#define INODE_MTIME	      8

struct pack {
	struct archive *tar;
	int fd; /* borrowed: the pipe to mksquashfs */
	int failure;
	struct job *job;
	uint64_t done;
	char *chunk;
};

/*
 * libarchive leaks what it holds when a write fails for good, so it is told that all is well;
 * `failure` says what is. What comes after a failure is thrown away.
 */
static la_ssize_t write_out(struct archive *tar, void *context, const void *data, size_t len)
{
	struct pack *pack = context;

	(void)tar;
	if (pack->failure == 0)
		pack->failure = io_write_full(pack->fd, data, len);
	return (la_ssize_t)len;
}

/* Checks a libarchive call and what its writes met. -EPIPE goes up without a text: mksquashfs says
 * why, see explain(). */
static int check_write(struct pack *pack, int r, struct error *err)
{
	if (r < ARCHIVE_WARN)
		return error_set(err, -EIO, "cannot write the merged tar: %s",
				 archive_error_string(pack->tar));
	if (pack->failure == -EPIPE)
		return -EPIPE;
	return pack->failure ? error_set_errno(err, pack->failure, "cannot write the merged tar")
			     : 0;
}

static int put_header(struct pack *pack, struct archive_entry *entry, struct error *err)
{
	return check_write(pack, archive_write_header(pack->tar, entry), err);
}

/* squashfs keeps unsigned 32-bit seconds. */
static int64_t clamp_mtime(int64_t mtime_s)
{
	return mtime_s < 0 ? 0 : mtime_s > UINT32_MAX ? UINT32_MAX : mtime_s;
}

static int put_dir(struct pack *pack, const struct layers_node *node, struct error *err)
{
	const struct layers_dir *dir = &node->inode->dir;
	struct archive_entry *entry = archive_entry_new();
	char path[LAYERS_PATH_MAX];
	int r;

	if (!entry)
		return error_set(err, -ENOMEM, "out of memory");
	layers_path(node, path);
	archive_entry_set_pathname(entry, path);
	archive_entry_set_mode(entry, S_IFDIR | (dir->mode & 07777));
	archive_entry_set_uid(entry, dir->uid);
	archive_entry_set_gid(entry, dir->gid);
	archive_entry_set_mtime(entry, clamp_mtime(dir->mtime_s), 0);
	if (dir->xattrs)
		layers_copy_xattrs(dir->xattrs, entry);
	r = put_header(pack, entry, err);
	archive_entry_free(entry);
	return r;
}

static int put_dirs(struct pack *pack, struct layers_plan *plan, struct error *err)
{
	int r = 0;

	for (struct layers_node *n = layers_next(layers_plan_root(plan)); n && r == 0;
	     n = layers_next(n))
		if (S_ISDIR(n->inode->type))
			r = put_dir(pack, n, err);
	return r;
}

static int put_data(struct pack *pack, struct layer_reader *reader, uint64_t size,
		    struct error *err)
{
	while (size) {
		size_t want = size < CHUNK_SIZE ? (size_t)size : CHUNK_SIZE;
		ssize_t n = layer_reader_data(reader, pack->chunk, want, err);
		int r;

		if (n < 0)
			return (int)n;
		if (n == 0)
			return error_set(err, -EBADMSG, "a file ends before its size");
		r = check_write(pack,
				archive_write_data(pack->tar, pack->chunk, (size_t)n) == n
					? 0
					: ARCHIVE_FATAL,
				err);
		if (r < 0)
			return r;
		size -= (uint64_t)n;
		pack->done += (uint64_t)n;
		if (job_progress(pack->job, "packing", pack->done, 0) < 0)
			return error_set(err, -ECANCELED, "cancelled");
	}
	return 0;
}

/* A new entry with only what we let through: no flags, ACLs, times but mtime, or names of users. */
static struct archive_entry *clean_copy(struct archive_entry *from, const char *path)
{
	struct archive_entry *to = archive_entry_new();

	if (!to)
		return NULL;
	archive_entry_set_pathname(to, path);
	archive_entry_set_mode(to,
			       archive_entry_filetype(from) | (archive_entry_perm(from) & 07777));
	archive_entry_set_uid(to, archive_entry_uid(from));
	archive_entry_set_gid(to, archive_entry_gid(from));
	archive_entry_set_mtime(to, clamp_mtime(archive_entry_mtime(from)), 0);
	if (archive_entry_filetype(from) == S_IFREG)
		archive_entry_set_size(to, archive_entry_size(from));
	else
		archive_entry_set_size(to, 0);
	if (archive_entry_filetype(from) == S_IFLNK)
		archive_entry_copy_symlink(to, archive_entry_symlink(from));
	if (archive_entry_filetype(from) == S_IFCHR || archive_entry_filetype(from) == S_IFBLK) {
		archive_entry_set_rdevmajor(to, archive_entry_rdevmajor(from));
		archive_entry_set_rdevminor(to, archive_entry_rdevminor(from));
	}
	layers_copy_xattrs(from, to);
	return to;
}

static int put_links(struct pack *pack, const char *target, struct layers_node *const *names,
		     uint32_t n, struct error *err)
{
	struct archive_entry *entry = archive_entry_new();
	char path[LAYERS_PATH_MAX];
	int r = entry ? 0 : error_set(err, -ENOMEM, "out of memory");

	for (uint32_t i = 0; i < n && r == 0; i++) {
		layers_path(names[i], path);
		archive_entry_clear(entry);
		archive_entry_set_pathname(entry, path);
		archive_entry_set_mode(entry, S_IFREG | 0644);
		archive_entry_set_hardlink(entry, target);
		archive_entry_set_size(entry, 0);
		r = put_header(pack, entry, err);
	}
	archive_entry_free(entry);
	return r;
}

static int put_entry(void *context, struct layers_node *const *names, uint32_t n,
		     struct archive_entry *from, struct layer_reader *reader, struct error *err)
{
	struct pack *pack = context;
	char path[LAYERS_PATH_MAX];
	struct archive_entry *entry;
	int r;

	layers_path(names[0], path);
	entry = clean_copy(from, path);
	if (!entry)
		return error_set(err, -ENOMEM, "out of memory");
	r = put_header(pack, entry, err);
	if (r == 0 && archive_entry_filetype(from) == S_IFREG)
		r = put_data(pack, reader, (uint64_t)archive_entry_size(from), err);
	archive_entry_free(entry);
	return r < 0 ? r : put_links(pack, path, names + 1, n - 1, err);
}

static int write_tar(struct pack *pack, struct layers_plan *plan, const int *fds, uint32_t n,
		     uint64_t *budget, struct error *err)
{
	const struct layers_sink sink = {.entry = put_entry, .context = pack};
	int r;

	archive_write_set_format_pax_restricted(pack->tar);
	/* Names as bytes, and attributes in the one form that mksquashfs reads without looking for
	 * the other. */
	if (archive_write_set_options(pack->tar, "hdrcharset=BINARY,xattrheader=SCHILY") !=
	    ARCHIVE_OK)
		return error_set(err, -EIO, "libarchive: %s", archive_error_string(pack->tar));
	archive_write_set_bytes_per_block(pack->tar, 64 * 1024);
	r = check_write(pack, archive_write_open(pack->tar, pack, NULL, write_out, NULL), err);
	if (r == 0)
		r = put_dirs(pack, plan, err);
	if (r == 0)
		r = layers_emit(plan, fds, n, budget, &sink, err);
	if (r == 0)
		r = check_write(pack, archive_write_close(pack->tar), err);
	if (r < 0 && pack->failure == 0)
		pack->failure = r; /* whatever libarchive still has to say is not for mksquashfs */
	return r;
}

/* Turns what mksquashfs printed into an error: its last line that says something. */
static int explain(int log_fd, int status, struct error *err)
{
	_cleanup_(freep) char *text = NULL;
	char *line = NULL;
	size_t len = 0;

	if (status == CHILD_NOT_RUN)
		return error_set(err, -ENOENT, "mksquashfs cannot be run; install squashfs-tools");
	if (lseek(log_fd, 0, SEEK_SET) == 0 && io_read_fd(log_fd, OUTPUT_MAX, &text, &len) == 0) {
		if (strstr(text, strerror(ENOSPC)))
			return -ENOSPC;
		for (char *save = NULL, *l = strtok_r(text, "\n", &save); l;
		     l = strtok_r(NULL, "\n", &save))
			if (strncmp(l, "FATAL", 5) == 0 || !line)
				line = l;
	}
	return error_set(err, -EIO, "mksquashfs ended with %d: %.200s", status,
			 line ? line : "no reason given");
}

/* The inode table stays uncompressed so that set_root_mtime() can reach it; it is small, and zones
 * read it faster. */
static int start(struct child *child, const char *out, const struct layers_dir *root, int in_fd,
		 int log_fd, struct error *err)
{
	char mode[16], uid[16], gid[16];
	const char *const argv[] = {"mksquashfs",
				    "-",
				    out,
				    "-tar",
				    "-noappend",
				    "-quiet",
				    "-no-progress",
				    "-noI",
				    "-comp",
				    "lz4",
				    "-mkfs-time",
				    "0",
				    "-mem",
				    MKSQUASHFS_MEMORY,
				    "-root-mode",
				    mode,
				    "-root-uid",
				    uid,
				    "-root-gid",
				    gid,
				    NULL};

	/* Without these the root folder would be 0777. */
	snprintf(mode, sizeof(mode), "%o", root->mode & 07777);
	snprintf(uid, sizeof(uid), "%u", root->uid);
	snprintf(gid, sizeof(gid), "%u", root->gid);
	return child_start(child, argv, in_fd, log_fd, log_fd, err);
}

/*
 * mksquashfs 4.5 ignores -root-time when it reads a tar, and stamps the root folder with the time
 * of day: equal images would differ. The layout is that of the kernel's fs/squashfs/squashfs_fs.h:
 * the superblock names the root inode as block << 16 | offset in the inode table, each block of
 * which has a 16-bit header with bit 15 set if it is not compressed.
 */
static int set_root_mtime(const char *out, int64_t mtime_s)
{
	_cleanup_(close_fdp) int fd = open(out, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	uint64_t super[12], block;
	uint16_t header, type;
	uint32_t mtime = htole32((uint32_t)clamp_mtime(mtime_s));

	if (fd < 0 || io_pread_full(fd, super, sizeof(super), 0) != sizeof(super))
		return -EIO;
	block = le64toh(super[SUPER_INODE_TABLE]) + (le64toh(super[SUPER_ROOT_INODE]) >> 16);
	if (io_pread_full(fd, &header, sizeof(header), block) != sizeof(header) ||
	    !(le16toh(header) & METADATA_UNCOMPRESSED))
		return -EIO;
	block += sizeof(header) + (le64toh(super[SUPER_ROOT_INODE]) & 0xffff);
	if (io_pread_full(fd, &type, sizeof(type), block) != sizeof(type) ||
	    (le16toh(type) != INODE_DIR && le16toh(type) != INODE_LARGE_DIR))
		return -EIO;
	return pwrite(fd, &mtime, sizeof(mtime), (off_t)block + INODE_MTIME) == sizeof(mtime)
		       ? 0
		       : -EIO;
}

/* #syscalls storage: memfd_create pipe2 fcntl(_, F_SETPIPE_SZ) openat pwrite64 close unlink */
static int run(struct pack *pack, struct layers_plan *plan, const int *fds, uint32_t n,
	       uint64_t *budget, const char *out, struct error *err)
{
	_cleanup_(close_fdp) int log_fd = memfd_create("mksquashfs", MFD_CLOEXEC);
	_cleanup_(close_fdp) int from = -1;
	_cleanup_(close_fdp) int to = -1;
	int pipe_fds[2], r, status;
	struct child child;

	if (log_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
		return error_set_errno(err, -errno, "cannot make a pipe");
	from = pipe_fds[0];
	to = pipe_fds[1];
	fcntl(to, F_SETPIPE_SZ, PIPE_SIZE); /* only faster */
	r = start(&child, out, &layers_plan_root(plan)->inode->dir, from, log_fd, err);
	if (r < 0)
		return r;
	close_fdp(&from);
	pack->fd = to;
	r = write_tar(pack, plan, fds, n, budget, err);
	pack->failure = r < 0 ? r : -EPIPE; /* the pipe is about to be closed */
	if (r < 0 && r != -EPIPE) {
		child_kill(&child);
		return r;
	}
	close_fdp(&to);
	status = child_wait(&child);
	if (status || r < 0)
		return explain(log_fd, status, err);
	r = set_root_mtime(out, layers_plan_root(plan)->inode->dir.mtime_s);
	return r < 0 ? error_set(err, r, "mksquashfs wrote what we do not understand") : 0;
}

int pack_squashfs(struct layers_plan *plan, const int *fds, uint32_t n, uint64_t *budget,
		  const char *out, struct job *job, struct error *err)
{
	struct pack pack = {.tar = archive_write_new(), .job = job, .chunk = malloc(CHUNK_SIZE)};
	int r;

	if (pack.tar && pack.chunk)
		r = run(&pack, plan, fds, n, budget, out, err);
	else
		r = error_set(err, -ENOMEM, "out of memory");
	archive_write_free(pack.tar);
	free(pack.chunk);
	if (r < 0)
		unlink(out);
	return r;
}
