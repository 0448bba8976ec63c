// SPDX-License-Identifier: Apache-2.0
#include "supervisor/launch/cgroup_files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/io.h"

#define FILE_MAX	 16384
#define DEVICES_XATTR	 "user.protect.devices"	   /* v2 */
#define DEVICES_XATTR_V1 "trusted.protect.devices" /* v1 knows no other */

void cgroup_zone_name(const struct uuid *uuid, char out[static CGROUP_NAME_SIZE])
{
	char text[UUID_TEXT_SIZE];

	uuid_format(uuid, text);
	snprintf(out, CGROUP_NAME_SIZE, "zone-%s", text);
}

/*
 * What the drivers do, libcgroup with them: files of cgroup and /proc, and folders.
 *
 * #syscalls launch: openat read write pread64 lseek(_, _, SEEK_SET) access getdents64
 *	newfstatat(_, _, _, 0) newfstatat(_, _, _, AT_EMPTY_PATH)
 *	newfstatat(_, _, _, AT_SYMLINK_NOFOLLOW) mkdir mkdirat rmdir unlinkat statfs fstatfs
 *	faccessat faccessat2 chmod chown fchmodat fchownat gettid getpid getuid close
 *	kill(_, SIGKILL) readlink fsetxattr fgetxattr
 */
int cgroup_file_write(int dir, const char *file, const char *text)
{
	_cleanup_(close_fdp) int fd = openat(dir, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	return io_write_full(fd, text, strlen(text));
}

int cgroup_file_add(int dir, pid_t pid)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)pid);
	return cgroup_file_write(dir, "cgroup.procs", text);
}

int cgroup_file_u64(int dir, const char *file, uint64_t *value)
{
	_cleanup_(freep) char *text = NULL;
	char *end;
	size_t len;
	int r = io_read_file(dir, file, FILE_MAX, &text, &len);

	if (r < 0)
		return r;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno || end == text || (*end && *end != '\n') ? -EINVAL : 0;
}

int cgroup_file_field(int dir, const char *file, const char *key, uint64_t *value)
{
	_cleanup_(freep) char *text = NULL;
	char *save = NULL;
	size_t len, key_len = strlen(key);
	int r = io_read_file(dir, file, FILE_MAX, &text, &len);

	if (r < 0)
		return r;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (strncmp(line, key, key_len) == 0 && line[key_len] == ' ') {
			*value = strtoull(line + key_len + 1, NULL, 10);
			return 0;
		}
	return -ENOENT;
}

bool cgroup_file_has_word(int dir, const char *file, const char *word)
{
	_cleanup_(freep) char *text = NULL;
	char *save = NULL;
	size_t len;

	if (io_read_file(dir, file, FILE_MAX, &text, &len) < 0)
		return false;
	for (char *w = strtok_r(text, " \n", &save); w; w = strtok_r(NULL, " \n", &save))
		if (strcmp(w, word) == 0)
			return true;
	return false;
}

void cgroup_file_report(int dir, struct cgroup_report *out)
{
	uint64_t kills = 0;

	cgroup_file_field(dir, "memory.events", "oom_kill", &kills);
	out->oom_kills = kills < UINT32_MAX ? (uint32_t)kills : UINT32_MAX;
	cgroup_file_u64(dir, "memory.peak", &out->memory_peak_bytes);
}

int cgroup_devices_save(int dir, const dev_t *devices, unsigned n)
{
	if (fsetxattr(dir, DEVICES_XATTR, devices, n * sizeof(*devices), 0) == 0 ||
	    fsetxattr(dir, DEVICES_XATTR_V1, devices, n * sizeof(*devices), 0) == 0)
		return 0;
	return -errno;
}

int cgroup_devices_load(int dir, dev_t devices[static CGROUP_DEVICES_MAX])
{
	size_t size = CGROUP_DEVICES_MAX * sizeof(*devices);
	ssize_t len = fgetxattr(dir, DEVICES_XATTR, devices, size);

	if (len < 0)
		len = fgetxattr(dir, DEVICES_XATTR_V1, devices, size);
	return len < 0 ? -errno : (int)((size_t)len / sizeof(*devices));
}
