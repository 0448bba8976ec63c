// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#define PATH_SIZE 512

static void path_of(const struct daemon *d, const char *uuid, char path[static PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "%s/logs/%s", d->options.state_dir, uuid);
}

/* #syscalls daemon: openat mkdir unlink close */
static int open_log(const struct daemon *d, const char *uuid, int flags)
{
	char path[PATH_SIZE];
	int fd;

	path_of(d, uuid, path);
	fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

int keep_init(const struct daemon *d, struct error *err)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/logs", d->options.state_dir);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set_errno(err, -errno, "folder %s", path);
	return 0;
}

static void say_not_kept(const char *uuid, int error)
{
	log_warning("log=%s err=\"%s\" not kept", uuid, strerror(-error));
}

void keep_start(const struct daemon *d, const char *uuid, struct ring *ring)
{
	int fd = open_log(d, uuid, O_RDWR | O_CREAT);

	if (fd < 0) {
		say_not_kept(uuid, fd);
		return;
	}
	ring_restore(ring, fd);
	ring_mirror(ring, fd);
}

void keep_again(const struct daemon *d, const char *uuid, struct ring *ring)
{
	int fd = open_log(d, uuid, O_RDWR | O_CREAT);

	if (fd < 0)
		say_not_kept(uuid, fd);
	else
		ring_mirror(ring, fd);
}

void keep_end(const struct daemon *d, const char *uuid, struct ring *ring)
{
	int r = ring_unmirror(ring), fd;

	if (r == -EBADF) {
		fd = open_log(d, uuid, O_RDWR | O_CREAT);
		if (fd >= 0)
			ring_mirror(ring, fd);
		r = fd < 0 ? fd : ring_unmirror(ring);
	}
	if (r < 0)
		say_not_kept(uuid, r);
}

void keep_load(const struct daemon *d, const char *uuid, struct ring *ring)
{
	_cleanup_(close_fdp) int fd = open_log(d, uuid, O_RDONLY);

	if (fd >= 0)
		ring_restore(ring, fd);
}

void keep_remove(const struct daemon *d, const char *uuid)
{
	char path[PATH_SIZE];

	path_of(d, uuid, path);
	if (unlink(path) < 0 && errno != ENOENT)
		log_warning("log=%s err=\"%s\" not removed", uuid, strerror(errno));
}
