// SPDX-License-Identifier: Apache-2.0
/*
 * What of the host's memory and CPUs zones may have, and what they have. A zone is charged before
 * anything of it exists, and is given back once its runner is gone. Every zone is charged its
 * maximum with the overhead of its runner; more than there is is given out only as the declared
 * over-commit says (none, unless somebody wants it). One thread.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/util.h"

#define LEDGER_OVERHEAD_MIB    32u
#define LEDGER_OVERCOMMIT_NONE 100u
#define LEDGER_OVERCOMMIT_MAX  16u /* a factor */
#define LEDGER_ZONE_MIB_MIN    64u
#define LEDGER_ZONE_VCPUS_MAX  64u

struct ledger {
	uint64_t memory_total_mib, memory_used_mib;
	uint32_t overcommit_percent; /* of the total that is given out; 100 = no over-commit */
	uint32_t vcpus_total, vcpus_used;
};

/*
 * What a zone is charged, and its cgroup may use, beside its memory. In proportion: the page tables
 * of the runner and of KVM, 8 bytes each for every 4 KiB of the zone, when no huge page is to be
 * had. The constant: the runner's own pages and kernel objects, about 3 MiB for one vCPU and a
 * disk (the end-to-end tests see to it that it stays below half of what is given), half a MiB for
 * every queue of a disk that is used to its depth, its log up to where it is emptied, and page
 * cache for the kernel to work with before it must take some back.
 */
static inline uint64_t ledger_overhead_mib(uint64_t memory_mib)
{
	return LEDGER_OVERHEAD_MIB + memory_mib / 256;
}

/* Where a zone's memory is called high: only a runner that takes far more than it should, or page
 * cache, which is given back, comes there. */
static inline uint64_t ledger_high_bytes(uint64_t memory_mib)
{
	return (memory_mib + ledger_overhead_mib(memory_mib) * 3 / 4) * MIB;
}

/* What this host can give: MemTotal less max(512 MiB, 10 %), and four virtual CPUs for each one
 * that is online. */
void ledger_init(struct ledger *ledger);

/* Sets the over-commit from a decimal factor, 1 to 16. Returns 0 or -EINVAL, having said why. */
int ledger_set_overcommit(struct ledger *ledger, const char *factor);

/* Charges a zone. Returns 0, -EINVAL for a size that no host could give, or -ENOSPC with text that
 * names what is free. */
int ledger_reserve(struct ledger *ledger, uint64_t memory_mib, uint32_t vcpus, struct error *err);

/* Charges a zone that runs already, whatever the budget says. */
void ledger_adopt(struct ledger *ledger, uint64_t memory_mib, uint32_t vcpus);

/* Gives back what one of the two above charged. */
void ledger_release(struct ledger *ledger, uint64_t memory_mib, uint32_t vcpus);
