// SPDX-License-Identifier: Apache-2.0
/*
 * One request while it is served, and what the files of requests share: fs.c has the table of all,
 * names.c what is done by name, files.c what is done with open ones, attributes.c the rest.
 */
#pragma once

#include <sys/stat.h>

#include <linux/fuse.h>

#include "zone-fs/fs.h"
#include "zone-fs/nodes.h"

#define FS_VALID_S 1 /* for so long a guest may believe what it was told; as virtiofsd */

struct handle {
	int fd; /* -1: free */
	struct node *node;
	bool is_folder;
	uint32_t next_free;
};

struct fs {
	struct nodes *nodes;
	bool read_only, is_init;
	uid_t uid;
	gid_t gid;
	uint32_t n_handles, first_free; /* n_handles were ever used */
	struct handle handles[FS_HANDLES_MAX];
};

struct request {
	struct fs *fs;
	struct fuse_in_header header;
	const uint8_t *args; /* what is not taken yet */
	size_t left;
	struct node *node; /* the header's */
	uint8_t *answer;   /* its part behind the header */
};

/* An operation returns how many bytes it wrote to the answer, or a negative errno. */
typedef int operation(struct request *request);

/* Copies the next n bytes of the arguments. Returns 0 or -EINVAL. */
int request_take(struct request *request, void *out, size_t n);

/* The next argument is a name in a folder: not empty, ".", "..", no path, no longer than
 * NODES_NAME_MAX. Returns it (in the request) or NULL. */
const char *request_take_name(struct request *request);

/* Attributes as the guest sees them. */
void fs_fill_attr(const struct fs *fs, const struct stat *st, struct fuse_attr *out);

/* Tells the guest of what is called name in the request's folder. Returns 0 or a negative errno. */
int fs_fill_entry(struct request *request, const char *name, struct fuse_entry_out *out,
		  struct node **node);

/* Whether one more can be opened. */
bool fs_has_handle_left(const struct fs *fs);

/* Takes the descriptor over, also on failure. Returns 0 or -ENFILE. */
int fs_open_handle(struct fs *fs, struct node *node, int fd, uint64_t *number);
struct handle *fs_handle(struct fs *fs, uint64_t number, bool is_folder); /* or NULL */
void fs_close_handle(struct fs *fs, struct handle *handle);

operation fs_lookup, fs_readlink, fs_symlink, fs_mknod, fs_mkdir, fs_unlink, fs_rmdir, fs_rename,
	fs_rename2, fs_link, fs_create;
operation fs_open, fs_opendir, fs_read, fs_write, fs_readdir, fs_release, fs_releasedir, fs_fsync,
	fs_fallocate, fs_lseek;
operation fs_getattr, fs_setattr, fs_statfs;
