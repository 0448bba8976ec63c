// SPDX-License-Identifier: Apache-2.0
/* Where a workload may have a volume. Asked by the daemon, who tells a person, and by the zone, who
 * trusts nobody. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

#define VOLUME_TARGET_MAX 255u

/* Whether it is a path from the root with no part that is empty, "." or "..", not the root itself,
 * no longer than VOLUME_TARGET_MAX, without control characters. */
bool volume_target_is_path(const char *target);

/*
 * Whether the volume of this name may be there: not where the kernel's file systems are, and a raw
 * one, which is given as a device, below /dev only. Returns 0 or -EINVAL with *err set.
 */
int volume_target_check(const char *name, const char *target, bool raw, struct error *err);
