// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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
#define CPU_PERIOD_US  100000u

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

/*
 * A part of all tasks that the kernel lets there be (it counts them by its memory): who forks
 * without end leaves some to others. A kernel without the controller has no such file.
 */
static void limit_tasks(int dir, uint64_t part, uint64_t of)
{
	_cleanup_(freep) char *text = NULL;
	char limit[24];
	uint64_t all;
	size_t len;

	if (io_read_file(AT_FDCWD, "/proc/sys/kernel/threads-max", FILE_MAX_BYTES, &text, &len) < 0)
		return;
	all = strtoull(text, NULL, 10);
	snprintf(limit, sizeof(limit), "%" PRIu64, all / of * part);
	write_file(dir, "pids.max", limit);
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
	limit_tasks(workloads, 3, 4);
	return 0;
}

static void group_path(const char *root, const char *uuid, char path[CGROUP_PATH_MAX])
{
	snprintf(path, CGROUP_PATH_MAX, "%s/workloads/%s", root, uuid);
}

int cgroup_make(const char *root, const char *uuid)
{
	char path[CGROUP_PATH_MAX];
	int group;

	group_path(root, uuid, path);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	group = open_dir(path);
	if (group >= 0)
		limit_tasks(group, 1, 2);
	return group;
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
		while (*at && (strncmp(at, key, len) != 0 || at[len] != ' ')) {
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

uint64_t cgroup_oom_kills(int group)
{
	uint64_t kills;

	return cgroup_read(group, "memory.events", "oom_kill", &kills) == 0 ? kills : 0;
}

static int write_limit(int group, const char *file, const char *text)
{
	int r = group < 0 ? -ENOENT : write_file(group, file, text);

	return r == -ENOENT || r == -EACCES ? -EOPNOTSUPP : r;
}

static int limit_memory(int group, uint64_t bytes)
{
	char text[24];
	int r;

	snprintf(text, sizeof(text), "%" PRIu64, bytes);
	r = write_limit(group, "memory.max", text);
	if (r == 0)
		write_limit(group, "memory.swap.max",
			    "0"); /* a kernel without swap has no such file */
	return r;
}

int cgroup_limit(int group, const struct cgroup_limits *limits)
{
	char text[48];
	int r = limits->memory_bytes ? limit_memory(group, limits->memory_bytes) : 0;

	if (r == 0 && limits->cpu_millis) {
		snprintf(text, sizeof(text), "%" PRIu64 " %u",
			 (uint64_t)limits->cpu_millis * CPU_PERIOD_US / 1000, CPU_PERIOD_US);
		r = write_limit(group, "cpu.max", text);
	}
	if (r == 0 && limits->pids) {
		snprintf(text, sizeof(text), "%" PRIu32, limits->pids);
		r = write_limit(group, "pids.max", text);
	}
	return r;
}
