// SPDX-License-Identifier: Apache-2.0
/*
 * Landlock, for a process that needs no file, socket or other process by name any more: every right
 * that the kernel knows is taken, and none is given back. Descriptors that are open stay as they
 * are. The calling thread and all that it starts from here on are confined, so it comes before the
 * first thread.
 */
#pragma once

/*
 * Takes all rights away, for good, and sets no_new_privs. Returns the version of Landlock that the
 * kernel has (its ABI, from 1), 0 where it has none, or a negative errno.
 */
int landlock_deny_all(void);
