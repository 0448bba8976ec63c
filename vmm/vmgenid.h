// SPDX-License-Identifier: Apache-2.0
/*
 * The VM generation identifier (Microsoft, "Virtual Machine Generation ID", 2012): 16 random bytes
 * in guest memory, at LAYOUT_VMGENID, which the guest's kernel seeds its random numbers with. They
 * would have to change, and the guest to be told (PCI_EVENT_VMGENID), whenever a zone might run a
 * moment a second time; no zone does, for none is saved, copied or restored. The guest can write
 * them, and hurts only itself. Loop thread.
 */
#pragma once

#include "virtio/mem.h"

/* Sets a new random identifier before the guest starts. Returns 0 or a negative errno. */
int vmgenid_init(const struct mem *mem);
