// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/volumes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define EXT4_IOC_RESIZE_FS                                                                         \
	_IOW('f', 16, uint64_t) /* fs/ext4/ext4.h; not in the UAPI of Linux 6.1 */
#define ROOT_ONLY     0660
#define FOLDER_WAIT_S 30u /* for its device */

int volume_read(const Protect__Agent__Volume *message, struct volume *out, struct error *err)
{
	size_t len = strlen(message->serial);

	*out = (struct volume){.read_only = message->read_only,
			       .raw = message->raw,
			       .shared = message->shared,
			       .folder = message->folder};
	snprintf(out->name, sizeof(out->name), "%s", message->name);
	if (len == 0 || len > DISK_SERIAL_MAX)
		return error_set(err, -EINVAL, "a disk's serial has 1 to %u characters",
				 DISK_SERIAL_MAX);
	memcpy(out->serial, message->serial, len + 1);
	if (out->folder && (out->raw || out->shared))
		return error_set(err, -EINVAL, "a folder is no device, and no zone's");
	if (volume_target_check(out->name, message->target, out->raw, err) < 0)
		return -EINVAL;
	memcpy(out->target, message->target, strlen(message->target) + 1);
	return 0;
}

static int by_target(const void *a, const void *b)
{
	const struct volume *one = a, *other = b;

	return strcmp(one->target, other->target);
}

int volumes_read(Protect__Agent__Volume *const *messages, size_t n, struct volumes *out,
		 struct error *err)
{
	out->n = 0;
	if (n > VOLUMES_MAX)
		return error_set(err, -EINVAL, "a workload has at most %u volumes", VOLUMES_MAX);
	for (size_t i = 0; i < n; i++)
		if (volume_read(messages[i], &out->items[out->n++], err) < 0)
			return -EINVAL;
	qsort(out->items, out->n, sizeof(out->items[0]), by_target);
	for (unsigned i = 1; i < out->n; i++)
		if (strcmp(out->items[i - 1].target, out->items[i].target) == 0)
			return error_set(err, -EINVAL, "two volumes cannot both be at '%s'",
					 out->items[i].target);
	return 0;
}

struct volume *volumes_at(struct volumes *volumes, const char *target)
{
	for (unsigned i = 0; i < volumes->n; i++)
		if (strcmp(volumes->items[i].target, target) == 0)
			return &volumes->items[i];
	return NULL;
}

void volumes_add(struct volumes *volumes, const struct volume *volume)
{
	volumes->items[volumes->n++] = *volume;
	qsort(volumes->items, volumes->n, sizeof(volumes->items[0]), by_target);
}

void volumes_remove(struct volumes *volumes, const char *target)
{
	struct volume *volume = volumes_at(volumes, target);

	if (!volume)
		return;
	volumes->n--;
	memmove(volume, volume + 1,
		(size_t)(&volumes->items[volumes->n] - volume) * sizeof(*volume));
}

/* Where the zone has what a workload shares. */
static int find_source(struct volume *volume, const struct volumes *zones)
{
	for (unsigned i = 0; i < zones->n; i++)
		if (strcmp(zones->items[i].serial, volume->serial) == 0) {
			memcpy(volume->source, zones->items[i].target, sizeof(volume->source));
			return 0;
		}
	return -ENOENT;
}

int volumes_find(struct volumes *volumes, const struct volumes *zones,
		 int (*find_disk)(const char *, char *, size_t), const char **missing)
{
	for (unsigned i = 0; i < volumes->n; i++) {
		struct volume *volume = &volumes->items[i];
		int r;

		if (volume->folder) /* nothing tells of a tag but a mount: volumes_mount() */
			continue;
		r = find_disk(volume->serial, volume->disk, sizeof(volume->disk));
		if (r == 0 && volume->shared)
			r = find_source(volume, zones);
		if (r < 0) {
			*missing = volume->serial;
			return r;
		}
	}
	return 0;
}

