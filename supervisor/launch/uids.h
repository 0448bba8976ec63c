// SPDX-License-Identifier: Apache-2.0
/*
 * Whether a uid is free. Uids keep zones apart, and runners that an earlier protect-launch started
 * are in no list of this one: only the kernel knows them. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Whether a process lives under this uid, in this process's pid namespace or below it. */
bool uid_is_in_use(uid_t uid);
