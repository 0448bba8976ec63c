// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/uuid.h"
#include "supervisor/storage/oci.h"

int store_failed(struct store *store, int code, const char *doing, struct error *err)
{
	if (code == -ENOSPC || code == -EDQUOT)
		return error_set(
			err, code,
			"the store %s is full: free space on its disk or remove images with "
			"'protect image remove'",
			store->path);
	return error_set_errno(err, code, "store %s: cannot %s", store->path, doing);
}

const char *store_path(const struct store *store)
{
	return store->path;
}

uint64_t store_max_bytes(const struct store *store)
{
	return store->max_bytes;
}

static int make_folders(struct store *store, const char *path, struct error *err)
{
	static const char *const folders[] = {"blobs",	 "blobs/sha256", "images",
					      "kernels", "tmp",		 "volumes"};

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set_errno(err, -errno, "cannot make the store %s", path);
	store->dir_fd = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (store->dir_fd < 0)
		return error_set_errno(err, -errno, "cannot open the store %s", path);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (mkdirat(store->dir_fd, folders[i], 0700) < 0 && errno != EEXIST)
			return store_failed(store, -errno, "make its folders", err);
	store->lock_fd =
		openat(store->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return store->lock_fd < 0 ? store_failed(store, -errno, "open its lock", err) : 0;
}

int store_open(struct store **out, const char *path, uint64_t max_bytes, struct error *err)
{
	struct store *store = calloc(1, sizeof(*store));
	int r;

	if (!store)
		return error_set(err, -ENOMEM, "out of memory");
	store->dir_fd = -1;
	store->lock_fd = -1;
	store->max_bytes = max_bytes;
	pthread_mutex_init(&store->db_lock, NULL);
	pthread_mutex_init(&store->claim_lock, NULL);
	pthread_cond_init(&store->claim_ended, NULL);
	store->path = strdup(path);
	r = store->path ? make_folders(store, path, err) : error_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = store_db_open(store, err);
	if (r == 0)
		r = store_sweep_start(store, err);
	if (r < 0) {
		store_close(store);
		return r;
	}
	*out = store;
	return 0;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	sqlite3_close(store->db);
	close_fdp(&store->dir_fd);
	close_fdp(&store->lock_fd);
	pthread_cond_destroy(&store->claim_ended);
	pthread_mutex_destroy(&store->claim_lock);
	pthread_mutex_destroy(&store->db_lock);
	free(store->path);
	free(store);
}

int store_tmp_path(struct store *store, char *out, struct error *err)
{
	char text[UUID_TEXT_SIZE];
	struct uuid uuid;
	int r = uuid_generate(&uuid);

	if (r < 0)
		return store_failed(store, r, "make a name", err);
	uuid_format(&uuid, text);
	if (snprintf(out, STORE_PATH_MAX, "%s/tmp/%s", store->path, text) >= STORE_PATH_MAX)
		return store_failed(store, -ENAMETOOLONG, "make a name", err);
	return 0;
}

int store_scratch(struct store *store, struct error *err)
{
	char path[STORE_PATH_MAX];
	int fd, r = store_tmp_path(store, path, err);

	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return store_failed(store, -errno, "make a file", err);
	/* Without a name it cannot outlive a crash. */
	unlink(path);
	return fd;
}

static int sync_path(int dir_fd, const char *name, int flags)
{
	_cleanup_(close_fdp) int fd =
		openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | flags);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* Syncs a file, or a folder and the files right below it. */
static int sync_tree(const char *path)
{
	DIR *dir;
	struct dirent *entry;
	int r = 0;

	dir = opendir(path);
	if (!dir)
		return errno == ENOTDIR ? sync_path(AT_FDCWD, path, 0) : -errno;
	while (r == 0 && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			r = sync_path(dirfd(dir), entry->d_name, 0);
	if (r == 0 && fsync(dirfd(dir)) < 0)
		r = -errno;
	closedir(dir);
	return r;
}

int store_publish(struct store *store, const char *tmp_path, const char *name, struct error *err)
{
	char folder[STORE_PATH_MAX];
	int r = sync_tree(tmp_path);

	if (r == 0 && renameat(AT_FDCWD, tmp_path, store->dir_fd, name) < 0)
		r = -errno;
	/* A kernel's folder cannot replace one that is there: the same bytes, left by a crash or
	 * another process. */
	if (r == -ENOTEMPTY || r == -EEXIST)
		r = 0;
	snprintf(folder, sizeof(folder), "%s", name);
	if (strrchr(folder, '/'))
		*strrchr(folder, '/') = '\0';
	if (r == 0)
		r = sync_path(store->dir_fd, folder, O_DIRECTORY);
	return r < 0 ? store_failed(store, r, "keep an image", err) : 0;
}

/* #syscalls storage: openat newfstatat(_, _, _, AT_SYMLINK_NOFOLLOW) getdents64 mkdir mkdirat
 * unlinkat rmdir renameat rename fsync flock lseek statfs fstatfs readlinkat
 */
int store_open_file(struct store *store, const char *name, struct error *err)
{
	int fd = openat(store->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? store_failed(store, -errno,
				     "open an image's file; remove and pull the image again", err)
		      : fd;
}

static void blob_name(const struct digest *digest, char *out, size_t size)
{
	char hex[DIGEST_HEX_SIZE];

	digest_hex(digest, hex);
	snprintf(out, size, "blobs/sha256/%s", hex);
}

int store_put_blob(struct store *store, const struct digest *digest, const void *data, size_t len,
		   struct error *err)
{
	char path[STORE_PATH_MAX], name[128];
	_cleanup_(close_fdp) int fd = -1;
	int r = store_tmp_path(store, path, err);

	if (r < 0)
		return r;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	r = fd < 0 ? -errno : io_write_full(fd, data, len);
	if (r < 0) {
		unlink(path);
		return store_failed(store, r, "write a blob", err);
	}
	blob_name(digest, name, sizeof(name));
	r = store_publish(store, path, name, err);
	if (r < 0)
		unlink(path);
	return r;
}

int store_get_blob(struct store *store, const struct digest *digest, char **data, size_t *len,
		   struct error *err)
{
	char name[128];
	int r;

	blob_name(digest, name, sizeof(name));
	r = io_read_file(store->dir_fd, name, OCI_JSON_MAX, data, len);
	return r < 0 ? store_failed(store, r, "read a blob", err) : 0;
}

static bool is_claimed(const struct store *store, const struct digest *digest)
{
	for (unsigned i = 0; i < store->n_claims; i++)
		if (digest_equal(&store->claims[i], digest))
			return true;
	return false;
}

void store_claim(struct store *store, const struct digest *digest)
{
	pthread_mutex_lock(&store->claim_lock);
	while (is_claimed(store, digest) || store->n_claims == STORE_CLAIMS_MAX)
		pthread_cond_wait(&store->claim_ended, &store->claim_lock);
	store->claims[store->n_claims++] = *digest;
	pthread_mutex_unlock(&store->claim_lock);
}

void store_release(struct store *store, const struct digest *digest)
{
	pthread_mutex_lock(&store->claim_lock);
	for (unsigned i = 0; i < store->n_claims; i++)
		if (digest_equal(&store->claims[i], digest)) {
			store->claims[i] = store->claims[--store->n_claims];
			break;
		}
	pthread_cond_broadcast(&store->claim_ended);
	pthread_mutex_unlock(&store->claim_lock);
}

void store_image_file(const struct digest *manifest, bool kernel, char *out)
{
	char hex[DIGEST_HEX_SIZE];

	digest_hex(manifest, hex);
	snprintf(out, STORE_PATH_MAX, kernel ? "kernels/%s" : "images/%s.squashfs", hex);
}
