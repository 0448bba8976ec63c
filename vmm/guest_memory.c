// SPDX-License-Identifier: Apache-2.0
#include "vmm/guest_memory.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/util.h"
#include "vmm/layout.h"

#define MEM_MIB_MIN 16u
#define MEM_MIB_MAX (UINT64_C(1) << 20)
#define HUGE_PAGE   (2 * MIB)
#define SMALL_PAGE  4096u
/* Linux adds memory in blocks of 128 MiB, of more where there is much of it, and leaves what does
 * not fill one unused. */
#define LINUX_BLOCK (128 * MIB)
#define LINUX_ALIGN (1024 * MIB)

static void lay_out_boot(struct guest_memory *gm)
{
	uint64_t low = gm->len < LAYOUT_LOW_MAX ? gm->len : LAYOUT_LOW_MAX;

	gm->mem.regions[0] = (struct mem_region){.start = 0, .len = low, .host = gm->host};
	gm->mem.n_regions = 1;
	if (gm->len > low) {
		gm->mem.regions[1] = (struct mem_region){
			.start = LAYOUT_HIGH, .len = gm->len - low, .host = gm->host + low};
		gm->mem.n_regions = 2;
	}
}

/* The hot-plug region's size, and that of its blocks: the smallest by which there are not too many.
 */
static void size_hotplug(struct guest_memory *gm, uint64_t len)
{
	gm->hotplug_len = 0;
	gm->block_size = MEMDEV_BLOCK_MIN;
	if (len == 0)
		return;
	while (gm->block_size * MEMDEV_BLOCKS_MAX < len)
		gm->block_size *= 2;
	gm->hotplug_len =
		align_up(len, gm->block_size > LINUX_BLOCK ? gm->block_size : LINUX_BLOCK);
}

static void lay_out_hotplug(struct guest_memory *gm)
{
	const struct mem_region *last = &gm->mem.regions[gm->mem.n_regions - 1];
	uint64_t align = gm->block_size > LINUX_ALIGN ? gm->block_size : LINUX_ALIGN;
	gpa_t end = last->start + last->len;

	if (gm->hotplug_len == 0)
		return;
	gm->hotplug_start = align_up(end > LAYOUT_HIGH ? end : LAYOUT_HIGH, align);
	gm->mem.regions[gm->mem.n_regions++] = (struct mem_region){
		.start = gm->hotplug_start,
		.len = gm->hotplug_len,
		.host = gm->host + gm->host_len - gm->hotplug_len,
		.plugged = gm->plugged,
		.block_shift = (unsigned)__builtin_ctzll(gm->block_size),
	};
}

/* At least one huge page in front and behind stays without access: nothing of the VMM is adjacent.
 */
static int reserve(struct guest_memory *gm)
{
	uint64_t before;
	void *all;

	gm->reserved_len = gm->host_len + 3 * HUGE_PAGE;
	all = mmap(NULL, gm->reserved_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0);
	if (all == MAP_FAILED)
		return -errno;
	gm->reserved = all;
	before = align_up((uintptr_t)all + HUGE_PAGE, HUGE_PAGE) - (uintptr_t)all;
	gm->host = gm->reserved + before;
	return mprotect(gm->host, gm->host_len, PROT_READ | PROT_WRITE) < 0 ? -errno : 0;
}

static int check_sizes(uint64_t boot_mib, uint64_t max_mib, struct error *err)
{
	if (boot_mib < MEM_MIB_MIN || boot_mib > MEM_MIB_MAX)
		return error_set(err, -EINVAL, "memory_mib must be %u to %llu, not %llu",
				 MEM_MIB_MIN, (unsigned long long)MEM_MIB_MAX,
				 (unsigned long long)boot_mib);
	if (max_mib < boot_mib || max_mib > MEM_MIB_MAX)
		return error_set(err, -EINVAL, "max_memory_mib must be %llu to %llu, not %llu",
				 (unsigned long long)boot_mib, (unsigned long long)MEM_MIB_MAX,
				 (unsigned long long)max_mib);
	return 0;
}

int guest_memory_init(struct guest_memory *gm, uint64_t boot_mib, uint64_t max_mib, bool huge_pages,
		      struct error *err)
{
	int r = check_sizes(boot_mib, max_mib, err);

	if (r < 0)
		return r;
	*gm = (struct guest_memory){.len = boot_mib * MIB};
	size_hotplug(gm, (max_mib - boot_mib) * MIB);
	/* The hot-plug region starts at a huge page, as it does for the guest. */
	gm->host_len = gm->hotplug_len ? align_up(gm->len, HUGE_PAGE) + gm->hotplug_len : gm->len;
	r = reserve(gm);
	if (r < 0)
		return error_set_errno(err, r, "cannot map %llu MiB of guest memory",
				       (unsigned long long)(gm->host_len / MIB));
	/* Advice only: a host without huge pages serves small ones. A core dump must not carry the
	 * guest's memory. */
	madvise(gm->host, gm->host_len, huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	madvise(gm->host, gm->host_len, MADV_DONTDUMP);
	lay_out_boot(gm);
	lay_out_hotplug(gm);
	return 0;
}

/* #syscalls loop: munmap madvise(_, _, MADV_DONTNEED) */
void guest_memory_deinit(struct guest_memory *gm)
{
	if (gm->reserved)
		munmap(gm->reserved, gm->reserved_len);
	gm->reserved = gm->host = NULL;
}

void guest_memory_discard(void *user, void *host, uint64_t len)
{
	struct guest_memory *gm = user;
	/* A host below the memory gives an offset that does not fit either. */
	uint64_t off = (uintptr_t)host - (uintptr_t)gm->host;

	if (off % SMALL_PAGE || len % SMALL_PAGE || !range_fits(off, len, gm->host_len))
		return;
	/* It cannot fail but by a page that is locked, and nothing of this is. */
	madvise(host, len, MADV_DONTNEED);
}
