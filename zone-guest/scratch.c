// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#define SCRATCH_DIR "/run/scratch"

static void path_of(const char *uuid, char path[static SCRATCH_PATH_MAX])
{
	snprintf(path, SCRATCH_PATH_MAX, SCRATCH_DIR "/%s", uuid);
}

static int make_dir(const char *path, mode_t mode)
{
	return mkdir(path, mode) < 0 && errno != EEXIST ? -errno : 0;
}

static int fill(const char *path)
{
	_cleanup_(close_fdp) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0 || mkdirat(dir, "upper", 0755) < 0 || mkdirat(dir, "work", 0755) < 0)
		return -errno;
	return 0;
}

/* What lies on the disk was made by our host a moment ago. */
static int mount_on(const char *path, const char *disk)
{
	int r = *disk ? mount(disk, path, "ext4", MS_NODEV, "discard,errors=remount-ro")
		      : mount("scratch", path, "tmpfs", MS_NODEV, "mode=0700");

	return r < 0 ? -errno : 0;
}

int scratch_make(const char *uuid, const char *disk, char path[static SCRATCH_PATH_MAX])
{
	int r = make_dir(SCRATCH_DIR, 0700);

	path_of(uuid, path);
	if (r == 0)
		r = make_dir(path, 0700);
	if (r == 0)
		r = mount_on(path, disk);
	return r == 0 ? fill(path) : r;
}

void scratch_remove(const char *uuid)
{
	char path[SCRATCH_PATH_MAX];

	path_of(uuid, path);
	if (umount2(path, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
		log_warning("what=scratch-remove workload=%s err=%s", uuid, strerror(errno));
	rmdir(path);
}
