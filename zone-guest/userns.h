// SPDX-License-Identifier: Apache-2.0
/*
 * A workload's own users: the ids 0 to 65535 in it are ids of the zone that nobody else has there,
 * so that who breaks out of the workload as its root is nobody in the zone (user_namespaces(7)).
 *
 * Only users and capabilities are the namespace's: the workload's mounts, host name and the like
 * stay the zone's to change, so its root has fewer rights than with a namespace that owns them.
 * Linux 6.1 maps no ids of squashfs, overlayfs and tmpfs, so the image's files are given to the
 * workload's users, once, by what of them the overlay can change without a copy of their content.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

#define USERNS_IDS 65536u

struct userns {
	int fd;		   /* -1 = none: the users are the zone's */
	uint32_t first_id; /* of the zone's ids those that are the workload's; 0 = none */
};

#define USERNS_NONE                                                                                \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/* Makes that of the zone's n-th workload. For zone-init itself. Returns 0 or a negative errno:
 * -EINVAL where the kernel has none. */
int userns_make(unsigned n, struct userns *out);
void userns_deinit(struct userns *userns);

/*
 * Gives all below path, on the same file system, to the workload's users: owners, modes and file
 * capabilities stay what they are in it; a file with several names becomes several. What has an
 * owner of these ids already is left as it is, so an interrupted run goes on where it ended. The
 * calling process is alone, with its folder anywhere. Returns 0 or a negative errno with *err set.
 */
int userns_own(const struct userns *userns, const char *path, struct error *err);

/* The calling process, alone and with all rights, becomes root of the namespace, and has no right
 * outside. Returns 0 or a negative errno with *err set. */
int userns_enter(const struct userns *userns, struct error *err);
