// SPDX-License-Identifier: Apache-2.0
#include "vmm/hotplug_memory.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "base/util.h"
#include "vmm/config_pages.h"

#define FIRST_SLOT MEM_REGIONS_MAX /* those below are what the zone boots with */
#define SETTLE_NS  (100 * NS_PER_MS)

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

static void give_back(const struct hotplug_memory *hm, unsigned block)
{
	struct guest_memory *memory = hm->memory;

	guest_memory_discard(memory, region_of(hm)->host + block * memory->block_size,
			     memory->block_size);
}

/* What was plugged again meanwhile has contents again. */
static void give_back_unsettled(const struct hotplug_memory *hm)
{
	for (unsigned i = 0; i < ARRAY_SIZE(hm->unsettled); i++)
		for (uint64_t left = hm->unsettled[i] & ~hm->memory->plugged[i]; left;
		     left &= left - 1)
			give_back(hm, i * 64 + (unsigned)__builtin_ctzll(left));
}

/* At the end of the turn, and then now and again until no device can write there any more. */
static void on_settle(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct hotplug_memory *hm = container_of(op, struct hotplug_memory, settle.op);
	bool more = slots_memory_unplugged(hm->slots);

	(void)res;
	(void)cqe_flags;
	give_back_unsettled(hm);
	hm->settling = more;
	if (!more)
		memset(hm->unsettled, 0, sizeof(hm->unsettled));
	else if (loop_timer_start(hm->slots->loop, &hm->settle, clock_now_ns() + SETTLE_NS) < 0)
		loop_defer(hm->slots->loop, &hm->settle.op);
}

static void settle_soon(struct hotplug_memory *hm, unsigned block)
{
	hm->unsettled[block / 64] |= UINT64_C(1) << (block % 64);
	if (hm->settling)
		return;
	hm->settling = true;
	loop_defer(hm->slots->loop, &hm->settle.op);
}

/* The guest's way in goes first, then the contents: it cannot fill them again in between. */
static int unplug(void *user, unsigned block)
{
	struct hotplug_memory *hm = user;
	int r = set_slot(hm, block, 0);

	if (r < 0)
		return r;
	mark(hm->memory, block, false);
	give_back(hm, block);
	settle_soon(hm, block);
	return 0;
}

int hotplug_memory_new(struct virtio_dev **out, struct hotplug_memory *hm,
		       struct guest_memory *memory, int vm_fd, struct slots *slots,
		       struct error *err)
{
	const struct memdev_host host = {
		.plug = plug, .unplug = unplug, .user = hm, .plugged = memory->plugged};
	uint64_t n_blocks = memory->hotplug_len / memory->block_size;
	int n_slots = ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS), r;

	*hm = (struct hotplug_memory){
		.memory = memory, .vm_fd = vm_fd, .slots = slots, .settle.op.done = on_settle};
	if (n_slots < 0 || (uint64_t)n_slots < FIRST_SLOT + n_blocks + CONFIG_PAGES_SLOTS)
		return error_set(err, -ENOTSUP,
				 "KVM has %d memory slots, too few for memory that grows", n_slots);
	r = virtio_memdev_new(out, memory->hotplug_start, memory->hotplug_len, memory->block_size,
			      &host);
	if (r < 0)
		return error_set_errno(err, r, "cannot make the virtio-mem device");
	return 0;
}
