// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"

#define FILE_MAX_BYTES (256u * 1024)

static int write_file(int dir, const char *name, const char *text)
{
	_cleanup_(close_fdp) int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return io_write_full(fd, text, strlen(text));
}

/* One at a time: a kernel may have some of them only. */
static void hand_down(int dir)
{
	static const char *const controllers[] = {"+memory", "+pids", "+cpu"};

	for (unsigned i = 0; i < ARRAY_SIZE(controllers); i++)
		write_file(dir, "cgroup.subtree_control", controllers[i]);
}

static int open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int cgroup_setup(const char *root)
{
	_cleanup_(close_fdp) int top = open_dir(root), workloads = -1;

	if (top < 0)
		return top;
	hand_down(top);
	if (mkdirat(top, "workloads", 0755) < 0 && errno != EEXIST)
		return -errno;
	workloads = openat(top, "workloads", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (workloads < 0)
		return -errno;
	hand_down(workloads);
	return 0;
}

static void group_path(const char *root, const char *uuid, char path[CGROUP_PATH_MAX])
{
	snprintf(path, CGROUP_PATH_MAX, "%s/workloads/%s", root, uuid);
}

int cgroup_make(const char *root, const char *uuid)
{
	char path[CGROUP_PATH_MAX];

	group_path(root, uuid, path);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	return open_dir(path);
}

int cgroup_remove(const char *root, const char *uuid)
{
	char path[CGROUP_PATH_MAX];

	group_path(root, uuid, path);
	return rmdir(path) < 0 && errno != ENOENT ? -errno : 0;
}

int cgroup_kill(int group)
{
	int r = group < 0 ? -ENOENT : write_file(group, "cgroup.kill", "1");

	return r == -ENOENT && group >= 0 ? cgroup_signal(group, SIGKILL) : r;
}

int cgroup_signal(int group, int signal)
{
	_cleanup_(freep) char *text = NULL;
	size_t len;
	int r = group < 0 ? -ENOENT
			  : io_read_file(group, "cgroup.procs", FILE_MAX_BYTES, &text, &len);

	if (r < 0)
		return r;
	for (char *at = text, *end; *at; at = *end ? end + 1 : end) {
		long pid = strtol(at, &end, 10);

		if (end == at)
			break;
		if (pid > 1)
			kill((pid_t)pid, signal);
	}
	return 0;
}

int cgroup_read(int group, const char *file, const char *key, uint64_t *out)
{
	_cleanup_(freep) char *text = NULL;
	const char *at;
	size_t len;
	int r = group < 0 ? -ENOENT : io_read_file(group, file, FILE_MAX_BYTES, &text, &len);

	if (r < 0)
		return r;
	at = text;
	if (key) {
		len = strlen(key);
		while (*at && (strncmp(at, key, len) || at[len] != ' ')) {
			at = strchrnul(at, '\n');
			at += *at == '\n';
		}
		if (!*at)
			return -ENOENT;
		at += len + 1;
	}
	errno = 0;
	*out = strtoull(at, NULL, 10);
	return errno ? -errno : 0;
}

bool cgroup_oom_killed(int group)
{
	uint64_t kills;

	return cgroup_read(group, "memory.events", "oom_kill", &kills) == 0 && kills > 0;
}
