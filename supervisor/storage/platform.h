// SPDX-License-Identifier: Apache-2.0
/*
 * Which images run here: OCI's platforms OS/ARCH[/VARIANT], of which zones run linux/amd64. Its
 * variants are the levels of x86-64 (the psABI's micro-architecture levels): none or v1, v2, v3,
 * v4. Pure functions.
 */
#pragma once

#include "base/error.h"

#define PLATFORM_LEVEL_ANY 0u /* any that this host has; the lowest first */

/* The level of a variant (NULL or empty = 1). 0 if it is none. */
unsigned platform_level_of(const char *variant);

/* The highest level that this host's processor has. */
unsigned platform_level_here(void);

/*
 * Reads OS/ARCH[/VARIANT] as people give it; empty or without a variant: PLATFORM_LEVEL_ANY.
 * Returns 0, -EINVAL for what is no platform, or -ENOTSUP for one that cannot run here, with *err
 * set.
 */
int platform_parse(const char *text, unsigned *level, struct error *err);
