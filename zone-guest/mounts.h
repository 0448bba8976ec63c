// SPDX-License-Identifier: Apache-2.0
/*
 * What the settings of a workload add to its file tree, or take from it: for rootfs.c, in a child
 * that is alone, once the image is its root and /proc, /sys and /dev are mounted. Paths may lead
 * through the image's symbolic links: they lead nowhere else.
 */
#pragma once

#include "zone-guest/settings.h"

/* Devices of the zone, looked up while the zone's own /dev is there. */
struct mounts_devices {
	struct mounts_device {
		unsigned long number;
		unsigned mode; /* with its type */
	} device[SETTINGS_MOUNTS_MAX];
};

int mounts_find_devices(const settings_t *settings, struct mounts_devices *out, struct error *err);

/* Makes their nodes, owned by a user and the group of the same number; of a privileged workload,
 * nodes of everything that the kernel has. */
int mounts_make_devices(const settings_t *settings, const struct mounts_devices *devices,
			uint32_t owner, struct error *err);

/* Sets the workload's own sysctls. /proc/sys can be written. */
int mounts_set_sysctls(const settings_t *settings, struct error *err);

/* Hides what reaches the whole zone, or makes it read-only, as other runtimes do. */
int mounts_guard(const settings_t *settings, struct error *err);

/* tmpfs, volumes and a read-only root: the last thing that is done to the tree. */
int mounts_finish(const settings_t *settings, uint32_t owner, struct error *err);

/* Makes all folders of a path, where they are not there. Returns 0 or a negative errno. */
int mounts_make_dirs(const char *path);
