// SPDX-License-Identifier: Apache-2.0
#include "xen-compat/loopdev.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <linux/loop.h>

#include "base/cleanup.h"

#define TRIES 16u /* somebody else may take the free one first */

static int try_bind(int control, int fd, unsigned flags, dev_t *device)
{
	struct loop_config config = {.fd = (unsigned)fd, .info.lo_flags = flags};
	_cleanup_(close_fdp) int loop = -1;
	char path[32];
	struct stat st;
	int number = ioctl(control, LOOP_CTL_GET_FREE);

	if (number < 0)
		return -errno;
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	loop = open(path, O_RDWR | O_CLOEXEC);
	if (loop < 0 || ioctl(loop, LOOP_CONFIGURE, &config) < 0 || fstat(loop, &st) < 0)
		return -errno;
	*device = st.st_rdev;
	return steal_fd(&loop);
}

int loopdev_bind(int fd, bool read_only, bool direct, dev_t *device)
{
	unsigned flags = LO_FLAGS_AUTOCLEAR | (read_only ? LO_FLAGS_READ_ONLY : 0) |
			 (direct ? LO_FLAGS_DIRECT_IO : 0);
	_cleanup_(close_fdp) int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int r = -EBUSY;

	if (control < 0)
		return -errno;
	for (unsigned i = 0; i < TRIES && (r == -EBUSY || r == -ENXIO); i++)
		r = try_bind(control, fd, flags, device);
	return r;
}
