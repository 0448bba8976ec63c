// SPDX-License-Identifier: Apache-2.0
/* Removes what nobody needs: leftovers of a crash at start, and the files of a removed image. */
#include "supervisor/storage/store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "base/cleanup.h"
#include "base/log.h"

/* Opens a folder below the store for listing; closedir() ends it. */
static DIR *list(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir && fd >= 0)
		close(fd);
	return dir;
}

/* Removes a file, or a folder of files: the store nests no deeper. */
static void remove_entry(int dir_fd, const char *name)
{
	DIR *dir;
	struct dirent *entry;

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return;
	dir = list(dir_fd, name);
	while (dir && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0)
		log_warning("storage: cannot remove leftover file=%s err=%s", name,
			    strerror(errno));
}

static int needs_nothing(struct store *store, const char *hex)
{
	(void)store;
	(void)hex;
	return 0;
}

static int needs_image(struct store *store, const char *hex)
{
	return store_db_needs_image(store, hex, false);
}

static int needs_kernel(struct store *store, const char *hex)
{
	return store_db_needs_image(store, hex, true);
}

static void sweep(struct store *store, const char *folder,
		  int (*needed)(struct store *, const char *hex))
{
	DIR *dir = list(store->dir_fd, folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char hex[NAME_MAX + 1];

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(hex, sizeof(hex), "%.*s", (int)strcspn(entry->d_name, "."), entry->d_name);
		/* An error of the database is no reason to remove anything. */
		if (needed(store, hex) == 0)
			remove_entry(dirfd(dir), entry->d_name);
	}
	if (dir)
		closedir(dir);
}

static bool folder_is_empty(const struct store *store, const char *name)
{
	DIR *dir = list(store->dir_fd, name);
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return dir && !found;
}

bool store_is_empty(const struct store *store)
{
	return folder_is_empty(store, "images") && folder_is_empty(store, "kernels") &&
	       folder_is_empty(store, "volumes");
}

int store_sweep_start(struct store *store, struct error *err)
{
	if (flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0) {
		sweep(store, "tmp", needs_nothing);
		sweep(store, "images", needs_image);
		sweep(store, "kernels", needs_kernel);
		sweep(store, "blobs/sha256", store_db_needs_blob);
	}
	if (flock(store->lock_fd, LOCK_SH) < 0)
		return store_failed(store, -errno, "lock it", err);
	return 0;
}

void store_sweep_image(struct store *store, const struct store_image *image)
{
	char hex[DIGEST_HEX_SIZE], name[STORE_PATH_MAX];

	store_image_file(&image->manifest, image->kernel, name);
	remove_entry(store->dir_fd, name);
	/* The configuration may be another image's too, even one that is just being added: it waits
	 * for the next start. */
	digest_hex(&image->manifest, hex);
	snprintf(name, sizeof(name), "blobs/sha256/%s", hex);
	remove_entry(store->dir_fd, name);
}
