// SPDX-License-Identifier: Apache-2.0
#include "supervisor/launch/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "supervisor/launch/launch.h"

#define NAME_SIZE	(sizeof("zone-") + UUID_TEXT_SIZE)
#define CONTROLLERS_MAX 512

static void group_name(const struct uuid *uuid, char name[static NAME_SIZE])
{
	char text[UUID_TEXT_SIZE];

	uuid_format(uuid, text);
	snprintf(name, NAME_SIZE, "zone-%s", text);
}

static int write_file(int dir, const char *name, const char *text)
{
	_cleanup_(close_fdp) int fd = openat(dir, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	return io_write_full(fd, text, strlen(text));
}

/* Whether `word` stands in the list of words that the file holds. */
static bool file_has_word(int dir, const char *name, const char *word)
{
	_cleanup_(freep) char *text = NULL;
	char *save = NULL;
	size_t len;

	if (io_read_file(dir, name, CONTROLLERS_MAX, &text, &len) < 0)
		return false;
	for (char *w = strtok_r(text, " \n", &save); w; w = strtok_r(NULL, " \n", &save))
		if (strcmp(w, word) == 0)
			return true;
	return false;
}

static int enable_controllers(int dir)
{
	return write_file(dir, "cgroup.subtree_control", "+memory +cpu +pids");
}

int cgroup_open_root(const char *path, struct error *err)
{
	_cleanup_(close_fdp) int parent = -1;
	_cleanup_(close_fdp) int root = -1;
	_cleanup_(freep) char *parent_path = strdup(path);
	char *slash = parent_path ? strrchr(parent_path, '/') : NULL;
	struct statfs fs;
	int r;

	if (!slash || slash == parent_path)
		return error_set(err, -EINVAL, "cgroup root '%s' is not a path below a cgroup tree",
				 path);
	*slash = '\0';
	parent = open(parent_path, O_DIRECTORY | O_PATH | O_CLOEXEC);
	if (parent < 0)
		return error_set(err, -ENOTSUP, "no cgroup tree at %s", parent_path);
	if (fstatfs(parent, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC ||
	    !file_has_word(parent, "cgroup.controllers", "memory"))
		return error_set(
			err, -ENOTSUP,
			"%s is not a cgroup v2 tree with the memory controller; boot the host with "
			"systemd.unified_cgroup_hierarchy=1",
			parent_path);
	r = enable_controllers(parent);
	if (r < 0)
		return error_set_errno(err, r, "controllers of %s cannot be enabled", parent_path);
	if (mkdirat(parent, slash + 1, 0755) < 0 && errno != EEXIST)
		return error_set_errno(err, -errno, "cgroup %s cannot be made", path);
	root = openat(parent, slash + 1, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (root < 0)
		return error_set_errno(err, -errno, "cgroup %s", path);
	r = enable_controllers(root);
	if (r < 0)
		return error_set_errno(err, r, "controllers of %s cannot be enabled", path);
	return steal_fd(&root);
}

static int set_limits(int group, const struct cgroup_limits *limits, struct error *err)
{
	char memory[32], cpu[64], weight[16], pids[16];
	const struct {
		const char *file, *value;
	} settings[] = {
		{"memory.max", memory}, {"memory.oom.group", "1"}, {"cpu.max", cpu},
		{"cpu.weight", weight}, {"pids.max", pids},
	};
	int r;

	snprintf(memory, sizeof(memory), "%" PRIu64, limits->memory_bytes);
	snprintf(weight, sizeof(weight), "%u", limits->cpu_weight);
	snprintf(pids, sizeof(pids), "%u", CGROUP_PIDS_MAX);
	if (limits->cpu_quota_us)
		snprintf(cpu, sizeof(cpu), "%u %u", limits->cpu_quota_us, LAUNCH_CPU_PERIOD_US);
	else
		snprintf(cpu, sizeof(cpu), "max %u", LAUNCH_CPU_PERIOD_US);
	for (unsigned i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		r = write_file(group, settings[i].file, settings[i].value);
		if (r < 0)
			return error_set_errno(err, r, "limit %s = %s of the zone's cgroup",
					       settings[i].file, settings[i].value);
	}
	/* A kernel without swap accounting has no such file, and then nothing to limit. */
	r = write_file(group, "memory.swap.max", "0");
	return r < 0 && r != -ENOENT ? error_set_errno(err, r, "limit memory.swap.max") : 0;
}

int cgroup_make(int root, const struct uuid *uuid, const struct cgroup_limits *limits,
		struct error *err)
{
	_cleanup_(close_fdp) int group = -1;
	char name[NAME_SIZE];
	int r;

	group_name(uuid, name);
	if (mkdirat(root, name, 0755) < 0)
		return error_set_errno(err, -errno, "cgroup %s cannot be made", name);
	group = openat(root, name, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	r = group < 0 ? error_set_errno(err, -errno, "cgroup %s", name)
		      : set_limits(group, limits, err);
	if (r < 0) {
		cgroup_remove(root, uuid);
		return r;
	}
	return steal_fd(&group);
}

int cgroup_kill(int root, const struct uuid *uuid)
{
	_cleanup_(close_fdp) int group = -1;
	char name[NAME_SIZE];

	group_name(uuid, name);
	group = openat(root, name, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (group < 0)
		return -errno;
	return write_file(group, "cgroup.kill", "1");
}

int cgroup_remove(int root, const struct uuid *uuid)
{
	char name[NAME_SIZE];

	group_name(uuid, name);
	if (unlinkat(root, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}
