// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/harness.h"
#include "tests/unit/virtio_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kvm.h>
#include <linux/virtio_mem.h>

#include "base/util.h"
#include "virtio/regs.h"
#include "vmm/guest_memory.h"
#include "vmm/hotplug_memory.h"
#include "vmm/layout.h"

UNIT_SUITE(guest_memory);

#define PAGE 4096u

static void begin(struct guest_memory *gm, uint64_t boot_mib, uint64_t max_mib)
{
	struct error err = ERROR_NULL;

	cr_assert_eq(guest_memory_init(gm, boot_mib, max_mib, false, &err), 0, "%s", err.text);
}

static const struct mem_region *hotplug(const struct guest_memory *gm)
{
	return &gm->mem.regions[gm->mem.n_regions - 1];
}

static unsigned resident(const void *host, uint64_t len)
{
	unsigned char present[1024];
	unsigned n = 0;

	cr_assert_leq(len / PAGE, sizeof(present));
	cr_assert_eq(mincore((void *)(uintptr_t)host, len, present), 0);
	for (unsigned i = 0; i < len / PAGE; i++)
		n += present[i] & 1;
	return n;
}

Test(guest_memory, without_growth_there_is_no_region_more)
{
	struct guest_memory gm;

	begin(&gm, 64, 64);
	cr_assert_eq(gm.mem.n_regions, 1);
	cr_assert_eq(gm.hotplug_len, 0);
	cr_assert_eq(gm.host_len, 64 * MIB);
	guest_memory_deinit(&gm);
}

Test(guest_memory, blocks_grow_with_the_region)
{
	static const struct {
		uint64_t boot_mib, max_mib, start_mib, len_mib, block_mib;
	} sizes[] = {
		{64, 65, 4096, 128, 2},
		{64, 64 + 2048, 4096, 2048, 2},
		{64, 64 + 2049, 4096, 2176, 4},
		{3073, 4096, 5120, 1024, 2},
		{16, 1 << 20, 4096, 1 << 20, 1024},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct guest_memory gm;

		begin(&gm, sizes[i].boot_mib, sizes[i].max_mib);
		cr_assert_eq(gm.hotplug_start, sizes[i].start_mib * MIB, "%u", i);
		cr_assert_eq(gm.hotplug_len, sizes[i].len_mib * MIB, "%u", i);
		cr_assert_eq(gm.block_size, sizes[i].block_mib * MIB, "%u", i);
		cr_assert_leq(gm.hotplug_len / gm.block_size, MEMDEV_BLOCKS_MAX);
		cr_assert_eq((uintptr_t)hotplug(&gm)->host % (2 * MIB), 0);
		guest_memory_deinit(&gm);
	}
}

Test(guest_memory, sizes_that_cannot_be)
{
	struct guest_memory gm;
	struct error err = ERROR_NULL;

	cr_assert_lt(guest_memory_init(&gm, 64, 63, false, &err), 0);
	cr_assert_lt(guest_memory_init(&gm, 64, (1 << 20) + 1, false, &err), 0);
	cr_assert_lt(guest_memory_init(&gm, 64, UINT64_MAX / MIB + 65, false, &err), 0);
	cr_assert_lt(guest_memory_init(&gm, 15, 64, false, &err), 0);
}

Test(guest_memory, discarded_pages_are_free_and_zero)
{
	struct guest_memory gm;

	begin(&gm, 64, 64);
	memset(gm.host, 0xaa, 4 * MIB);
	cr_assert_eq(resident(gm.host, 4 * MIB), 1024);
	guest_memory_discard(&gm, gm.host + MIB, 2 * MIB);
	cr_assert_eq(resident(gm.host, 4 * MIB), 512);
	cr_assert_eq(gm.host[MIB], 0);
	cr_assert_eq(gm.host[3 * MIB], 0xaa);
	guest_memory_deinit(&gm);
}

Test(guest_memory, nothing_else_is_discarded)
{
	struct guest_memory gm;
	uint8_t *ours;

	begin(&gm, 64, 64);
	ours = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(ours, MAP_FAILED);
	memset(ours, 0xaa, MIB);
	memset(gm.host, 0xaa, MIB);
	guest_memory_discard(&gm, ours, MIB);
	guest_memory_discard(&gm, gm.host - PAGE, 2 * PAGE);
	guest_memory_discard(&gm, gm.host + 1, PAGE);
	guest_memory_discard(&gm, gm.host, PAGE + 1);
	guest_memory_discard(&gm, gm.host, 65 * MIB);
	guest_memory_discard(&gm, gm.host, -(uint64_t)PAGE);
	cr_assert_eq(ours[0], 0xaa);
	cr_assert_eq(gm.host[0], 0xaa);
	munmap(ours, MIB);
	guest_memory_deinit(&gm);
}

