// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/stats_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"

#define TEXT_MAX  1024u
#define US_PER_NS 1000u

uint64_t cgroup_keyed_value(const char *text, const char *key)
{
	size_t len = strlen(key);

	while (text && *text) {
		if (strncmp(text, key, len) == 0 && text[len] == ' ')
			return strtoull(text + len + 1, NULL, 10);
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return CGROUP_UNKNOWN;
}

/* A file's text; false when there is no such file. */
/* #syscalls daemon: openat read pread64 close */
static bool read_text(const char *folder, const char *file, char text[static TEXT_MAX])
{
	_cleanup_(close_fdp) int fd = -1;
	char path[768];
	ssize_t n = 0;
	int len = snprintf(path, sizeof(path), "%s/%s", folder, file);

	if (len > 0 && (size_t)len < sizeof(path))
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = io_pread_full(fd, text, TEXT_MAX - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static uint64_t read_number(const char *folder, const char *file)
{
	char text[TEXT_MAX], *end;
	uint64_t value;

	if (!read_text(folder, file, text))
		return CGROUP_UNKNOWN;
	value = strtoull(text, &end, 10);
	return end == text ? CGROUP_UNKNOWN : value;
}

static uint64_t to_us(uint64_t ns)
{
	return ns == CGROUP_UNKNOWN ? ns : ns / US_PER_NS;
}

static bool read_unified(const char *mount, const char *path, struct cgroup_figures *out)
{
	char folder[512], text[TEXT_MAX];

	snprintf(folder, sizeof(folder), "%s/%s", mount, path);
	if (!read_text(folder, "cpu.stat", text))
		return false;
	out->cpu_us = cgroup_keyed_value(text, "usage_usec");
	out->cpu_throttled_us = cgroup_keyed_value(text, "throttled_usec");
	out->memory_bytes = read_number(folder, "memory.current");
	out->memory_peak_bytes = read_number(folder, "memory.peak");
	out->tasks = read_number(folder, "pids.current");
	if (read_text(folder, "memory.events", text))
		out->oom_kills = cgroup_keyed_value(text, "oom_kill");
	return true;
}

static void read_legacy(const char *mount, const char *path, struct cgroup_figures *out)
{
	char folder[512], text[TEXT_MAX];

	snprintf(folder, sizeof(folder), "%s/cpuacct/%s", mount, path);
	out->cpu_us = to_us(read_number(folder, "cpuacct.usage"));
	snprintf(folder, sizeof(folder), "%s/cpu/%s", mount, path);
	if (read_text(folder, "cpu.stat", text))
		out->cpu_throttled_us = to_us(cgroup_keyed_value(text, "throttled_time"));
	snprintf(folder, sizeof(folder), "%s/memory/%s", mount, path);
	out->memory_bytes = read_number(folder, "memory.usage_in_bytes");
	out->memory_peak_bytes = read_number(folder, "memory.max_usage_in_bytes");
	if (read_text(folder, "memory.oom_control", text))
		out->oom_kills = cgroup_keyed_value(text, "oom_kill");
	snprintf(folder, sizeof(folder), "%s/pids/%s", mount, path);
	out->tasks = read_number(folder, "pids.current");
}

void cgroup_figures_read(const char *mount, const char *path, struct cgroup_figures *out)
{
	*out = (struct cgroup_figures){CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN,
				       CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN};
	if (!*path || strstr(path, ".."))
		return;
	if (!read_unified(mount, path, out))
		read_legacy(mount, path, out);
}
