// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/hotplug.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "zone-guest/disk.h"

#define CPUS	    "/sys/devices/system/cpu"
#define MEMORY	    "/sys/devices/system/memory"
#define POLICY	    "/sys/module/memory_hotplug/parameters/online_policy"
#define CPU_ADDED   "add@/devices/system/cpu/cpu"
#define NUMBERS_MAX 1000000
#define EVENTS_MAX  256

static void close_dirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int write_text(const char *path, const char *text)
{
	_cleanup_(close_fdp) int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

/* Writes `on` to the attribute if it says `off`. A kernel without it can do without us. */
static void switch_on(const char *path, const char *off, const char *on)
{
	_cleanup_(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[16] = "";
	int r;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || strncmp(text, off, strlen(off)) != 0)
		return;
	r = write_text(path, on);
	if (r < 0)
		log_warning("what=hotplug file=%s err=%s", path, strerror(-r));
	else
		log_info("what=hotplug msg=\"taken into use\" file=%s", path);
}

static void online_cpu(unsigned number)
{
	char path[64];

	snprintf(path, sizeof(path), CPUS "/cpu%u/online", number);
	switch_on(path, "0", "1");
}

/* The number that text consists of; -1: none. */
static long number(const char *text)
{
	char *end;
	long value = strtol(text, &end, 10);

	return end != text && !*end && value >= 0 && value < NUMBERS_MAX ? value : -1;
}

/* Calls online() for each entry `prefix`NUMBER of a folder. */
static void for_each(const char *folder, const char *prefix, void (*online)(unsigned number))
{
	_cleanup_(close_dirp) DIR *dir = opendir(folder);
	struct dirent *entry;
	size_t len = strlen(prefix);

	while (dir && (entry = readdir(dir)))
		if (strncmp(entry->d_name, prefix, len) == 0 && number(entry->d_name + len) >= 0)
			online((unsigned)number(entry->d_name + len));
}

static void online_memory(unsigned number)
{
	char path[64];

	snprintf(path, sizeof(path), MEMORY "/memory%u/state", number);
	switch_on(path, "offline", "online");
}

void hotplug_prepare(void)
{
	/* Not every kernel can plug memory. */
	if (write_text(MEMORY "/auto_online_blocks", "online") == 0) {
		(void)write_text(POLICY, "auto-movable");
		for_each(MEMORY, "memory", online_memory);
	}
	for_each(CPUS, "cpu", online_cpu);
}

int hotplug_events_open(void)
{
	return disk_events_open();
}

void hotplug_events_read(int fd)
{
	const size_t prefix = strlen(CPU_ADDED);
	char event[512];

	for (int i = 0; i < EVENTS_MAX; i++) {
		struct sockaddr_nl from = {0};
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(fd, event, sizeof(event) - 1, MSG_DONTWAIT,
				     (struct sockaddr *)&from, &from_len);

		if (n < 0 && errno == ENOBUFS) {
			for_each(CPUS, "cpu", online_cpu); /* some were lost */
			continue;
		}
		if (n < 0)
			return;
		event[n] = '\0';
		/* From the kernel itself, not from a workload that may send. */
		if (from.nl_pid == 0 && strncmp(event, CPU_ADDED, prefix) == 0 &&
		    number(event + prefix) >= 0)
			online_cpu((unsigned)number(event + prefix));
	}
}
