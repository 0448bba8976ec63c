// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

bool device_is_path(const char *name)
{
	return strncmp(name, "/dev/", 5) == 0;
}

static bool is_named(const struct settings *settings, const char *path)
{
	for (unsigned i = 0; i < settings->n_devices; i++)
		if (strcmp(settings->devices[i], path) == 0)
			return true;
	return false;
}

static int say_why(const char *path, int code, struct error *err)
{
	if (code == -EBUSY)
		return error_set(err, code,
				 "device '%s' is in use: mounted on the host, part of another "
				 "device, or another's volume",
				 path);
	if (code == -EACCES)
		return error_set(err, code,
				 "the user protect-storage may not open '%s'; give it to that user "
				 "(docs/volumes.md)",
				 path);
	return error_set_errno(err, code, "device '%s'", path);
}

int device_open(const struct settings *settings, const char *path, bool read_only,
		struct volume *out, struct error *err)
{
	int flags = (read_only ? O_RDONLY : O_RDWR) | O_EXCL | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	_cleanup_(close_fdp) int fd = -1;
	struct stat st;
	off_t end;

	if (!is_named(settings, path))
		return error_set(
			err, -EPERM,
			"device '%.63s' is not allowed: no block-device of protect.conf names it",
			path);
	fd = open(path, flags);
	if (fd < 0)
		return say_why(path, -errno, err);
	if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode))
		return error_set(err, -ENOTBLK, "'%s' is no block device", path);
	end = lseek(fd, 0, SEEK_END);
	if (end < 0)
		return say_why(path, -errno, err);
	*out = (struct volume){.format = VOLUME_RAW, .size_bytes = (uint64_t)end};
	snprintf(out->name, sizeof(out->name), "%s", path);
	return steal_fd(&fd);
}
