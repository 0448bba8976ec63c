// SPDX-License-Identifier: Apache-2.0
#include "supervisor/network/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/if_tun.h>

#include "base/cleanup.h"

#ifndef IFF_TUN_EXCL
#define IFF_TUN_EXCL 0x8000
#endif

int tap_check_rights(struct error *err)
{
	_cleanup_(close_fdp) int fd = open(TAP_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return 0;
	if (errno == EACCES)
		return error_set(err, -EACCES,
				 "this user may not open " TAP_DEVICE
				 ": make it mode 0666, as udev does, or give it to the group "
				 "protect-network");
	return error_set_errno(err, -errno,
			       "cannot open " TAP_DEVICE " (is the kernel module tun there?)");
}

/* #syscalls network: openat ioctl(_, TUNSETIFF) close */
static int open_queue(const char name[IF_NAMESIZE], unsigned short flags)
{
	_cleanup_(close_fdp) int fd = open(TAP_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags)};

	if (fd < 0)
		return -errno;
	snprintf(request.ifr_name, IF_NAMESIZE, "%s", name);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return -errno;
	return steal_fd(&fd);
}

int tap_make(const char name[IF_NAMESIZE], unsigned n, int *fds, struct error *err)
{
	for (unsigned i = 0; i < n; i++) {
		/* The first may find nobody's link there, the others are its queues. */
		int fd = open_queue(name, (unsigned short)((n > 1 ? IFF_MULTI_QUEUE : 0) |
							   (i ? 0 : IFF_TUN_EXCL)));

		if (fd < 0) {
			while (i)
				close_fdp(&fds[--i]);
			return error_set_errno(err, fd, "cannot make the tap %s", name);
		}
		fds[i] = fd;
	}
	return 0;
}