static int say_why(const struct volume *volume, int code, struct error *err)
{
	if (volume->folder && code == -EINVAL)
		return error_set(err, -ETIMEDOUT,
				 "the folder '%s' did not appear in the zone within %u s",
				 volume->name, FOLDER_WAIT_S);
	if (volume->folder && code == -ENODEV)
		return error_set(err, code,
				 "the zone's kernel has no virtiofs, which the folder '%s' needs",
				 volume->name);
	if (code == -EROFS)
		return error_set(
			err, code,
			"volume '%s' was not unmounted cleanly and cannot be repaired while it "
			"is read-only: use it once without ':ro'",
			volume->name);
	if (code == -EINVAL || code == -EUCLEAN)
		return error_set(err, code,
				 "volume '%s' holds no ext4 file system that can be used",
				 volume->name);
	if (code == -ENODEV)
		return error_set(err, code,
				 "the zone's kernel has no ext4, which volume '%s' needs",
				 volume->name);
	return error_set_errno(err, code, "mount volume '%s'", volume->name);
}

/* A file system that has met an error writes no more; blocks that are freed are given back to the
 * host. */
static int configure(int fs, const struct volume *volume)
{
	if (fsconfig(fs, FSCONFIG_SET_STRING, "source", volume->disk, 0) < 0)
		return -errno;
	if (volume->read_only)
		return fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ? -errno : 0;
	if (fsconfig(fs, FSCONFIG_SET_STRING, "errors", "remount-ro", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_FLAG, "discard", NULL, 0) < 0)
		return -errno;
	return 0;
}

/* The mount, attached nowhere, or a negative errno. */
static int mount_ext4(const struct volume *volume)
{
	unsigned attributes = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID;
	_cleanup_(close_fdp) int fs = fsopen("ext4", FSOPEN_CLOEXEC);
	int r, mount;

	if (fs < 0)
		return -errno;
	r = configure(fs, volume);
	if (r < 0)
		return r;
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	if (volume->read_only)
		attributes |= MOUNT_ATTR_RDONLY;
	mount = fsmount(fs, FSMOUNT_CLOEXEC, attributes);
	return mount < 0 ? -errno : mount;
}

static int mount_virtiofs(const struct volume *volume)
{
	unsigned attributes = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID;
	_cleanup_(close_fdp) int fs = fsopen("virtiofs", FSOPEN_CLOEXEC);
	int mount;

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "source", volume->serial, 0) < 0 ||
	    (volume->read_only && fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0) ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	if (volume->read_only)
		attributes |= MOUNT_ATTR_RDONLY;
	mount = fsmount(fs, FSMOUNT_CLOEXEC, attributes);
	return mount < 0 ? -errno : mount;
}

/* A tag that Linux does not know is EINVAL to it: its device may just be coming. */
static int mount_folder(const struct volume *volume)
{
	const struct timespec step = {.tv_nsec = 20 * 1000 * 1000};
	uint64_t deadline_ns = clock_now_ns() + FOLDER_WAIT_S * NS_PER_S;
	int mount;

	while ((mount = mount_virtiofs(volume)) == -EINVAL && clock_now_ns() < deadline_ns)
		nanosleep(&step, NULL);
	return mount;
}

