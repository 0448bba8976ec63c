// SPDX-License-Identifier: Apache-2.0
/* A guest's FUSE client, honest or not, in front of zone-fs's server: requests written by hand. No
 * assertions of a test framework. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <linux/fuse.h>

#include "zone-fs/fs.h"

struct client {
	struct fs *fs;
	char dir[64]; /* the folder that is shared, on the host */
	uint64_t unique;
	uint8_t request[FS_REQUEST_MAX], answer[FS_REQUEST_MAX];
	size_t len; /* of the request so far, and then of the answer's part behind its header */
};

/* Makes a folder below /dev/shm, or /tmp, and serves it, with INIT done. Returns 0 or a negative
 * errno. */
int client_init(struct client *c, bool read_only);
/* Serves another folder, without INIT. */
int client_serve(struct client *c, const char *dir, bool read_only);
void client_deinit(struct client *c); /* removes the folder, too */

/* A request in parts: begin, add, send. client_send() returns the answer's error, 1 for no answer,
 * or aborts on an answer that breaks the protocol. */
void client_begin(struct client *c, uint32_t opcode, uint64_t node);
void client_add(struct client *c, const void *data, size_t len);
int client_send(struct client *c);

/* What is behind the answer's header. */
static inline const void *client_got(const struct client *c)
{
	return c->answer + sizeof(struct fuse_out_header);
}

/* The usual ones; each 0 or the answer's error. */
int client_lookup(struct client *c, uint64_t folder, const char *name, struct fuse_entry_out *out);
int client_create(struct client *c, uint64_t folder, const char *name, uint32_t mode,
		  uint64_t *node, uint64_t *fh);
int client_open(struct client *c, uint64_t node, uint32_t flags, uint64_t *fh);
int client_write(struct client *c, uint64_t node, uint64_t fh, uint64_t off, const char *text);
/* Compares with text, which is all that is there. */
int client_reads(struct client *c, uint64_t node, uint64_t fh, const char *text);
int client_release(struct client *c, uint64_t node, uint64_t fh);
int client_mkdir(struct client *c, uint64_t folder, const char *name, uint64_t *node);
int client_named(struct client *c, uint32_t opcode, uint64_t folder, const char *name);
int client_rename(struct client *c, uint64_t from, const char *name, uint64_t to,
		  const char *new_name, uint32_t flags);
int client_getattr(struct client *c, uint64_t node, struct fuse_attr *out);
int client_setattr(struct client *c, uint64_t node, const struct fuse_setattr_in *in);
void client_forget(struct client *c, uint64_t node, uint64_t n);
