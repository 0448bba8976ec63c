// SPDX-License-Identifier: Apache-2.0
/*
 * What PID 1 does before it is an agent, each step as late as its result is needed: every
 * millisecond here is a part of a zone's launch. A step that fails is logged and left; nothing here
 * ends PID 1.
 */
#pragma once

#include <stdbool.h>

/*
 * Makes the root something that pivot_root(2) can leave (an initramfs is not), makes sure that
 * descriptors 0 to 2 are there, mounts /dev.
 */
void boot_root(void);

/*
 * Loads the files of /boot-modules that this hypervisor has a use for, in the order of their names,
 * and removes all; says `zone-init:
 * up` on the console as soon as there is one, be it before the first or after any of them.
 */
void boot_modules_and_hello(void);

/*
 * Logs (descriptor 2) go to the host's port for them from here on, if it is there by now (some
 * hosts have none; then they stay on the console). Whether they do. Needs /sys.
 */
bool boot_log_to_port(void);

/* Mounts the rest, sets limits and settings, and sets the loopback up. */
void boot_finish(void);

/*
 * Writes the kernel's log so far to the console and lets the kernel write what follows there
 * itself. Booting with `quiet` and doing this late keeps it out of a zone's launch: the kernel's
 * own way to a virtio console takes sixteen bytes at a time.
 */
void boot_show_kernel_log(void);
