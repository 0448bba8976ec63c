// SPDX-License-Identifier: Apache-2.0
#include "vmm/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "vmm/layout.h"

#define MEM_MIB_MIN 16u
#define MEM_MIB_MAX (UINT64_C(1) << 20)

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

int guest_memory_init(struct guest_memory *gm, uint64_t mem_mib, struct error *err)
{
	_cleanup_(close_fdp) int fd = -1;
	void *host;

	if (mem_mib < MEM_MIB_MIN || mem_mib > MEM_MIB_MAX)
		return error_set(err, -EINVAL, "memory_mib must be %u to %llu, not %llu",
				 MEM_MIB_MIN, (unsigned long long)MEM_MIB_MAX,
				 (unsigned long long)mem_mib);
	gm->len = mem_mib * MIB;
	fd = memfd_create("guest-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return error_set_errno(err, -errno, "cannot create the guest memory");
	if (ftruncate(fd, (off_t)gm->len) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return error_set_errno(err, -errno, "cannot size the guest memory to %llu MiB",
				       (unsigned long long)mem_mib);
	host = mmap(NULL, gm->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (host == MAP_FAILED)
		return error_set_errno(err, -errno, "cannot map %llu MiB of guest memory",
				       (unsigned long long)mem_mib);
	/* A core dump of the VMM must not carry the guest's memory. */
	madvise(host, gm->len, MADV_DONTDUMP);
	gm->host = host;
	gm->fd = steal_fd(&fd);
	lay_out(gm);
	return 0;
}

void guest_memory_deinit(struct guest_memory *gm)
{
	if (gm->host)
		munmap(gm->host, gm->len);
	gm->host = NULL;
	close_fdp(&gm->fd);
}
