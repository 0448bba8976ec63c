// SPDX-License-Identifier: Apache-2.0
/*
 * On which block devices a zone's files lie: what its I/O is limited on. The descriptors are the
 * daemon's; only fstat(2) and sysfs are asked about them.
 */
#pragma once

#include <sys/types.h>

/*
 * Whole disks, each once, for files that lie on one and for block devices; a partition counts as
 * its disk, since io.max knows no others. Files on tmpfs, overlay, btrfs have no device of their
 * own and give none. Returns how many, at most max.
 */
unsigned devices_of(const int *fds, unsigned n_fds, dev_t *out, unsigned max);
