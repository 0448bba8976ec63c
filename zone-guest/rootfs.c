// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "zone-guest/mounts.h"
#include "zone-guest/scratch.h"

#define SAFE	     (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define TTY_GROUP    5u
#define OPTIONS_SIZE 128u

enum { ETC_HOSTNAME, ETC_HOSTS, ETC_RESOLV, ETC_COUNT };

static const char *const etc_name[ETC_COUNT] = {"hostname", "hosts", "resolv.conf"};

static int mount_at(const char *source, const char *target, const char *type, unsigned long flags,
		    const char *data, struct error *err)
{
	if (mount(source, target, type, flags, data) < 0)
		return error_set_errno(err, -errno, "mount %s on %s", type, target);
	return 0;
}

static int make_dir(const char *path, mode_t mode, struct error *err)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return error_set_errno(err, -errno, "mkdir %s", path);
	return 0;
}

/* Once: the scratch knows that it was done. */
static int give_to_users(const struct rootfs_spec *spec, struct error *err)
{
	char done[SCRATCH_PATH_MAX + sizeof("/owned")];
	int r, fd;

	if (!spec->userns->first_id)
		return 0;
	snprintf(done, sizeof(done), "%s/owned", spec->scratch);
	if (access(done, F_OK) == 0)
		return 0;
	r = userns_own(spec->userns, "root", err);
	if (r < 0)
		return r;
	fd = open(done, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(err, -errno, "note whose the image's files are");
	close(fd);
	return 0;
}

/* The image, and the overlay of it and the scratch, at ROOTFS_STAGE. */
static int mount_image(const struct rootfs_spec *spec, struct error *err)
{
	static const char *const dirs[] = {"image", "root"};
	char options[4 * SCRATCH_PATH_MAX];
	int r;

	if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_set_errno(err, -errno, "make mounts private");
	r = mount_at("tmpfs", ROOTFS_STAGE, "tmpfs", MS_NODEV, "mode=0755", err);
	if (r < 0)
		return r;
	if (chdir(ROOTFS_STAGE) < 0)
		return error_set_errno(err, -errno, "chdir %s", ROOTFS_STAGE);
	for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++) {
		r = make_dir(dirs[i], 0755, err);
		if (r < 0)
			return r;
	}
	if (mount(spec->disk, "image", "squashfs", MS_RDONLY | MS_NODEV, NULL) < 0)
		return error_set_errno(err, -errno, "mount the image's disk %s", spec->disk);
	snprintf(options, sizeof(options), "lowerdir=image,upperdir=%s/upper,workdir=%s/work%s",
		 spec->scratch, spec->scratch, spec->userns->first_id ? ",metacopy=on" : "");
	r = mount_at("overlay", "root", "overlay", MS_NODEV, options, err);
	return r == 0 ? give_to_users(spec, err) : r;
}

