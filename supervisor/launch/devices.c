// SPDX-License-Identifier: Apache-2.0
#include "supervisor/launch/devices.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/io.h"

#define SYSFS_MAX 32

/* Reads "MAJOR:MINOR" of a disk from its folder in sysfs. */
static bool read_number(const char *path, dev_t *out)
{
	_cleanup_(freep) char *text = NULL;
	unsigned long major_number, minor_number;
	size_t len;
	char *end;

	if (io_read_file(AT_FDCWD, path, SYSFS_MAX, &text, &len) < 0)
		return false;
	major_number = strtoul(text, &end, 10);
	if (*end != ':')
		return false;
	minor_number = strtoul(end + 1, NULL, 10);
	*out = makedev((unsigned)major_number, (unsigned)minor_number);
	return true;
}

/* The disk that holds it; false where it is no block device. */
static bool whole_disk(dev_t device, dev_t *out)
{
	char path[96];
	struct stat st;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", major(device),
		 minor(device));
	if (stat(path, &st) == 0)
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", major(device),
			 minor(device));
	else
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/dev", major(device),
			 minor(device));
	return read_number(path, out);
}

unsigned devices_of(const int *fds, unsigned n_fds, dev_t *out, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_fds && n < max; i++) {
		bool known = false;
		struct stat st;
		dev_t disk;

		if (fstat(fds[i], &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) ||
		    !whole_disk(S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev, &disk))
			continue;
		for (unsigned k = 0; k < n; k++)
			known |= out[k] == disk;
		if (!known)
			out[n++] = disk;
	}
	return n;
}
