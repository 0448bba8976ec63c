// SPDX-License-Identifier: Apache-2.0
/*
 * A workload's file tree: the image (squashfs on a read-only disk) under an overlay whose upper
 * half is its scratch, and on it /proc, /sys, /dev and /etc/{hostname,hosts,resolv.conf}; nothing
 * else is added but what its settings ask for (mounts.h).
 *
 * All of it is mounted by the workload's own first process in its private mount namespace, so that
 * nothing is left to unmount when that ends, and so that a hostile file system image can hang or
 * fail only its own workload. The image's tree is first touched after it has become the root: its
 * symbolic links lead nowhere else.
 */
#pragma once

#include "base/error.h"
#include "zone-guest/settings.h"
#include "zone-guest/userns.h"
#include "zone-guest/volumes.h"

#define ROOTFS_STAGE                                                                               \
	"/run/workload" /* an empty directory of the zone; each workload mounts over it in its own \
			   namespace */

struct rootfs_spec {
	const char *disk;     /* path of the block device */
	const char *scratch;  /* what it writes lies here, as scratch_make() says */
	const char *hostname; /* text of /etc/hostname without the newline */
	const char *hosts;    /* text of /etc/hosts */
	const char *resolv;   /* text of /etc/resolv.conf */
	const settings_t *settings;
	const struct userns *userns; /* whose the files are */
	const struct volumes *volumes;
};

/*
 * Mounts everything and makes it the root of the calling process, which must be alone, in mount and
 * PID namespaces of its own, with all capabilities. Returns 0 or a negative errno with the text.
 */
int rootfs_enter(const struct rootfs_spec *spec, struct error *err);
