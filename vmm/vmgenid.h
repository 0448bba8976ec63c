// SPDX-License-Identifier: Apache-2.0
/*
 * The VM generation identifier (Microsoft, "Virtual Machine Generation ID", 2012): 16 random bytes
 * in guest memory, at LAYOUT_VMGENID, that change whenever the zone might run a moment a second
 * time (a restored or copied one). The guest's kernel then seeds its random numbers anew. The guest
 * can write them, and hurts only itself. Loop thread.
 */
#pragma once

#include "vmm/guest_memory.h"
#include "vmm/pci_bus.h"

/* Sets a new random identifier before the guest starts. Returns 0 or a negative errno. */
int vmgenid_init(const struct mem *mem);

/* Sets another one and tells the guest. Returns 0 or a negative errno; then nothing has changed. */
int vmgenid_renew(const struct mem *mem, struct pci_bus *pci);
