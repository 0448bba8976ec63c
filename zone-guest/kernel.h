// SPDX-License-Identifier: Apache-2.0
/* What a bootstrap wants of the zone's kernel: modules and sysctls. Called by PID 1 alone, before
 * anything runs; it waits for modprobe. */
#pragma once

#include "base/error.h"

/* Loads "NAME [PARAMETER=VALUE…]" with modprobe. Returns 0 or a negative errno with text; -ENOENT
 * if modprobe could not. */
int kernel_load_module(const char *text, struct error *err);

/* Starts modprobe for all of `names` (NULL-terminated, at most KERNEL_MODULES_MAX), and does not
 * wait; who reaps for PID 1 reaps it. Returns 0 or a negative errno. */
#define KERNEL_MODULES_MAX 16u
int kernel_load_modules_later(char *const *names);

/*
 * Sets "KEY=VALUE" below /proc/sys. As in sysctl.d(5): if the first separator in KEY is a dot, dots
 * and slashes change places; if it is a slash they stay. Returns 0, -EINVAL, -ENOENT (no such key),
 * or what the kernel said to the value, with text.
 */
int kernel_set_sysctl(const char *text, struct error *err);
