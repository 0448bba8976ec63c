// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/mounts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"

#define SAFE	     (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define PATH_SIZE    4096u
#define OPTIONS_SIZE 128u
#define UEVENT_MAX   4096u
#define TMPFS_MODE   01777

static const char *const usual_read_only[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
					      "/proc/sysrq-trigger"};
static const char *const usual_masked[] = {
	"/proc/acpi",
	"/proc/asound",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/sched_debug",
	"/proc/scsi",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/sys/firmware",
	"/sys/devices/virtual/powercap",
};

int mounts_make_dirs(const char *path)
{
	char copy[PATH_SIZE];

	if (strlen(path) >= sizeof(copy))
		return -ENAMETOOLONG;
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

int mounts_find_devices(const settings_t *settings, struct mounts_devices *out, struct error *err)
{
	for (size_t i = 0; i < settings->n_devices; i++) {
		const char *path = settings->devices[i]->path;
		struct stat st;

		if (stat(path, &st) < 0)
			return error_set_errno(err, -errno, "device %s of the zone", path);
		if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
			return error_set(err, -ENODEV, "%s of the zone is not a device", path);
		out->device[i].number = st.st_rdev;
		out->device[i].mode = st.st_mode & (S_IFMT | 0777);
	}
	return 0;
}

/* Parents are made; what is there already, such as our own nodes, stays. */
static int make_node(const char *path, mode_t mode, dev_t number)
{
	_cleanup_(freep) char *parent = strdup(path);
	char *slash = parent ? strrchr(parent, '/') : NULL;
	int r = parent ? 0 : -ENOMEM;

	if (slash && slash != parent) {
		*slash = '\0';
		r = mounts_make_dirs(parent);
	}
	if (r == 0 && mknod(path, mode, number) < 0 && errno != EEXIST)
		r = -errno;
	return r;
}

/* The value behind `key` in a uevent file, as a terminated string. */
static char *uevent_value(char *text, const char *key)
{
	char *at = strstr(text, key), *end;

	if (!at || (at != text && at[-1] != '\n'))
		return NULL;
	at += strlen(key);
	end = strchrnul(at, '\n');
	*end = '\0';
	return at;
}

/* One link of /sys/dev/{char,block}, named MAJOR:MINOR. Its name in /dev is the kernel's own word.
 */
static void make_kernel_node(int dir, const char *entry, mode_t type)
{
	_cleanup_(freep) char *text = NULL;
	char file[64], path[PATH_SIZE];
	char *colon;
	unsigned major = (unsigned)strtoul(entry, &colon, 10), minor;
	const char *name;
	size_t len;

	if (*colon != ':')
		return;
	minor = (unsigned)strtoul(colon + 1, NULL, 10);
	snprintf(file, sizeof(file), "%u:%u/uevent", major, minor);
	if (io_read_file(dir, file, UEVENT_MAX, &text, &len) < 0)
		return;
	name = uevent_value(text, "DEVNAME=");
	if (!name || strstr(name, "..") ||
	    (size_t)snprintf(path, sizeof(path), "/dev/%s", name) >= sizeof(path))
		return;
	make_node(path, type | 0600, makedev(major, minor));
}

static void make_kernel_nodes(const char *path, mode_t type)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL)
		make_kernel_node(dirfd(dir), entry->d_name, type);
	if (dir)
		closedir(dir);
}

int mounts_make_devices(const settings_t *settings, const struct mounts_devices *devices,
			uint32_t owner, struct error *err)
{
	if (settings->privileged) {
		make_kernel_nodes("/sys/dev/char", S_IFCHR);
		make_kernel_nodes("/sys/dev/block", S_IFBLK);
	}
	for (size_t i = 0; i < settings->n_devices; i++) {
		const Protect__Agent__Device *device = settings->devices[i];
		const char *path = *device->path_inside ? device->path_inside : device->path;
		int r = make_node(path, devices->device[i].mode, devices->device[i].number);

		if (r == 0 && owner && chown(path, owner, owner) < 0)
			r = -errno;
		if (r < 0)
			return error_set_errno(err, r, "device %s", path);
	}
	return 0;
}

