// SPDX-License-Identifier: Apache-2.0
#include "vmm/guest_memory.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/util.h"
#include "vmm/layout.h"

#define MEM_MIB_MIN 16u
#define MEM_MIB_MAX (UINT64_C(1) << 20)
#define HUGE_PAGE   (2 * MIB)

static void lay_out(struct guest_memory *gm)
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

/* At least one huge page in front and behind stays without access: nothing of the VMM is adjacent.
 */
static int reserve(struct guest_memory *gm)
{
	uint64_t before;
	void *all;

	gm->reserved_len = gm->len + 3 * HUGE_PAGE;
	all = mmap(NULL, gm->reserved_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0);
	if (all == MAP_FAILED)
		return -errno;
	gm->reserved = all;
	before = align_up((uintptr_t)all + HUGE_PAGE, HUGE_PAGE) - (uintptr_t)all;
	gm->host = gm->reserved + before;
	return mprotect(gm->host, gm->len, PROT_READ | PROT_WRITE) < 0 ? -errno : 0;
}

int guest_memory_init(struct guest_memory *gm, uint64_t mem_mib, bool huge_pages, struct error *err)
{
	int r;

	if (mem_mib < MEM_MIB_MIN || mem_mib > MEM_MIB_MAX)
		return error_set(err, -EINVAL, "memory_mib must be %u to %llu, not %llu",
				 MEM_MIB_MIN, (unsigned long long)MEM_MIB_MAX,
				 (unsigned long long)mem_mib);
	gm->len = mem_mib * MIB;
	r = reserve(gm);
	if (r < 0)
		return error_set_errno(err, r, "cannot map %llu MiB of guest memory",
				       (unsigned long long)mem_mib);
	/* Advice only: a host without huge pages serves small ones. A core dump must not carry the
	 * guest's memory. */
	madvise(gm->host, gm->len, huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	madvise(gm->host, gm->len, MADV_DONTDUMP);
	lay_out(gm);
	return 0;
}

void guest_memory_deinit(struct guest_memory *gm)
{
	if (gm->reserved)
		munmap(gm->reserved, gm->reserved_len);
	gm->reserved = gm->host = NULL;
}