Test(guest_memory, the_translator_refuses_what_is_not_plugged)
{
	struct guest_memory gm;
	struct iovec iov[4];
	gpa_t start;
	const uint64_t block = 2 * MIB;

	begin(&gm, 64, 64 + 256);
	start = gm.hotplug_start;
	cr_assert_null(mem_ptr(&gm.mem, start, 1));
	cr_assert_eq(mem_iov(&gm.mem, start, 1, iov, 4), -EFAULT);
	gm.plugged[0] = 6; /* blocks 1 and 2 */
	gm.plugged[1] = 1; /* block 64 */
	cr_assert_null(mem_ptr(&gm.mem, start + block - 1, 1));
	cr_assert_null(mem_ptr(&gm.mem, start + block - 1, 2));
	cr_assert_eq(mem_ptr(&gm.mem, start + block, 2 * block), hotplug(&gm)->host + block);
	cr_assert_null(mem_ptr(&gm.mem, start + block, 2 * block + 1));
	cr_assert_not_null(mem_ptr(&gm.mem, start + 64 * block, block));
	cr_assert_null(mem_ptr(&gm.mem, start + 63 * block, 2));
	cr_assert_eq(mem_iov(&gm.mem, start + block, (uint32_t)(2 * block), iov, 4), 1);
	cr_assert_eq(mem_iov(&gm.mem, start + block, (uint32_t)(2 * block + 1), iov, 4), -EFAULT);
	cr_assert_null(mem_ptr(&gm.mem, start + gm.hotplug_len, 1));
	guest_memory_deinit(&gm);
}

static unsigned ask(struct driver *d, uint16_t type, uint64_t gpa, uint16_t n)
{
	const struct virtio_mem_req req = {.type = type, .u.plug = {.addr = gpa, .nb_blocks = n}};
	const struct segment segments[] = {
		{DRIVER_DATA, sizeof(req), false},
		{DRIVER_DATA + 64, sizeof(struct virtio_mem_resp), true}};

	memcpy(driver_at(d, DRIVER_DATA), &req, sizeof(req));
	driver_add(d, 0, segments, 2);
	driver_kick(d, 0);
	cr_assert(driver_wait_used(d, 0, NULL, NULL));
	return ((const struct virtio_mem_resp *)driver_at(d, DRIVER_DATA + 64))->type;
}

/* Whether the VM has memory there: another slot may not overlap it. */
static bool is_memory(int vm, gpa_t gpa, const void *host)
{
	struct kvm_userspace_memory_region slot = {.slot = 3000,
						   .guest_phys_addr = gpa,
						   .memory_size = PAGE,
						   .userspace_addr = (uintptr_t)host};
	bool refused = ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0;

	slot.memory_size = 0;
	if (!refused)
		cr_assert_eq(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), 0);
	return refused;
}

static void grow_and_shrink(struct driver *d, int vm, struct guest_memory *gm)
{
	const gpa_t start = gm->hotplug_start, block = gm->block_size;
	uint8_t *host = hotplug(gm)->host;

	cr_assert_not(is_memory(vm, start + block, host));
	cr_assert_eq(ask(d, VIRTIO_MEM_REQ_PLUG, start + block, 3), VIRTIO_MEM_RESP_ACK);
	cr_assert(is_memory(vm, start + block, host));
	cr_assert(is_memory(vm, start + 4 * block - PAGE, host));
	cr_assert_not(is_memory(vm, start, host));
	cr_assert_not(is_memory(vm, start + 4 * block, host));
	cr_assert_eq(mem_ptr(&gm->mem, start + block, 3 * block), host + block);
	memset(host + block, 0xaa, 3 * block);
	cr_assert_eq(ask(d, VIRTIO_MEM_REQ_UNPLUG, start + 2 * block, 1), VIRTIO_MEM_RESP_ACK);
	cr_assert_not(is_memory(vm, start + 2 * block, host));
	cr_assert(is_memory(vm, start + 3 * block, host));
	cr_assert_eq(resident(host + 2 * block, block), 0);
	cr_assert_eq(resident(host + block, block), block / PAGE);
	cr_assert_null(mem_ptr(&gm->mem, start + 2 * block, 1));
	/* A ring left there is no danger to us. */
	host[2 * block] = 1;
	cr_assert_eq(ask(d, VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0), VIRTIO_MEM_RESP_ACK);
	cr_assert_not(is_memory(vm, start + block, host));
	cr_assert_eq(resident(host + block, block), 0);
}