/* The three files as mounts that are not attached anywhere yet. */
static int stage_etc(const struct rootfs_spec *spec, int mounts[ETC_COUNT], struct error *err)
{
	const char *text[ETC_COUNT] = {spec->hostname, spec->hosts, spec->resolv};

	for (unsigned i = 0; i < ETC_COUNT; i++) {
		_cleanup_(close_fdp) int fd =
			open(etc_name[i], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		int r = fd < 0 ? -errno : io_write_full(fd, text[i], strlen(text[i]));

		if (r == 0 && i == ETC_HOSTNAME)
			r = io_write_full(fd, "\n", 1);
		if (r == 0 && fchown(fd, spec->userns->first_id, spec->userns->first_id) < 0)
			r = -errno;
		if (r < 0)
			return error_set_errno(err, r, "write %s", etc_name[i]);
		mounts[i] = open_tree(AT_FDCWD, etc_name[i], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		if (mounts[i] < 0)
			return error_set_errno(err, -errno, "open_tree %s", etc_name[i]);
	}
	return 0;
}

static int pivot(struct error *err)
{
	if (chdir("root") < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return error_set_errno(err, -errno, "pivot_root");
	/* The old root now lies over the new one: the last thing that "." still reaches. */
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return error_set_errno(err, -errno, "leave the old root");
	return 0;
}

/* Makes sure that a file can be mounted over; a link that leads nowhere is replaced. */
static int make_target(const char *path)
{
	int fd = open(path, O_RDONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644);

	if (fd < 0 && unlink(path) == 0)
		fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int attach_etc(const int mounts[ETC_COUNT], struct error *err)
{
	char path[64];
	int r = make_dir("/etc", 0755, err);

	for (unsigned i = 0; r == 0 && i < ETC_COUNT; i++) {
		snprintf(path, sizeof(path), "/etc/%s", etc_name[i]);
		r = make_target(path);
		if (r == 0 && move_mount(mounts[i], "", AT_FDCWD, path,
					 MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) < 0)
			r = -errno;
		if (r < 0)
			return error_set_errno(err, r, "mount %s", path);
	}
	return r;
}

static int make_nodes(struct error *err)
{
	static const struct {
		const char *path;
		unsigned minor, major;
	} node[] = {
		{"/dev/null", 3, 1},   {"/dev/zero", 5, 1},    {"/dev/full", 7, 1},
		{"/dev/random", 8, 1}, {"/dev/urandom", 9, 1}, {"/dev/tty", 0, 5},
	};
	static const char *const links[][2] = {
		{"/proc/self/fd", "/dev/fd"},	    {"/proc/self/fd/0", "/dev/stdin"},
		{"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
		{"pts/ptmx", "/dev/ptmx"},	    {"/proc/kcore", "/dev/core"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(node); i++)
		if (mknod(node[i].path, S_IFCHR | 0666, makedev(node[i].major, node[i].minor)) < 0)
			return error_set_errno(err, -errno, "mknod %s", node[i].path);
	for (unsigned i = 0; i < ARRAY_SIZE(links); i++)
		if (symlink(links[i][0], links[i][1]) < 0)
			return error_set_errno(err, -errno, "symlink %s", links[i][1]);
	return 0;
}

static int mount_dev(uint32_t first_id, struct error *err)
{
	char options[OPTIONS_SIZE];
	int r;

	snprintf(options, sizeof(options), "mode=0755,size=64k,uid=%u,gid=%u", first_id, first_id);
	r = mount_at("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, options, err);
	if (r == 0)
		r = make_nodes(err);
	if (r == 0)
		r = make_dir("/dev/pts", 0755, err);
	if (r == 0)
		r = make_dir("/dev/shm", 01777, err);
	if (r == 0)
		r = make_dir("/dev/mqueue", 0755, err);
	snprintf(options, sizeof(options), "newinstance,ptmxmode=0666,mode=0620,gid=%u",
		 first_id + TTY_GROUP);
	if (r == 0)
		r = mount_at("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, options, err);
	if (r == 0)
		r = mount_at("shm", "/dev/shm", "tmpfs", SAFE, "mode=1777,size=64m", err);
	/* Not every kernel has POSIX message queues. */
	if (r == 0 && mount("mqueue", "/dev/mqueue", "mqueue", SAFE, NULL) < 0 && errno != ENODEV)
		r = error_set_errno(err, -errno, "mount /dev/mqueue");
	return r;
}

static int mount_kernel_trees(const struct rootfs_spec *spec, struct error *err)
{
	unsigned long flags = spec->settings->privileged ? SAFE : SAFE | MS_RDONLY;
	int r = make_dir("/proc", 0555, err);

	if (r == 0)
		r = mount_at("proc", "/proc", "proc", SAFE, NULL, err);
	if (r == 0)
		r = make_dir("/sys", 0555, err);
	if (r == 0)
		r = mount_at("sysfs", "/sys", "sysfs", flags, NULL, err);
	if (r == 0)
		r = make_dir("/dev", 0755, err);
	if (r == 0)
		r = mount_dev(spec->userns->first_id, err);
	/*
	 * The namespace shows the workload's own group only. The folder is there if the kernel has
	 * cgroups.
	 */
	if (r == 0 && mount("cgroup2", "/sys/fs/cgroup", "cgroup2", flags, NULL) < 0 &&
	    errno != ENOENT && errno != ENODEV && errno != EBUSY)
		r = error_set_errno(err, -errno, "mount /sys/fs/cgroup");
	return r;
}

static int apply_settings(const struct rootfs_spec *spec, const struct mounts_devices *devices,
			  struct error *err)
{
	const settings_t *settings = spec->settings;
	uint32_t owner = spec->userns->first_id;
	int r = mounts_make_devices(settings, devices, owner, err);

	if (r == 0)
		r = mounts_set_sysctls(settings, err);
	if (r == 0)
		r = mounts_guard(settings, err);
	return r == 0 ? mounts_finish(settings, owner, err) : r;
}

int rootfs_enter(const struct rootfs_spec *spec, struct error *err)
{
	int mounts[ETC_COUNT] = {-1, -1, -1};
	struct mounts_devices devices;
	int volumes[VOLUMES_MAX];
	int r;

	memset(volumes, -1, sizeof(volumes));
	umask(0);
	r = mounts_find_devices(spec->settings, &devices, err);
	if (r == 0)
		r = mount_image(spec, err);
	if (r == 0)
		r = stage_etc(spec, mounts, err);
	if (r == 0)
		r = volumes_mount(spec->volumes, spec->userns, volumes, err);
	if (r == 0)
		r = pivot(err);
	if (r == 0)
		r = attach_etc(mounts, err);
	if (r == 0)
		r = mount_kernel_trees(spec, err);
	if (r == 0)
		r = volumes_attach(spec->volumes, spec->userns, volumes, err);
	if (r == 0)
		r = apply_settings(spec, &devices, err);
	for (unsigned i = 0; i < VOLUMES_MAX; i++)
		close_fdp(&volumes[i]);
	for (unsigned i = 0; i < ETC_COUNT; i++)
		close_fdp(&mounts[i]);
	umask(022);
	return r;
}
