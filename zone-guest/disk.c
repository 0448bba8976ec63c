// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

#define SYS_BLOCK     "/sys/block"
#define KERNEL_EVENTS 1u /* the multicast group that the kernel itself speaks to */
#define DRAIN_MAX     256

static void close_dirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static bool has_serial(int sys_block, const char *name, const char *serial)
{
	char path[64], text[DISK_SERIAL_MAX + 2] = "";
	_cleanup_(close_fdp) int fd = -1;
	ssize_t n;

	if ((size_t)snprintf(path, sizeof(path), "%s/serial", name) >= sizeof(path))
		return false;
	fd = openat(sys_block, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = io_read_full(fd, text, sizeof(text) - 1);
	if (n < 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return !strcmp(text, serial);
}

int disk_find(const char *serial, char *path, size_t size)
{
	_cleanup_(close_dirp) DIR *dir = opendir(SYS_BLOCK);
	struct dirent *entry;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "vd", 2) != 0 ||
		    !has_serial(dirfd(dir), entry->d_name, serial))
			continue;
		return (size_t)snprintf(path, size, "/dev/%s", entry->d_name) < size
			       ? 0
			       : -ENAMETOOLONG;
	}
	return -ENODEV;
}

int disk_events_open(void)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = KERNEL_EVENTS};
	_cleanup_(close_fdp) int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
					     NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return steal_fd(&fd);
}

void disk_events_drain(int fd)
{
	char buf[8192];

	for (int i = 0; i < DRAIN_MAX; i++)
		if (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) < 0 && errno != ENOBUFS)
			return;
}