/* What the zone has, once more. */
static int clone_mount(const struct volume *volume)
{
	struct mount_attr attributes = {.attr_set = volume->read_only ? MOUNT_ATTR_RDONLY : 0};
	_cleanup_(close_fdp) int mount =
		open_tree(AT_FDCWD, volume->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (mount < 0 ||
	    mount_setattr(mount, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
		return -errno;
	return steal_fd(&mount);
}

/* As large as its disk. What was as large already stays as it is. */
static int grow(const struct volume *volume, int mount)
{
	_cleanup_(close_fdp) int root = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(close_fdp) int disk = open(volume->disk, O_RDONLY | O_CLOEXEC);
	uint64_t disk_bytes, blocks;
	struct statfs st;

	if (root < 0 || disk < 0 || fstatfs(root, &st) < 0 || st.f_bsize <= 0 ||
	    ioctl(disk, BLKGETSIZE64, &disk_bytes) < 0)
		return -errno;
	blocks = disk_bytes / (uint64_t)st.f_bsize;
	return ioctl(root, EXT4_IOC_RESIZE_FS, &blocks) < 0 ? -errno : 0;
}

static int mount_one(const struct volume *volume)
{
	if (volume->folder)
		return mount_folder(volume);
	return volume->shared ? clone_mount(volume) : mount_ext4(volume);
}

/* Linux 6.1 does so for ext4, not for virtiofs. */
static int map_ids(const struct volume *volume, int mount, const struct userns *userns,
		   struct error *err)
{
	struct mount_attr attributes = {.attr_set = MOUNT_ATTR_IDMAP,
					.userns_fd = (unsigned)userns->fd};

	if (mount_setattr(mount, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) == 0)
		return 0;
	if (errno == EINVAL)
		return error_set(err, -EINVAL,
				 "'%s' cannot be given to a workload with users of its own: its "
				 "file system maps no owners",
				 volume->name);
	return error_set_errno(err, -errno, "map the owners in '%s'", volume->name);
}

int volumes_mount(const struct volumes *volumes, const struct userns *userns,
		  int fds[static VOLUMES_MAX], struct error *err)
{
	for (unsigned i = 0; i < volumes->n; i++) {
		const struct volume *volume = &volumes->items[i];
		int r = 0;

		if (volume->raw)
			fds[i] = open(volume->disk, O_PATH | O_CLOEXEC);
		else
			fds[i] = mount_one(volume);
		if (fds[i] < 0)
			return say_why(volume, volume->raw ? -errno : fds[i], err);
		if (!volume->raw && !volume->read_only && !volume->shared && !volume->folder)
			r = grow(volume, fds[i]);
		if (r < 0)
			log_warning(
				"what=grow volume=%s err=%s next=\"it stays as large as it is\"",
				volume->name, strerror(-r));
		if (!volume->raw && userns->first_id && map_ids(volume, fds[i], userns, err) < 0)
			return err->code;
	}
	return 0;
}

/* All folders above path, and path itself. */
static int make_folders(const char *path)
{
	char copy[VOLUME_TARGET_MAX + 1];

	snprintf(copy, sizeof(copy), "%s", path);
	for (char *slash = strchr(copy + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			return -errno;
		if (!slash)
			return 0;
		*slash = '/';
	}
}

static int attach_device(const struct volume *volume, uint32_t owner, int fd)
{
	char folder[VOLUME_TARGET_MAX + 1];
	struct stat st;
	int r;

	snprintf(folder, sizeof(folder), "%s", volume->target);
	*strrchr(folder, '/') = '\0';
	r = make_folders(folder);
	if (r == 0 &&
	    (fstat(fd, &st) < 0 || mknod(volume->target, S_IFBLK | ROOT_ONLY, st.st_rdev) < 0))
		r = -errno;
	if (r == 0 && owner && chown(volume->target, owner, owner) < 0)
		r = -errno;
	return r;
}

static int attach_mount(const struct volume *volume, int fd)
{
	int r = make_folders(volume->target);

	if (r < 0)
		return r;
	if (move_mount(fd, "", AT_FDCWD, volume->target,
		       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) == 0)
		return 0;
	return errno == EINVAL ? -ENOTDIR : -errno; /* what the image has there is no folder */
}

int volumes_attach(const struct volumes *volumes, const struct userns *userns,
		   const int fds[static VOLUMES_MAX], struct error *err)
{
	for (unsigned i = 0; i < volumes->n; i++) {
		const struct volume *volume = &volumes->items[i];
		int r = volume->raw ? attach_device(volume, userns->first_id, fds[i])
				    : attach_mount(volume, fds[i]);

		if (r < 0)
			return error_set_errno(err, r, "put volume '%s' at %s", volume->name,
					       volume->target);
	}
	return 0;
}
