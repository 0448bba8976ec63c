// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/volume.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "supervisor/storage/store_internal.h"
#include "supervisor/storage/volume_db.h"
#include "supervisor/storage/volume_mkfs.h"

#define FOLDER	  "volumes"
#define PATH_SIZE (sizeof(FOLDER) + UUID_TEXT_SIZE)
#define LOCK_WAIT_NS                                                                               \
	(1 * NS_PER_S) /* a hypervisor that has just ended lets go of its files a little later */
#define LOCK_PAUSE_NS (20 * NS_PER_MS)
#define BLOCK_BYTES   512u /* of st_blocks */

static void file_path(const struct volume *volume, char path[static PATH_SIZE])
{
	snprintf(path, PATH_SIZE, FOLDER "/%s", volume->file);
}

static int sync_folder(struct store *store)
{
	_cleanup_(close_fdp) int fd =
		openat(store->dir_fd, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* The file first, then the row: a crash in between is found by the row. */
static int forget(struct store *store, const struct volume *volume, struct error *err)
{
	char path[PATH_SIZE];
	int r = 0;

	file_path(volume, path);
	if (unlinkat(store->dir_fd, path, 0) < 0 && errno != ENOENT)
		r = -errno;
	if (r == 0)
		r = sync_folder(store);
	if (r < 0)
		return store_failed(store, r, "remove a volume's file", err);
	return volume_db_delete(store, volume->file, err);
}

static int forget_all(struct store *store, enum volume_state state, struct error *err)
{
	_cleanup_(freep) struct volume *volumes = NULL;
	unsigned n = 0;
	int r = volume_db_list(store, state, &volumes, &n, err);

	for (unsigned i = 0; r == 0 && i < n; i++) {
		log_info("storage: removing what a crash left of a volume name=%s",
			 volumes[i].name);
		r = forget(store, &volumes[i], err);
	}
	return r;
}

int volumes_start(struct store *store, struct error *err)
{
	int r = volume_db_open(store, err);

	if (r == 0 && flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0) {
		r = forget_all(store, VOLUME_MAKING, err);
		if (r == 0)
			r = forget_all(store, VOLUME_REMOVING, err);
	}
	if (flock(store->lock_fd, LOCK_SH) < 0 && r == 0)
		r = store_failed(store, -errno, "lock it", err);
	return r;
}

static int check_name(const char *name, struct error *err)
{
	size_t len = strlen(name);
	struct uuid uuid;

	for (const char *c = name; *c && len; c++)
		if (!isalnum((unsigned char)*c) && (c == name || !strchr("._-", *c)))
			len = 0;
	if (!len || len > VOLUME_NAME_MAX || uuid_parse(name, &uuid) == 0)
		return error_set(
			err, -EINVAL,
			"'%.63s' cannot name a volume: up to %u letters, digits, '.', '_' and "
			"'-', a letter or digit first",
			name, VOLUME_NAME_MAX);
	return 0;
}

static int check_size(uint64_t *size_bytes, struct error *err)
{
	if (*size_bytes < VOLUME_SIZE_MIN || *size_bytes > VOLUME_SIZE_MAX)
		return error_set(err, -EINVAL, "a volume has %llu MiB to %llu TiB",
				 (unsigned long long)(VOLUME_SIZE_MIN / MIB),
				 (unsigned long long)(VOLUME_SIZE_MAX / (1024 * GIB)));
	*size_bytes = align_up(*size_bytes, MIB);
	return 0;
}

static uint64_t unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NS_PER_MS;
}

static int new_volume(const char *name, enum volume_format format, struct volume *out,
		      struct error *err)
{
	struct uuid uuid;
	int r = check_name(name, err);

	if (r < 0)
		return r;
	*out = (struct volume){.format = format, .created_unix_ms = unix_ms()};
	r = uuid_generate(&uuid);
	if (r < 0)
		return error_set_errno(err, r, "cannot make a volume");
	uuid_format(&uuid, out->file);
	snprintf(out->name, sizeof(out->name), "%s", name);
	return 0;
}

static int set_size(struct store *store, int fd, uint64_t size_bytes, struct error *err)
{
	if (ftruncate(fd, (off_t)size_bytes) == 0)
		return 0;
	if (errno == EFBIG)
		return error_set(err, -EFBIG,
				 "the file system of the store %s has no files of %llu MiB",
				 store->path, (unsigned long long)(size_bytes / MIB));
	return store_failed(store, -errno, "set a volume's size", err);
}

static int measure(struct store *store, int fd, struct volume *volume, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return store_failed(store, -errno, "look at a volume's file", err);
	volume->size_bytes = (uint64_t)st.st_size;
	volume->allocated_bytes = (uint64_t)st.st_blocks * BLOCK_BYTES;
	return 0;
}

/* What lies behind the descriptor that is returned is complete and on the disk. */
static int make_file(struct store *store, const char *mkfs, struct volume *volume,
		     uint64_t size_bytes, struct error *err)
{
	_cleanup_(close_fdp) int fd = -1;
	char path[PATH_SIZE];
	int r;

	file_path(volume, path);
	fd = openat(store->dir_fd, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return store_failed(store, -errno, "make a volume's file", err);
	r = set_size(store, fd, size_bytes, err);
	if (r == 0 && volume->format == VOLUME_EXT4)
		r = volume_mkfs(store, mkfs, fd, err);
	if (r < 0)
		return r;
	r = fsync(fd) < 0 ? -errno : sync_folder(store);
	return r < 0 ? store_failed(store, r, "sync a volume's file", err)
		     : measure(store, fd, volume, err);
}

int volume_create(struct store *store, const char *mkfs, const char *name, uint64_t size_bytes,
		  enum volume_format format, struct volume *out, struct error *err)
{
	int r = new_volume(name, format, out, err);

	if (r == 0)
		r = check_size(&size_bytes, err);
	if (r == 0)
		r = volume_db_add(store, out, err);
	if (r < 0)
		return r;
	r = make_file(store, mkfs, out, size_bytes, err);
	if (r == 0)
		r = volume_db_set(store, out->file, VOLUME_READY, err);
	if (r < 0)
		forget(store, out, NULL); /* if this fails as well, the next start does it */
	return r;
}

int volume_make_scratch(struct store *store, const char *mkfs, uint64_t size_bytes,
			struct volume *out, struct error *err)
{
	_cleanup_(close_fdp) int fd = -1;
	int r = check_size(&size_bytes, err);

	if (r < 0)
		return r;
	*out = (struct volume){.name = "scratch", .format = VOLUME_EXT4};
	fd = openat(store->dir_fd, FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return store_failed(store, -errno, "make a file without a name", err);
	r = set_size(store, fd, size_bytes, err);
	if (r == 0)
		r = volume_mkfs(store, mkfs, fd, err);
	if (r == 0)
		r = measure(store, fd, out, err);
	return r < 0 ? r : steal_fd(&fd);
}

static int open_file(struct store *store, const struct volume *volume, int flags, struct error *err)
{
	char path[PATH_SIZE];
	int fd;

	file_path(volume, path);
	fd = openat(store->dir_fd, path, flags | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return store_failed(store, -errno, "open a volume's file", err);
	return fd;
}

/* #syscalls storage: fcntl(_, F_OFD_SETLK) fcntl(_, F_OFD_GETLK) fcntl(_, F_DUPFD_CLOEXEC)
 *	ftruncate fallocate fadvise64 lseek flock fchmod pread64 pwrite64 linkat
 *	clock_nanosleep
 */
static int try_lock(int fd, short type)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET};

	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

static int lock_file(int fd, short type)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
	uint64_t until_ns = clock_now_ns() + LOCK_WAIT_NS;
	int r;

	while ((r = try_lock(fd, type)) == -EAGAIN && clock_now_ns() < until_ns)
		nanosleep(&pause, NULL);
	return r == -EAGAIN || r == -EACCES ? -EBUSY : r;
}

/* Finds it, opens and locks it, and makes sure that it is still there then. */
static int open_locked(struct store *store, const char *name, bool read_only, struct volume *volume,
		       struct error *err)
{
	_cleanup_(close_fdp) int fd = -1;
	struct stat st;
	int r = volume_db_find(store, name, volume, err);

	if (r < 0)
		return r;
	fd = open_file(store, volume, read_only ? O_RDONLY : O_RDWR, err);
	if (fd < 0)
		return fd;
	r = lock_file(fd, read_only ? F_RDLCK : F_WRLCK);
	if (r == -EBUSY)
		return error_set(err, r,
				 "volume '%s' is in use%s; 'protect workload list' shows by whom",
				 name, read_only ? " by one who writes" : "");
	if (r < 0)
		return store_failed(store, r, "lock a volume", err);
	if (fstat(fd, &st) < 0 || st.st_nlink == 0)
		return error_set(err, -ENOENT, "volume '%s' was just removed", name);
	r = measure(store, fd, volume, err);
	return r < 0 ? r : steal_fd(&fd);
}

int volume_open(struct store *store, const char *name, bool read_only, struct volume *out,
		struct error *err)
{
	return open_locked(store, name, read_only, out, err);
}

static enum volume_use find_use(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return VOLUME_FREE;
	return lock.l_type == F_RDLCK ? VOLUME_READERS : VOLUME_WRITER;
}

int volume_list(struct store *store, int (*fn)(void *context, const struct volume *volume),
		void *context, struct error *err)
{
	_cleanup_(freep) struct volume *volumes = NULL;
	unsigned n = 0;
	int r = volume_db_list(store, VOLUME_READY, &volumes, &n, err);

	for (unsigned i = 0; r == 0 && i < n; i++) {
		_cleanup_(close_fdp) int fd = open_file(store, &volumes[i], O_RDONLY, NULL);

		/* One whose file somebody took away is in the list, empty, so that it can be
		 * removed. */
		if (fd >= 0 && measure(store, fd, &volumes[i], NULL) == 0)
			volumes[i].use = find_use(fd);
		r = fn(context, &volumes[i]);
	}
	return r < 0 ? r : 0;
}

int volume_resize(struct store *store, const char *name, uint64_t size_bytes, struct volume *out,
		  struct error *err)
{
	_cleanup_(close_fdp) int fd = -1;
	int r = check_size(&size_bytes, err);

	if (r < 0)
		return r;
	fd = open_locked(store, name, false, out, err);
	if (fd < 0)
		return fd;
	if (size_bytes < out->size_bytes)
		return error_set(
			err, -EINVAL,
			"volume '%s' has %llu MiB and cannot become smaller: make a smaller "
			"one and copy what is in it",
			name, (unsigned long long)(out->size_bytes / MIB));
	r = set_size(store, fd, size_bytes, err);
	if (r == 0 && fsync(fd) < 0)
		r = store_failed(store, -errno, "sync a volume's file", err);
	return r < 0 ? r : measure(store, fd, out, err);
}

/* Whether a row has no file any more: nothing can be locked then, and nothing is left to lose.
 * #syscalls storage: faccessat faccessat2 */
static bool has_no_file(struct store *store, const char *name, struct volume *volume)
{
	char path[PATH_SIZE];

	if (volume_db_find(store, name, volume, NULL) < 0)
		return false;
	file_path(volume, path);
	return faccessat(store->dir_fd, path, F_OK, 0) < 0 && errno == ENOENT;
}

int volume_remove(struct store *store, const char *name, struct error *err)
{
	_cleanup_(close_fdp) int fd = -1;
	struct volume volume;
	int r;

	if (has_no_file(store, name, &volume))
		return volume_db_delete(store, volume.file, err);
	fd = open_locked(store, name, false, &volume, err);
	if (fd < 0)
		return fd;
	r = volume_db_set(store, volume.file, VOLUME_REMOVING, err);
	return r < 0 ? r : forget(store, &volume, err);
}
