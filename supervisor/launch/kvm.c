// SPDX-License-Identifier: Apache-2.0
#include "supervisor/launch/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/kvm.h>

#include "base/cleanup.h"
#include "base/util.h"

/* Whether the processor says that it has VT-x or AMD-V. True where that cannot be known. */
static bool has_virtualization(void)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[8192]; /* the flags of the first processor: 2 KiB today */
	bool found = !file;

	while (file && !found && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "flags", 5) != 0)
			continue;
		found = strstr(line, " vmx") || strstr(line, " svm");
		break;
	}
	if (file)
		fclose(file);
	return found;
}

/* #syscalls launch: openat read newfstatat(_, _, _, AT_EMPTY_PATH) ioctl(_, KVM_TYPE/0xFF00)
 *	close */
int kvm_open(const char *path, struct error *err)
{
	_cleanup_(close_fdp) int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return error_set(err, -errno,
				 "no permission for %s; protect-launch must run as root", path);
	if (fd < 0)
		return error_set(err, -errno,
				 "%s cannot be used (%s); load kvm_amd or kvm_intel, enable "
				 "virtualization in the firmware, and see 'protect host check'",
				 path, strerror(errno));
	if (ioctl(fd, KVM_GET_API_VERSION, 0) == KVM_API_VERSION && !has_virtualization())
		return error_set(
			err, -ENODEV,
			"%s cannot boot Linux: /proc/cpuinfo shows neither vmx nor svm; use "
			"a host with hardware virtualization, and see 'protect host check'",
			path);
	return steal_fd(&fd);
}
