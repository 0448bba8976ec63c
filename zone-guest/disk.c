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
#include "zone-guest/xen.h"

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

/* /sys/block/xvda/device leads to …/vbd-51712, which is device/vbd/51712 in xenstore. */
static bool has_xen_serial(int sys_block, const char *name, const char *serial)
{
	char path[64], target[256], node[320], text[DISK_SERIAL_MAX + 1];
	const char *device;
	ssize_t n;

	if ((size_t)snprintf(path, sizeof(path), "%s/device", name) >= sizeof(path))
		return false;
	n = readlinkat(sys_block, path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	device = strrchr(target, '/');
	device = device ? device + 1 : target;
	if (strncmp(device, "vbd-", 4) != 0)
		return false;
	snprintf(node, sizeof(node), "device/vbd/%s/" XEN_SERIAL_NODE, device + 4);
	return xen_store_read(node, text, sizeof(text)) == 0 && !strcmp(text, serial);
}

static bool is_wanted(int sys_block, const char *name, const char *serial)
{
	if (strncmp(name, "xvd", 3) == 0)
		return has_xen_serial(sys_block, name, serial);
	return strncmp(name, "vd", 2) == 0 && has_serial(sys_block, name, serial);
}

int disk_find(const char *serial, char *path, size_t size)
{
	_cleanup_(close_dirp) DIR *dir = opendir(SYS_BLOCK);
	struct dirent *entry;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (!is_wanted(dirfd(dir), entry->d_name, serial))
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