/* A device that goes on writing to a block until its reset has drained. */
struct late {
	struct virtio_dev dev;
	uint8_t *page;
	unsigned n_asked;
	void (*drained)(void *user);
	void *user;
};

static bool writes_late(const struct virtio_dev *dev, const struct mem *mem)
{
	struct late *late = container_of((struct virtio_dev *)(uintptr_t)dev, struct late, dev);

	late->n_asked++;
	if (mem_is_plugged(mem, late->page, 1) || (late->n_asked > 1 && !late->drained))
		return false;
	late->page[0] = 1;
	return true;
}

static void reset_late(struct virtio_dev *dev, void (*drained)(void *user), void *user)
{
	struct late *late = container_of(dev, struct late, dev);

	late->drained = drained;
	late->user = user;
}

static void a_late_writer(struct driver *d, struct guest_memory *gm, struct slots *slots)
{
	static const struct virtio_ops ops = {
		.name = "late", .reset = reset_late, .writes_unplugged = writes_late};
	const uint64_t block = gm->block_size;
	struct late late = {.dev = {.ops = &ops, .n_queues = 1, .active = true}};
	struct virtio_regs regs;
	struct msix msix = {.n_vectors = 0};
	void (*drained)(void *user);

	late.page = gm->mem.regions[gm->mem.n_regions - 1].host + 3 * block;
	cr_assert_eq(virtio_regs_init(&regs, &late.dev, &gm->mem, &msix), 0);
	late.dev.active = true;
	slots->at[5] = &late.dev;
	cr_assert_eq(ask(d, VIRTIO_MEM_REQ_PLUG, gm->hotplug_start, 4), VIRTIO_MEM_RESP_ACK);
	cr_assert_eq(ask(d, VIRTIO_MEM_REQ_UNPLUG, gm->hotplug_start, 1), VIRTIO_MEM_RESP_ACK);
	driver_run(d, 1);
	cr_assert_eq(late.n_asked, 1);
	cr_assert_not(late.dev.broken, "it writes to a block that is there");
	late.n_asked = 0;
	cr_assert_eq(ask(d, VIRTIO_MEM_REQ_UNPLUG, gm->hotplug_start + 3 * block, 1),
		     VIRTIO_MEM_RESP_ACK);
	driver_run(d, 250);
	cr_assert(late.dev.broken);
	cr_assert_geq(late.n_asked, 2, "%u", late.n_asked);
	cr_assert_eq(resident(late.page, block), 0, "given back each time");
	late.page[0] = 1;
	drained = late.drained;
	late.drained = NULL;
	drained(late.user);
	driver_run(d, 250);
	cr_assert_eq(resident(late.page, block), 0, "and at the end");
	/* Settled: no more looking. What is plugged again keeps what is in it. */
	late.n_asked = 0;
	cr_assert_eq(ask(d, VIRTIO_MEM_REQ_PLUG, gm->hotplug_start + 3 * block, 1),
		     VIRTIO_MEM_RESP_ACK);
	late.page[0] = 1;
	driver_run(d, 250);
	cr_assert_eq(late.n_asked, 0);
	cr_assert_eq(late.page[0], 1);
	slots->at[5] = NULL;
	virtio_regs_deinit(&regs);
}

/* Under a real VM: the slots come and go, and with them the contents. */
Test(guest_memory, unplugged_blocks_are_gone)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;
	struct guest_memory gm;
	struct hotplug_memory hm;
	struct slots slots = {.loop = NULL};
	struct virtio_dev *dev;
	struct error err = ERROR_NULL;
	struct driver d;

	if (kvm < 0)
		cr_skip_test("no /dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	cr_assert_geq(vm, 0);
	begin(&gm, 64, 128);
	cr_assert_eq(driver_init(&d), 0);
	slots.loop = d.loop;
	cr_assert_eq(hotplug_memory_new(&dev, &hm, &gm, vm, &slots, &err), 0, "%s", err.text);
	virtio_memdev_set_target(dev, 64 * MIB);
	cr_assert_eq(driver_attach(&d, dev), 0);
	driver_start(&d, DRIVER_COMMON_FEATURES | 1u << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE, 16);
	grow_and_shrink(&d, vm, &gm);
	a_late_writer(&d, &gm, &slots);
	driver_deinit(&d);
	guest_memory_deinit(&gm);
	close(vm);
	close(kvm);
}
