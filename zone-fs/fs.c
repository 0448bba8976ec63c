// SPDX-License-Identifier: Apache-2.0
#include "zone-fs/fs.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "zone-fs/request.h"

#define MINOR_MIN 31u /* the first that virtio-fs had */
#define NOBODY	  65534u
#define NO_ANSWER 1u /* flag of an operation */
#define WRITES	  2u /* refused where all is read-only */
#define NODELESS  4u /* its node id means nothing */

/* Of what the guest offers; all else it does without. */
#define INIT_FLAGS                                                                                 \
	(FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA | FUSE_PARALLEL_DIROPS |         \
	 FUSE_MAX_PAGES)

int request_take(struct request *request, void *out, size_t n)
{
	if (request->left < n)
		return -EINVAL;
	memcpy(out, request->args, n);
	request->args += n;
	request->left -= n;
	return 0;
}

const char *request_take_name(struct request *request)
{
	const char *name = (const char *)request->args;
	size_t len = strnlen(name, request->left);

	if (len == request->left || len == 0 || len > NODES_NAME_MAX || memchr(name, '/', len) ||
	    strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return NULL;
	request->args += len + 1;
	request->left -= len + 1;
	return name;
}

void fs_fill_attr(const struct fs *fs, const struct stat *st, struct fuse_attr *out)
{
	*out = (struct fuse_attr){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid == fs->uid ? 0 : NOBODY,
		.gid = st->st_gid == fs->gid ? 0 : NOBODY,
		.rdev = (uint32_t)st->st_rdev,
		.blksize = (uint32_t)st->st_blksize,
	};
}

int fs_fill_entry(struct request *request, const char *name, struct fuse_entry_out *out,
		  struct node **node)
{
	struct stat st;
	int r = nodes_look_up(request->fs->nodes, request->node, name, node, &st);

	if (r < 0)
		return r;
	*out = (struct fuse_entry_out){
		.nodeid = (*node)->number, .entry_valid = FS_VALID_S, .attr_valid = FS_VALID_S};
	fs_fill_attr(request->fs, &st, &out->attr);
	return 0;
}

bool fs_has_handle_left(const struct fs *fs)
{
	return fs->first_free < FS_HANDLES_MAX;
}

int fs_open_handle(struct fs *fs, struct node *node, int fd, uint64_t *number)
{
	uint32_t i = fs->first_free;

	if (!fs_has_handle_left(fs)) {
		close(fd);
		return -ENFILE;
	}
	fs->first_free = i < fs->n_handles ? fs->handles[i].next_free : ++fs->n_handles;
	fs->handles[i] = (struct handle){.fd = fd, .node = node, .is_folder = S_ISDIR(node->type)};
	nodes_use(node);
	if (!S_ISDIR(node->type) && node->open_fd < 0)
		node->open_fd = fd;
	*number = i;
	return 0;
}

struct handle *fs_handle(struct fs *fs, uint64_t number, bool is_folder)
{
	struct handle *handle = number < fs->n_handles ? &fs->handles[number] : NULL;

	return handle && handle->fd >= 0 && handle->is_folder == is_folder ? handle : NULL;
}

/* The node is still open by another handle, maybe. */
static int find_open_fd(const struct fs *fs, const struct node *node)
{
	for (uint32_t i = 0; i < fs->n_handles; i++)
		if (fs->handles[i].fd >= 0 && fs->handles[i].node == node)
			return fs->handles[i].fd;
	return -1;
}

void fs_close_handle(struct fs *fs, struct handle *handle)
{
	struct node *node = handle->node;
	int fd = handle->fd;

	close_fdp(&handle->fd);
	handle->next_free = fs->first_free;
	fs->first_free = (uint32_t)(handle - fs->handles);
	if (node->open_fd == fd)
		node->open_fd = find_open_fd(fs, node);
	nodes_unuse(fs->nodes, node);
}

/* As if nobody had ever asked for anything. */
static void forget_all(struct fs *fs)
{
	for (uint32_t i = 0; i < fs->n_handles; i++)
		if (fs->handles[i].fd >= 0)
			fs_close_handle(fs, &fs->handles[i]);
	fs->n_handles = fs->first_free = 0;
	nodes_forget_all(fs->nodes);
	fs->is_init = false;
}

static int op_init(struct request *request)
{
	struct fuse_init_in in = {0};
	struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .time_gran = 1};
	/* Older guests say less. */
	size_t len = MIN(request->left, sizeof(in));

	if (request_take(request, &in, len) < 0 || len < 16)
		return -EINVAL;
	if (in.major != FUSE_KERNEL_VERSION || in.minor < MINOR_MIN)
		return -EPROTO;
	forget_all(request->fs);
	request->fs->is_init = true;
	out.minor = MIN(in.minor, (uint32_t)FUSE_KERNEL_MINOR_VERSION);
	out.max_readahead = in.max_readahead;
	out.flags = in.flags & INIT_FLAGS;
	out.max_write = FS_IO_MAX;
	out.max_pages = FS_IO_PAGES;
	memcpy(request->answer, &out, sizeof(out));
	return (int)sizeof(out);
}

static int op_destroy(struct request *request)
{
	forget_all(request->fs);
	return 0;
}

static int op_forget(struct request *request)
{
	struct fuse_forget_in in;

	if (request_take(request, &in, sizeof(in)) == 0 && request->node)
		nodes_forget(request->fs->nodes, request->node, in.nlookup);
	return 0;
}

