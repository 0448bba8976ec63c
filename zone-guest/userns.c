// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/userns.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

#define XATTR_CAPS "security.capability"

static int write_map(pid_t pid, const char *name, uint32_t first_id)
{
	_cleanup_(close_fdp) int fd = -1;
	char path[64], text[64];
	int n = snprintf(text, sizeof(text), "0 %u %u\n", first_id, USERNS_IDS);

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : io_write_full(fd, text, (size_t)n);
}

/* The namespace of a process that waits in it. */
static int map_and_open(pid_t pid, uint32_t first_id)
{
	char path[64];
	int r = write_map(pid, "uid_map", first_id), fd;

	if (r == 0)
		r = write_map(pid, "gid_map", first_id);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int userns_make(unsigned n, struct userns *out)
{
	struct clone_args args = {.flags = CLONE_NEWUSER};
	uint32_t first_id = (n + 1) * USERNS_IDS;
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	int fd;

	if (pid < 0)
		return -errno;
	if (pid == 0)
		for (;;)
			pause();
	fd = map_and_open(pid, first_id);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	if (fd < 0)
		return fd;
	*out = (struct userns){.fd = fd, .first_id = first_id};
	return 0;
}

void userns_deinit(struct userns *userns)
{
	close_fdp(&userns->fd);
	userns->first_id = 0;
}

/* As the workload's root gave them: to programs in its namespace, and to none outside (§ "File
 * capability extended attribute versioning" of capabilities(7)). */
static int keep_caps(const char *path, const struct vfs_cap_data *old, uint32_t first_id)
{
	struct vfs_ns_cap_data caps = {
		.magic_etc = htole32((le32toh(old->magic_etc) & VFS_CAP_FLAGS_EFFECTIVE) |
				     VFS_CAP_REVISION_3),
		.rootid = htole32(first_id),
	};

	memcpy(caps.data, old->data, sizeof(caps.data));
	return setxattr(path, XATTR_CAPS, &caps, sizeof(caps), 0) < 0 ? -errno : 0;
}

static uint32_t shifted(uint32_t id, uint32_t first_id)
{
	return id < USERNS_IDS ? first_id + id : id;
}

/* A new owner takes set-user-id bits and capabilities from a file. */
static int own_one(const char *path, const struct stat *st, uint32_t first_id)
{
	bool is_file = S_ISREG(st->st_mode);
	struct vfs_cap_data caps;
	ssize_t n = is_file ? getxattr(path, XATTR_CAPS, &caps, sizeof(caps)) : -1;
	int r;

	r = lchown(path, shifted(st->st_uid, first_id), shifted(st->st_gid, first_id));
	if (r == 0 && is_file && st->st_mode & (S_ISUID | S_ISGID))
		r = chmod(path, st->st_mode & 07777);
	if (r < 0)
		return -errno;
	return n == (ssize_t)sizeof(caps) ? keep_caps(path, &caps, first_id) : 0;
}

static int visit(FTSENT *entry, uint32_t first_id, struct error *err)
{
	const struct stat *st = entry->fts_statp;
	int r = 0;

	switch (entry->fts_info) {
	case FTS_DP:
		return 0;
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		r = -entry->fts_errno;
		break;
	default:
		if (st->st_uid < USERNS_IDS || st->st_gid < USERNS_IDS)
			r = own_one(entry->fts_accpath, st, first_id);
		break;
	}
	return r < 0 ? error_set_errno(err, r, "give %.128s to the workload", entry->fts_path) : 0;
}

int userns_own(const struct userns *userns, const char *path, struct error *err)
{
	char *const paths[] = {(char *)(uintptr_t)path, NULL};
	FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_XDEV, NULL);
	FTSENT *entry;
	int r = 0;

	if (!tree)
		return error_set_errno(err, -errno, "look through the image");
	while (r == 0 && (errno = 0, entry = fts_read(tree)) != NULL)
		r = visit(entry, userns->first_id, err);
	if (r == 0 && errno != 0)
		r = error_set_errno(err, -errno, "look through the image");
	fts_close(tree);
	return r;
}

int userns_enter(const struct userns *userns, struct error *err)
{
	if (setns(userns->fd, CLONE_NEWUSER) < 0)
		return error_set_errno(err, -errno, "join the workload's users");
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return error_set_errno(err, -errno, "become the workload's root");
	return 0;
}
