// SPDX-License-Identifier: Apache-2.0
/*
 * The power button that the host presses when the zone is to end: an ACPI event of the kernel's, by
 * generic netlink (drivers/acpi/event.c). Needs the kernel's button driver, built in or loaded at
 * any time. The kernel is trusted. The thread of PID 1.
 */
#pragma once

#include <stdbool.h>

/* A socket of ACPI events, non-blocking. Returns it, -ENOENT from a kernel without them, or another
 * negative errno. */
int button_open(void);

/* Reads what is there; whether the button was pressed. */
bool button_was_pressed(int fd);
