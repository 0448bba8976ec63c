// SPDX-License-Identifier: Apache-2.0
#include "supervisor/launch/folders.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "base/cleanup.h"
#include "base/config.h"
#include "base/util.h"
#include "base/volume_target.h"

static int add(struct folders *folders, const char *value, bool read_only, struct error *err)
{
	if (!volume_target_is_path(value))
		return error_set(err, -EINVAL,
				 "not a path from the root without '.', '..' and a '/' at its end");
	if (folders->n == FOLDERS_ALLOWED_MAX)
		return error_set(err, -E2BIG, "more than %u folders", FOLDERS_ALLOWED_MAX);
	memcpy(folders->allowed[folders->n].path, value, strlen(value) + 1);
	folders->allowed[folders->n++].read_only = read_only;
	return 0;
}

static int set_share(void *values, const char *value, struct error *err)
{
	return add(values, value, false, err);
}

static int set_share_read_only(void *values, const char *value, struct error *err)
{
	return add(values, value, true, err);
}

int folders_read(struct folders *folders, const char *path, bool required, struct error *err)
{
	static const struct config_key keys[] = {
		{.name = "share", .set = set_share, .repeats = true},
		{.name = "share-read-only", .set = set_share_read_only, .repeats = true},
	};

	folders->n = 0;
	return config_read(path, required, "launch", keys, ARRAY_SIZE(keys), folders, err);
}

static bool is_below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 && (!path[len] || path[len] == '/');
}

static int check_allowed(const struct folders *folders, const struct launch_share *share,
			 struct error *err)
{
	bool read_only = false;

	for (unsigned i = 0; i < folders->n; i++) {
		if (!is_below(share->path, folders->allowed[i].path))
			continue;
		if (share->read_only || !folders->allowed[i].read_only)
			return 0;
		read_only = true;
	}
	if (read_only)
		return error_set(err, -EACCES,
				 "'%.160s' may be shared read-only: add ':ro' (share-read-only in "
				 "protect.conf)",
				 share->path);
	return error_set(err, -EACCES,
			 "'%.120s' may not be shared: 'share = FOLDER' in [launch] of "
			 "protect.conf allows a folder and what is below it",
			 share->path);
}

/* #syscalls launch: openat2 newfstatat(_, _, _, AT_EMPTY_PATH) close */
int folders_open(const struct folders *folders, const struct launch_share *share, struct stat *st,
		 struct error *err)
{
	const struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				     .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	_cleanup_(close_fdp) int fd = -1;
	int r;

	if (!memchr(share->path, '\0', sizeof(share->path)) ||
	    !volume_target_is_path(share->path) || share->read_only > 1)
		return error_set(err, -EINVAL, "the folder is no path from the root");
	r = check_allowed(folders, share, err);
	if (r < 0)
		return r;
	fd = (int)syscall(SYS_openat2, AT_FDCWD, share->path, &how, sizeof(how));
	if (fd >= 0 && fstat(fd, st) == 0)
		return steal_fd(&fd);
	r = -errno;
	if (r == -ELOOP)
		return error_set(err, r,
				 "a part of '%.200s' is a symbolic link; name the folder itself",
				 share->path);
	return error_set_errno(err, r, "the folder '%.200s'", share->path);
}
