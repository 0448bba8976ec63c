// SPDX-License-Identifier: Apache-2.0
#include "vmm/hotplug_memory.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "vmm/config_pages.h"

#define FIRST_SLOT MEM_REGIONS_MAX /* those below are what the zone boots with */

static const struct mem_region *region_of(const struct hotplug_memory *hm)
{
	return &hm->memory->mem.regions[hm->memory->mem.n_regions - 1];
}

/* #syscalls loop: ioctl(_, KVM_SET_USER_MEMORY_REGION) */
/* len 0 deletes the slot. */
static int set_slot(const struct hotplug_memory *hm, unsigned block, uint64_t len)
{
	const struct guest_memory *memory = hm->memory;
	uint64_t off = block * memory->block_size;
	struct kvm_userspace_memory_region slot = {
		.slot = FIRST_SLOT + block,
		.guest_phys_addr = memory->hotplug_start + off,
		.memory_size = len,
		.userspace_addr = (uintptr_t)(region_of(hm)->host + off),
	};

	return ioctl(hm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0 ? -errno : 0;
}

static void mark(struct guest_memory *memory, unsigned block, bool plugged)
{
	uint64_t bit = UINT64_C(1) << (block % 64);

	if (plugged)
		memory->plugged[block / 64] |= bit;
	else
		memory->plugged[block / 64] &= ~bit;
}

static int plug(void *user, unsigned block)
{
	struct hotplug_memory *hm = user;
	int r = set_slot(hm, block, hm->memory->block_size);

	if (r == 0)
		mark(hm->memory, block, true);
	return r;
}

/* The guest's way in goes first, then the contents: it cannot fill them again in between. */
static int unplug(void *user, unsigned block)
{
	struct hotplug_memory *hm = user;
	struct guest_memory *memory = hm->memory;
	int r = set_slot(hm, block, 0);

	if (r < 0)
		return r;
	mark(memory, block, false);
	guest_memory_discard(memory, region_of(hm)->host + block * memory->block_size,
			     memory->block_size);
	return 0;
}

int hotplug_memory_new(struct virtio_dev **out, struct hotplug_memory *hm,
		       struct guest_memory *memory, int vm_fd, struct error *err)
{
	const struct memdev_host host = {
		.plug = plug, .unplug = unplug, .user = hm, .plugged = memory->plugged};
	uint64_t n_blocks = memory->hotplug_len / memory->block_size;
	int n_slots = ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS), r;

	*hm = (struct hotplug_memory){.memory = memory, .vm_fd = vm_fd};
	if (n_slots < 0 || (uint64_t)n_slots < FIRST_SLOT + n_blocks + CONFIG_PAGES_SLOTS)
		return error_set(err, -ENOTSUP,
				 "KVM has %d memory slots, too few for memory that grows", n_slots);
	r = virtio_memdev_new(out, memory->hotplug_start, memory->hotplug_len, memory->block_size,
			      &host);
	if (r < 0)
		return error_set_errno(err, r, "cannot make the virtio-mem device");
	return 0;
}