static int op_batch_forget(struct request *request)
{
	struct fuse_batch_forget_in in;
	struct fuse_forget_one one;

	if (request_take(request, &in, sizeof(in)) < 0)
		return 0;
	while (in.count-- && request_take(request, &one, sizeof(one)) == 0) {
		struct node *node = nodes_get(request->fs->nodes, one.nodeid);

		if (node)
			nodes_forget(request->fs->nodes, node, one.nlookup);
	}
	return 0;
}

/* Served one after the other: what should be interrupted is done by now. */
static int op_interrupt(struct request *request)
{
	(void)request;
	return 0;
}

static const struct {
	operation *serve;
	unsigned flags;
} operations[] = {
	[FUSE_LOOKUP] = {fs_lookup, 0},
	[FUSE_FORGET] = {op_forget, NO_ANSWER | NODELESS},
	[FUSE_GETATTR] = {fs_getattr, 0},
	[FUSE_SETATTR] = {fs_setattr, WRITES},
	[FUSE_READLINK] = {fs_readlink, 0},
	[FUSE_SYMLINK] = {fs_symlink, WRITES},
	[FUSE_MKNOD] = {fs_mknod, WRITES},
	[FUSE_MKDIR] = {fs_mkdir, WRITES},
	[FUSE_UNLINK] = {fs_unlink, WRITES},
	[FUSE_RMDIR] = {fs_rmdir, WRITES},
	[FUSE_RENAME] = {fs_rename, WRITES},
	[FUSE_LINK] = {fs_link, WRITES},
	[FUSE_OPEN] = {fs_open, 0},
	[FUSE_READ] = {fs_read, 0},
	[FUSE_WRITE] = {fs_write, WRITES},
	[FUSE_STATFS] = {fs_statfs, 0},
	[FUSE_RELEASE] = {fs_release, 0},
	[FUSE_FSYNC] = {fs_fsync, 0},
	[FUSE_INIT] = {op_init, NODELESS},
	[FUSE_OPENDIR] = {fs_opendir, 0},
	[FUSE_READDIR] = {fs_readdir, 0},
	[FUSE_RELEASEDIR] = {fs_releasedir, 0},
	[FUSE_FSYNCDIR] = {fs_fsync, 0},
	[FUSE_CREATE] = {fs_create, WRITES},
	[FUSE_INTERRUPT] = {op_interrupt, NO_ANSWER | NODELESS},
	[FUSE_DESTROY] = {op_destroy, NODELESS},
	[FUSE_BATCH_FORGET] = {op_batch_forget, NO_ANSWER | NODELESS},
	[FUSE_FALLOCATE] = {fs_fallocate, WRITES},
	[FUSE_RENAME2] = {fs_rename2, WRITES},
	[FUSE_LSEEK] = {fs_lseek, 0},
};

static int serve(struct request *request)
{
	uint32_t opcode = request->header.opcode;
	struct fs *fs = request->fs;
	int r;

	request->node = nodes_get(fs->nodes, request->header.nodeid);
	if (!fs->is_init && opcode != FUSE_INIT)
		return -EIO;
	if ((operations[opcode].flags & WRITES) && fs->read_only)
		return -EROFS;
	if (operations[opcode].flags & NODELESS)
		return operations[opcode].serve(request);
	if (!request->node)
		return -ESTALE;
	nodes_use(request->node);
	r = operations[opcode].serve(request);
	nodes_unuse(fs->nodes, request->node);
	return r;
}

int fs_new(struct fs **out, int root_fd, bool read_only)
{
	_cleanup_(freep) struct fs *fs = calloc(1, sizeof(*fs));
	int r;

	if (!fs) {
		close(root_fd);
		return -ENOMEM;
	}
	r = nodes_new(&fs->nodes, root_fd);
	if (r < 0)
		return r;
	fs->read_only = read_only;
	fs->uid = geteuid();
	fs->gid = getegid();
	*out = steal_ptr(&fs);
	return 0;
}

struct fs *fs_free(struct fs *fs)
{
	if (!fs)
		return NULL;
	forget_all(fs);
	nodes_free(fs->nodes);
	free(fs);
	return NULL;
}

int fs_request_len(const void *data, size_t len)
{
	struct fuse_in_header header;

	if (len < sizeof(header))
		return 0;
	memcpy(&header, data, sizeof(header));
	return header.len < sizeof(header) || header.len > FS_REQUEST_MAX ? -EBADMSG
									  : (int)header.len;
}

size_t fs_serve(struct fs *fs, const void *data, size_t len, void *answer)
{
	struct fuse_out_header out = {.len = sizeof(out)};
	struct request request = {.fs = fs,
				  .args = (const uint8_t *)data + sizeof(request.header),
				  .left = len - sizeof(request.header),
				  .answer = (uint8_t *)answer + sizeof(out)};
	int r = -ENOSYS;

	assert(len >= sizeof(request.header) && len <= FS_REQUEST_MAX);
	memcpy(&request.header, data, sizeof(request.header));
	if (request.header.opcode < ARRAY_SIZE(operations) &&
	    operations[request.header.opcode].serve) {
		r = serve(&request);
		if (operations[request.header.opcode].flags & NO_ANSWER)
			return 0;
	}
	out.unique = request.header.unique;
	if (r < 0)
		out.error = r;
	else
		out.len += (uint32_t)r;
	memcpy(answer, &out, sizeof(out));
	return out.len;
}
