// SPDX-License-Identifier: Apache-2.0
#include "vmm/config_pages.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "vmm/layout.h"

#define PAGE_SIZE 4096u

/* #syscalls loop: ioctl(_, KVM_SET_USER_MEMORY_REGION) */
static int set_slot(const struct config_pages *pages, unsigned slot, uint64_t len)
{
	struct kvm_userspace_memory_region region = {
		.slot = pages->first_slot + slot,
		.flags = KVM_MEM_READONLY,
		.guest_phys_addr = LAYOUT_ECAM + ((uint64_t)slot << 15),
		.memory_size = len,
		.userspace_addr = (uintptr_t)(pages->pages + (size_t)slot * PAGE_SIZE),
	};

	return ioctl(pages->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

int config_pages_init(struct config_pages *pages, int vm_fd)
{
	int n_slots = ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
	void *room;

	*pages = (struct config_pages){.vm_fd = vm_fd};
	if (n_slots < (int)CONFIG_PAGES_SLOTS ||
	    ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) <= 0)
		return -ENOTSUP;
	room = mmap(NULL, CONFIG_PAGES_SLOTS * PAGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (room == MAP_FAILED)
		return -errno;
	pages->pages = room;
	/* The last ones: memory that grows counts from the first. */
	pages->first_slot = (uint32_t)n_slots - CONFIG_PAGES_SLOTS;
	return 0;
}

void config_pages_deinit(struct config_pages *pages)
{
	if (pages->pages)
		munmap(pages->pages, CONFIG_PAGES_SLOTS * PAGE_SIZE);
	pages->pages = NULL;
}

void config_pages_show(struct config_pages *pages, unsigned slot,
		       const uint32_t dwords[static CONFIG_PAGE_DWORDS])
{
	_Atomic uint32_t *page = (void *)(pages->pages + (size_t)slot * PAGE_SIZE);

	/* Each at once, as the guest may read any of them meanwhile. */
	for (unsigned i = 0; i < CONFIG_PAGE_DWORDS; i++)
		atomic_store_explicit(&page[i], dwords[i], memory_order_relaxed);
	if (!(pages->shown & 1u << slot) && set_slot(pages, slot, PAGE_SIZE) == 0)
		pages->shown |= 1u << slot;
}

void config_pages_hide(struct config_pages *pages, unsigned slot)
{
	if (pages->shown & 1u << slot && set_slot(pages, slot, 0) == 0)
		pages->shown &= ~(1u << slot);
}
