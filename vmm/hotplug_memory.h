// SPDX-License-Identifier: Apache-2.0
/*
 * Plugs and unplugs the hot-plug region of a zone's memory: a KVM memory slot a block, there while
 * the block is plugged, so what is unplugged is no memory to the guest (reads give all ones), its
 * contents are gone, and the translator of virtio/mem.h refuses it. Our own mapping stays, so
 * that nothing of ours faults; but a device with a ring there, or a request under way that writes
 * there, is stopped, and when it rests the block is given back once more: pages that were written
 * to meanwhile would be the host's, beyond what the zone has. Loop thread.
 */
#pragma once

#include "base/error.h"
#include "virtio/device.h"
#include "vmm/guest_memory.h"
#include "vmm/slots.h"

struct hotplug_memory {
	struct guest_memory *memory;
	int vm_fd;
	struct slots *slots;
	struct loop_timer settle;
	bool settling;				    /* settle is under way */
	uint64_t unsettled[MEMDEV_BLOCKS_MAX / 64]; /* blocks to be given back again */
};

/*
 * The virtio-mem device of memory's hot-plug region (hotplug_len > 0), for virtio_pci_new(); vm_fd
 * is KVM's VM, slots what may use memory. All are borrowed and must outlive the device, as must hm.
 * Returns 0 and *out, or a negative errno with *err (-ENOTSUP: KVM has too few memory slots).
 *
 * Its target (virtio_memdev_set_target()) is what the zone has beyond its boot memory. The caller
 * keeps it ≤ max - boot.
 */
int hotplug_memory_new(struct virtio_dev **out, struct hotplug_memory *hm,
		       struct guest_memory *memory, int vm_fd, struct slots *slots,
		       struct error *err);
