// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/ledger.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"

#define HOST_RESERVE_MIB 512u
#define VCPUS_PER_CPU	 4u

void ledger_init(struct ledger *ledger)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct sysinfo info;
	uint64_t total_mib = 0, reserve_mib;

	if (sysinfo(&info) == 0)
		total_mib = (uint64_t)info.totalram * info.mem_unit / MIB;
	reserve_mib = total_mib / 10 > HOST_RESERVE_MIB ? total_mib / 10 : HOST_RESERVE_MIB;
	*ledger = (struct ledger){.memory_total_mib =
					  total_mib > reserve_mib ? total_mib - reserve_mib : 0,
				  .overcommit_percent = LEDGER_OVERCOMMIT_NONE,
				  .vcpus_total = (uint32_t)(cpus > 0 ? cpus : 1) * VCPUS_PER_CPU};
}

int ledger_set_overcommit(struct ledger *ledger, const char *factor)
{
	char *end;
	double value = strtod(factor, &end);

	/* Written so that NaN is refused too. */
	if (end == factor || *end || !(value >= 1 && value <= LEDGER_OVERCOMMIT_MAX)) {
		log_error("memory_overcommit=%s err=\"a factor is 1 to %u\"", factor,
			  LEDGER_OVERCOMMIT_MAX);
		return -EINVAL;
	}
	ledger->overcommit_percent = (uint32_t)(value * 100 + 0.5);
	return 0;
}

static uint64_t free_mib(const struct ledger *ledger)
{
	uint64_t total_mib = ledger->memory_total_mib * ledger->overcommit_percent / 100;

	return total_mib > ledger->memory_used_mib ? total_mib - ledger->memory_used_mib : 0;
}

static uint32_t free_vcpus(const struct ledger *ledger)
{
	return ledger->vcpus_total > ledger->vcpus_used ? ledger->vcpus_total - ledger->vcpus_used
							: 0;
}

int ledger_reserve(struct ledger *ledger, uint64_t memory_mib, uint32_t vcpus, struct error *err)
{
	uint64_t left = free_mib(ledger), overhead_mib = ledger_overhead_mib(memory_mib);

	if (memory_mib < LEDGER_ZONE_MIB_MIN)
		return error_set(err, -EINVAL, "a zone needs at least %u MiB, not %" PRIu64,
				 LEDGER_ZONE_MIB_MIN, memory_mib);
	if (vcpus < 1 || vcpus > LEDGER_ZONE_VCPUS_MAX)
		return error_set(err, -EINVAL, "a zone has 1 to %u CPUs, not %u",
				 LEDGER_ZONE_VCPUS_MAX, vcpus);
	if (left < overhead_mib || memory_mib > left - overhead_mib)
		return error_set(err, -ENOSPC,
				 "the zone needs %" PRIu64 " MiB and %" PRIu64
				 " MiB for its runner, %" PRIu64
				 " MiB are free; destroy a zone or ask for less with --max-memory",
				 memory_mib, overhead_mib, left);
	if (vcpus > free_vcpus(ledger))
		return error_set(
			err, -ENOSPC,
			"the zone needs %u CPUs, %u are free; destroy a zone or ask for fewer with "
			"--max-cpus",
			vcpus, free_vcpus(ledger));
	ledger_adopt(ledger, memory_mib, vcpus);
	return 0;
}

void ledger_adopt(struct ledger *ledger, uint64_t memory_mib, uint32_t vcpus)
{
	ledger->memory_used_mib += memory_mib + ledger_overhead_mib(memory_mib);
	ledger->vcpus_used += vcpus;
}

void ledger_release(struct ledger *ledger, uint64_t memory_mib, uint32_t vcpus)
{
	assert(ledger->memory_used_mib >= memory_mib + ledger_overhead_mib(memory_mib) &&
	       ledger->vcpus_used >= vcpus);
	ledger->memory_used_mib -= memory_mib + ledger_overhead_mib(memory_mib);
	ledger->vcpus_used -= vcpus;
}
