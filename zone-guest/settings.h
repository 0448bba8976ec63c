// SPDX-License-Identifier: Apache-2.0
/*
 * How a workload is confined and what it may use: the Settings message, checked once and from then
 * on true. What it says comes from a client and from an image; the checks here keep it from
 * reaching beyond the workload, the kernel's own checks do the rest when it is applied.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "proto/agent.pb-c.h"

#define SETTINGS_MOUNTS_MAX  32u /* of each kind */
#define SETTINGS_PATHS_MAX   64u
#define SETTINGS_SYSCTLS_MAX 32u
#define SETTINGS_FILTER_MAX  4096u /* instructions: the kernel's own bound */

typedef Protect__Agent__Settings settings_t;

/*
 * Makes a checked copy of a message, NULL = all defaults. Returns 0, or -EINVAL, -E2BIG, -ENOMEM
 * with text. settings_free() takes NULL.
 */
int settings_new(const settings_t *message, settings_t **out, struct error *err);
void settings_free(settings_t *settings);

/* The capabilities that it may have: the bounding set. */
uint64_t settings_caps(const settings_t *settings);
