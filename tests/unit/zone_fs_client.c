// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/zone_fs_client.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void client_begin(struct client *c, uint32_t opcode, uint64_t node)
{
	const struct fuse_in_header header = {
		.opcode = opcode, .unique = ++c->unique, .nodeid = node};

	memcpy(c->request, &header, sizeof(header));
	c->len = sizeof(header);
}

void client_add(struct client *c, const void *data, size_t len)
{
	if (len > sizeof(c->request) - c->len)
		abort();
	memcpy(c->request + c->len, data, len);
	c->len += len;
}

int client_send(struct client *c)
{
	uint32_t len = (uint32_t)c->len;
	struct fuse_out_header out;
	uint8_t *exact;
	size_t n;

	memcpy(c->request, &len, sizeof(len));
	if (fs_request_len(c->request, c->len) != (int)len)
		abort();
	/* As long as it is, so that a sanitizer sees what reads behind its end. */
	exact = malloc(len);
	memcpy(exact, c->request, len);
	n = fs_serve(c->fs, exact, len, c->answer);
	free(exact);
	c->len = 0;
	if (n == 0)
		return 1;
	memcpy(&out, c->answer, sizeof(out));
	if (n < sizeof(out) || n > sizeof(c->answer) || out.len != n || out.unique != c->unique ||
	    out.error > 0 || (out.error && n != sizeof(out)))
		abort();
	c->len = n - sizeof(out);
	return out.error;
}

int client_serve(struct client *c, const char *dir, bool read_only)
{
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	c->fs = fs_free(c->fs);
	return fd < 0 ? -errno : fs_new(&c->fs, fd, read_only);
}

static int init(struct client *c)
{
	const struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION,
					.minor = FUSE_KERNEL_MINOR_VERSION,
					.max_readahead = 1u << 20,
					.flags = UINT32_MAX};

	client_begin(c, FUSE_INIT, 0);
	client_add(c, &in, sizeof(in));
	return client_send(c);
}

int client_init(struct client *c, bool read_only)
{
	int r;

	c->fs = NULL;
	c->unique = 1000;
	/* In memory: one test makes thousands of folders. */
	snprintf(c->dir, sizeof(c->dir), "%s/zone-fs-test-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(c->dir))
		return -errno;
	r = client_serve(c, c->dir, read_only);
	return r < 0 ? r : init(c);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

void client_deinit(struct client *c)
{
	c->fs = fs_free(c->fs);
	nftw(c->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int client_named(struct client *c, uint32_t opcode, uint64_t folder, const char *name)
{
	client_begin(c, opcode, folder);
	client_add(c, name, strlen(name) + 1);
	return client_send(c);
}

int client_lookup(struct client *c, uint64_t folder, const char *name, struct fuse_entry_out *out)
{
	int r = client_named(c, FUSE_LOOKUP, folder, name);

	if (r == 0 && out)
		memcpy(out, client_got(c), sizeof(*out));
	return r;
}

int client_create(struct client *c, uint64_t folder, const char *name, uint32_t mode,
		  uint64_t *node, uint64_t *fh)
{
	const struct fuse_create_in in = {.flags = O_RDWR, .mode = S_IFREG | mode};
	struct fuse_entry_out entry;
	struct fuse_open_out out;
	int r;

	client_begin(c, FUSE_CREATE, folder);
	client_add(c, &in, sizeof(in));
	client_add(c, name, strlen(name) + 1);
	r = client_send(c);
	if (r < 0)
		return r;
	memcpy(&entry, client_got(c), sizeof(entry));
	memcpy(&out, (const uint8_t *)client_got(c) + sizeof(entry), sizeof(out));
	*node = entry.nodeid;
	*fh = out.fh;
	return 0;
}

int client_open(struct client *c, uint64_t node, uint32_t flags, uint64_t *fh)
{
	const struct fuse_open_in in = {.flags = flags};
	struct fuse_open_out out;
	int r;

	client_begin(c, flags & O_DIRECTORY ? FUSE_OPENDIR : FUSE_OPEN, node);
	client_add(c, &in, sizeof(in));
	r = client_send(c);
	if (r < 0)
		return r;
	memcpy(&out, client_got(c), sizeof(out));
	*fh = out.fh;
	return 0;
}

int client_write(struct client *c, uint64_t node, uint64_t fh, uint64_t off, const char *text)
{
	const struct fuse_write_in in = {.fh = fh, .offset = off, .size = (uint32_t)strlen(text)};
	struct fuse_write_out out;
	int r;

	client_begin(c, FUSE_WRITE, node);
	client_add(c, &in, sizeof(in));
	client_add(c, text, strlen(text));
	r = client_send(c);
	if (r < 0)
		return r;
	memcpy(&out, client_got(c), sizeof(out));
	return out.size == in.size ? 0 : -EIO;
}

int client_reads(struct client *c, uint64_t node, uint64_t fh, const char *text)
{
	const struct fuse_read_in in = {.fh = fh, .size = 4096};
	int r;

	client_begin(c, FUSE_READ, node);
	client_add(c, &in, sizeof(in));
	r = client_send(c);
	if (r < 0)
		return r;
	return c->len == strlen(text) && memcmp(client_got(c), text, c->len) == 0 ? 0 : -EBADMSG;
}

int client_release(struct client *c, uint64_t node, uint64_t fh)
{
	const struct fuse_release_in in = {.fh = fh};

	client_begin(c, FUSE_RELEASE, node);
	client_add(c, &in, sizeof(in));
	return client_send(c);
}

int client_mkdir(struct client *c, uint64_t folder, const char *name, uint64_t *node)
{
	const struct fuse_mkdir_in in = {.mode = 0755};
	struct fuse_entry_out entry;
	int r;

	client_begin(c, FUSE_MKDIR, folder);
	client_add(c, &in, sizeof(in));
	client_add(c, name, strlen(name) + 1);
	r = client_send(c);
	if (r < 0)
		return r;
	memcpy(&entry, client_got(c), sizeof(entry));
	*node = entry.nodeid;
	return 0;
}

int client_rename(struct client *c, uint64_t from, const char *name, uint64_t to,
		  const char *new_name, uint32_t flags)
{
	const struct fuse_rename2_in in = {.newdir = to, .flags = flags};

	client_begin(c, FUSE_RENAME2, from);
	client_add(c, &in, sizeof(in));
	client_add(c, name, strlen(name) + 1);
	client_add(c, new_name, strlen(new_name) + 1);
	return client_send(c);
}

static int take_attr(struct client *c, int r, struct fuse_attr *out)
{
	struct fuse_attr_out answer;

	if (r < 0 || !out)
		return r;
	memcpy(&answer, client_got(c), sizeof(answer));
	*out = answer.attr;
	return 0;
}

int client_getattr(struct client *c, uint64_t node, struct fuse_attr *out)
{
	const struct fuse_getattr_in in = {0};

	client_begin(c, FUSE_GETATTR, node);
	client_add(c, &in, sizeof(in));
	return take_attr(c, client_send(c), out);
}

int client_setattr(struct client *c, uint64_t node, const struct fuse_setattr_in *in)
{
	client_begin(c, FUSE_SETATTR, node);
	client_add(c, in, sizeof(*in));
	return client_send(c);
}

void client_forget(struct client *c, uint64_t node, uint64_t n)
{
	const struct fuse_forget_in in = {.nlookup = n};

	client_begin(c, FUSE_FORGET, node);
	client_add(c, &in, sizeof(in));
	if (client_send(c) != 1)
		abort();
}
