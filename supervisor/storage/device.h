// SPDX-License-Identifier: Apache-2.0
/*
 * Block devices of the host as volumes: those that the configuration names (key block-device), and
 * that the user of this service may open; it has no right that others lack. The lock is O_EXCL: the
 * kernel refuses a device that is mounted, belongs to another one, or is opened so already, and
 * ends it with the last copy of the descriptor. So a device has one user, also one that only reads.
 *
 * Nothing of what is on a device is read here.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "supervisor/storage/settings.h"
#include "supervisor/storage/volume.h"

/* Whether a volume's name is the path of a device. */
bool device_is_path(const char *name);

/* Opens it. Returns the descriptor and *out, or -EPERM (not named), -EBUSY, -ENOENT or another
 * negative errno with *err set. Any thread. */
int device_open(const struct settings *settings, const char *path, bool read_only,
		struct volume *out, struct error *err);
