// SPDX-License-Identifier: Apache-2.0
/*
 * The counters of a machine for the request Stats: read where they are kept, cheap enough to be
 * asked every second, without any exit of the guest. What the guest said of its memory is its
 * word. Loop thread.
 */
#pragma once

#include "proto/runner.pb-c.h"
#include "vmm/disks.h"
#include "vmm/machine.h"
#include "vmm/nics.h"

/* A reply and what it points to, but for names, which are borrowed from the machine. */
struct stats {
	Protect__Runner__StatsReply reply;
	Protect__Runner__DeviceStats devices[DISKS_MAX + NICS_MAX];
	Protect__Runner__DeviceStats *disks[DISKS_MAX], *nics[NICS_MAX];
};

/*
 * Fills *stats. Asks the guest for new statistics of its memory (at most once a second,
 * virtio/balloon.h): what it says then is in a later answer, with its age.
 */
void stats_take(struct machine *machine, struct stats *stats);
