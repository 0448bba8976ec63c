// SPDX-License-Identifier: Apache-2.0
/*
 * What a process gives up before it executes its program, and what it is kept to: limits,
 * capabilities, system calls, its user. For a child between clone and exec, alone in its address
 * space; a step that fails ends it. From here on nothing may be done that needs a right of the
 * zone.
 */
#pragma once

#include <stdbool.h>

#include "zone-guest/settings.h"
#include "zone-guest/user.h"

/*
 * How much it may use, by settings (NULL: a process of the zone itself), and how soon the kernel
 * kills it for want of memory. /proc is there. Returns 0 or a negative errno with the text.
 */
int rights_limit(const settings_t *settings, struct error *err);

/* Becomes the user, with no more rights than the settings leave it; NULL: with all rights of the
 * zone's own processes. Returns 0 or a negative errno with the text. */
int rights_drop(const settings_t *settings, const struct user *user, struct error *err);
