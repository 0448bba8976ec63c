// SPDX-License-Identifier: Apache-2.0
#include "virtio/mem.h"

#include <errno.h>
#include <stddef.h>

#include "base/util.h"

static const struct mem_region *find_region(const struct mem *mem, gpa_t gpa)
{
	for (unsigned i = 0; i < mem->n_regions; i++) {
		const struct mem_region *region = &mem->regions[i];

		if (gpa >= region->start && gpa - region->start < region->len)
			return region;
	}
	return NULL;
}

static bool all_plugged(const struct mem_region *region, uint64_t off, uint64_t len)
{
	uint64_t last = (off + len - 1) >> region->block_shift;

	for (uint64_t block = off >> region->block_shift; block <= last; block++)
		if (!(region->plugged[block / 64] & (UINT64_C(1) << (block % 64))))
			return false;
	return true;
}

/* [off, off + len) lies in the region, len > 0. */
static bool is_there(const struct mem_region *region, uint64_t off, uint64_t len)
{
	return !region->plugged || all_plugged(region, off, len);
}

void *mem_ptr(const struct mem *mem, gpa_t gpa, uint64_t len)
{
	const struct mem_region *region = find_region(mem, gpa);

	if (!region || len == 0 || !range_fits(gpa - region->start, len, region->len) ||
	    !is_there(region, gpa - region->start, len))
		return NULL;
	return region->host + (gpa - region->start);
}

bool mem_is_plugged(const struct mem *mem, const void *host, uint64_t len)
{
	for (unsigned i = 0; i < mem->n_regions; i++) {
		const struct mem_region *region = &mem->regions[i];
		/* A host below the region gives an offset that does not fit either. */
		uint64_t off = (uintptr_t)host - (uintptr_t)region->host;

		if (len > 0 && range_fits(off, len, region->len))
			return is_there(region, off, len);
	}
	return true;
}

bool mem_are_plugged(const struct mem *mem, const struct iovec *iov, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!mem_is_plugged(mem, iov[i].iov_base, iov[i].iov_len))
			return false;
	return true;
}

int mem_iov(const struct mem *mem, gpa_t gpa, uint32_t len, struct iovec *iov, unsigned max)
{
	unsigned n = 0;

	if (len == 0)
		return -EINVAL;
	while (len > 0) {
		const struct mem_region *region = find_region(mem, gpa);
		uint64_t part;

		if (!region)
			return -EFAULT;
		if (n == max)
			return -E2BIG;
		part = region->len - (gpa - region->start);
		if (part > len)
			part = len;
		if (!is_there(region, gpa - region->start, part))
			return -EFAULT;
		iov[n].iov_base = region->host + (gpa - region->start);
		iov[n].iov_len = part;
		n++;
		len -= (uint32_t)part;
		/* The next byte may be 0 after the last address there is: no region starts again
		 * there by wrapping. */
		if (len > 0 && !checked_add(gpa, part, &gpa))
			return -EFAULT;
	}
	return (int)n;
}