static int set_sysctl(const char *assignment, struct error *err)
{
	const char *equals = strchr(assignment, '=');
	char path[PATH_SIZE];
	int n = snprintf(path, sizeof(path), "/proc/sys/%.*s", (int)(equals - assignment),
			 assignment);
	_cleanup_(close_fdp) int fd = -1;
	int r;

	for (int i = (int)strlen("/proc/sys/"); i < n; i++)
		if (path[i] == '.')
			path[i] = '/';
	fd = open(path, O_WRONLY | O_CLOEXEC);
	r = fd < 0 ? -errno : io_write_full(fd, equals + 1, strlen(equals + 1));
	return r < 0 ? error_set_errno(err, r, "set the sysctl %s", assignment) : 0;
}

int mounts_set_sysctls(const settings_t *settings, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < settings->n_sysctls; i++)
		r = set_sysctl(settings->sysctls[i], err);
	return r;
}

/* What is not there needs no guard. */
static int make_read_only(const char *path, struct error *err)
{
	if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0)
		return errno == ENOENT ? 0 : error_set_errno(err, -errno, "bind %s", path);
	if (mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | SAFE, NULL) < 0)
		return error_set_errno(err, -errno, "make %s read-only", path);
	return 0;
}

static int mask(const char *path, struct error *err)
{
	int r = mount("/dev/null", path, NULL, MS_BIND, NULL);

	if (r < 0 && errno == ENOTDIR)
		r = mount("tmpfs", path, "tmpfs", SAFE | MS_RDONLY, "mode=0755");
	return r < 0 && errno != ENOENT ? error_set_errno(err, -errno, "hide %s", path) : 0;
}

int mounts_guard(const settings_t *settings, struct error *err)
{
	bool usual = !settings->privileged && !settings->unmasked;
	int r = 0;

	for (size_t i = 0; usual && r == 0 && i < ARRAY_SIZE(usual_read_only); i++)
		r = make_read_only(usual_read_only[i], err);
	for (size_t i = 0; usual && r == 0 && i < ARRAY_SIZE(usual_masked); i++)
		r = mask(usual_masked[i], err);
	for (size_t i = 0; r == 0 && i < settings->n_read_only_paths; i++)
		r = make_read_only(settings->read_only_paths[i], err);
	for (size_t i = 0; r == 0 && i < settings->n_masked_paths; i++)
		r = mask(settings->masked_paths[i], err);
	return r;
}

static int mount_tmpfs(const Protect__Agent__Tmpfs *tmpfs, uint32_t owner, struct error *err)
{
	unsigned long flags = (tmpfs->exec ? 0 : MS_NOEXEC) | (tmpfs->suid ? 0 : MS_NOSUID) |
			      (tmpfs->dev ? 0 : MS_NODEV) | (tmpfs->read_only ? MS_RDONLY : 0);
	char options[OPTIONS_SIZE];
	int n = snprintf(options, sizeof(options), "mode=%o,uid=%u,gid=%u",
			 tmpfs->set_mode ? tmpfs->mode : TMPFS_MODE, owner, owner);
	int r = mounts_make_dirs(tmpfs->path);

	if (tmpfs->size_bytes)
		snprintf(options + n, sizeof(options) - (size_t)n, ",size=%" PRIu64,
			 tmpfs->size_bytes);
	if (r == 0 && mount("tmpfs", tmpfs->path, "tmpfs", flags, options) < 0)
		r = -errno;
	return r < 0 ? error_set_errno(err, r, "tmpfs %s", tmpfs->path) : 0;
}

/*
 * In a root that can be written a volume is a folder of it. In a read-only one its folder, which
 * has the image's content, is mounted on itself before, and stays as it is.
 */
static int make_volume(const settings_t *settings, const char *path, struct error *err)
{
	int r = mounts_make_dirs(path);

	if (r == 0 && settings->read_only && mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0)
		r = -errno;
	return r < 0 ? error_set_errno(err, r, "volume %s", path) : 0;
}

int mounts_finish(const settings_t *settings, uint32_t owner, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < settings->n_volumes; i++)
		r = make_volume(settings, settings->volumes[i], err);
	for (size_t i = 0; r == 0 && i < settings->n_tmpfs; i++)
		r = mount_tmpfs(settings->tmpfs[i], owner, err);
	if (r == 0 && settings->read_only &&
	    mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NODEV, NULL) < 0)
		r = error_set_errno(err, -errno, "make the root read-only");
	return r;
}
