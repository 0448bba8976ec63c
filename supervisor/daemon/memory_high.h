// SPDX-License-Identifier: Apache-2.0
/*
 * Says when a zone's memory is higher than it should ever be: above the mark that its cgroup has
 * (memory.high), though the page cache in it is left out, which the kernel takes back by itself. A
 * guest cannot bring that about; a runner that it has taken over, or one with a leak, can. The line
 * is written to the log and to the runner's own, where hv-console shows it. v2 only: v1 has no such
 * mark.
 *
 * The files are read from time to time, for kernel events would come as often as the zone likes.
 */
#pragma once

#include "supervisor/daemon/daemon.h"

/* Looks at all zones, now and from time to time. user: the daemon. */
void memory_high_look(void *user);
