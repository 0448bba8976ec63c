// SPDX-License-Identifier: Apache-2.0
/*
 * Guest memory as the devices see it: the only place where a guest-physical address becomes a host
 * pointer. The mapping behind a region does not change while a VMM runs, so pointers stay valid:
 * what is unplugged (a region with a bitmap) is only refused from then on, and pointers that were
 * made before see memory that the guest does not. Contents may change under any reader at any time:
 * copy once, then check, then use. Any thread; but regions with a bitmap belong to the loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

typedef uint64_t gpa_t; /* guest-physical address */

#define MEM_REGIONS_MAX 4

struct mem_region {
	gpa_t start;
	uint64_t len; /* bytes */
	uint8_t *host;
	/* NULL: all of it is there, always. Otherwise (borrowed) a bit a block of 1 << block_shift
	 * bytes: set while the guest has it. */
	const uint64_t *plugged;
	unsigned block_shift;
};

struct mem {
	unsigned n_regions; /* sorted by start, not overlapping */
	struct mem_region regions[MEM_REGIONS_MAX];
};

/* The host address of [gpa, gpa + len), which must lie in one region and be plugged; NULL
 * otherwise, or when len is 0. */
void *mem_ptr(const struct mem *mem, gpa_t gpa, uint64_t len);

/* Whether the guest still has the memory behind a pointer that was translated before. */
bool mem_is_plugged(const struct mem *mem, const void *host, uint64_t len);

/* The same for all of n segments. */
bool mem_are_plugged(const struct mem *mem, const struct iovec *iov, unsigned n);

/*
 * Translates [gpa, gpa + len) to at most max iovecs (regions may touch each other). Returns their
 * number, -EFAULT if a byte lies outside of memory or is unplugged, -E2BIG if max is too small,
 * -EINVAL for len 0.
 */
int mem_iov(const struct mem *mem, gpa_t gpa, uint32_t len, struct iovec *iov, unsigned max);
