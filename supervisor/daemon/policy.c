// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/policy.h"

#include "base/clock.h"

#define STALE_MS	  10000u
#define HEADROOM_MIB	  48u
#define HEADROOM_SHARE	  4u /* of what is used, a fourth */
#define GRAIN_MIB	  4u /* of targets */
#define SHRINK_AFTER_NS	  (30 * NS_PER_S)
#define SHRINK_EVERY_NS	  (10 * NS_PER_S)
#define SHRINK_MIB_MIN	  16u
#define SHRINK_SHARE	  8u
#define GIFT_MIB_MIN	  8u
#define GIFT_SHARE	  4u  /* of what a zone has, at once */
#define STATIC_KEEP_MIB	  32u /* idle memory that a static zone keeps */
#define STATIC_KEEP_SHARE 16u

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t clamp(struct policy_bounds bounds, uint64_t mib)
{
	return min_u64(max_u64(mib, bounds.min_mib), bounds.max_mib);
}

static uint64_t round_up(uint64_t mib)
{
	return (mib + GRAIN_MIB - 1) / GRAIN_MIB * GRAIN_MIB;
}

/* The guest may say that more is available than it has. */
static uint64_t used_mib(const struct policy_sample *sample)
{
	return less(sample->have_mib, sample->available_mib);
}

static uint64_t headroom_mib(const struct policy_sample *sample)
{
	return max_u64(used_mib(sample) / HEADROOM_SHARE, HEADROOM_MIB);
}

static bool is_known(const struct policy_sample *sample)
{
	return sample->age_ms != 0 && sample->age_ms <= STALE_MS;
}

bool policy_is_starved(const struct policy_sample *sample)
{
	return is_known(sample) && sample->available_mib < headroom_mib(sample) / 2;
}

/* Memory that was granted may still be on its way. What a guest would use that has nothing left
 * cannot be seen: it gets half as much again. */
static uint64_t grow(uint64_t target_mib, uint64_t wanted_mib, const struct policy_sample *sample)
{
	uint64_t have_mib = sample->have_mib;

	if (wanted_mib <= target_mib)
		return target_mib;
	if (sample->available_mib >= headroom_mib(sample) / 4)
		return wanted_mib;
	return max_u64(wanted_mib, have_mib + have_mib / 2);
}

/* From what it has: so a guest that does not follow is not asked for more and more, and one that
 * took pages back from the balloon by itself is asked for them again. */
static uint64_t shrink(uint64_t wanted_mib, const struct policy_sample *sample)
{
	uint64_t step_mib = max_u64(sample->have_mib / SHRINK_SHARE, SHRINK_MIB_MIN);

	return max_u64(wanted_mib, less(sample->have_mib, step_mib));
}

uint64_t policy_dynamic(struct policy_memory *memory, uint64_t target_mib,
			struct policy_bounds bounds, const struct policy_sample *sample,
			uint64_t now_ns)
{
	uint64_t headroom = headroom_mib(sample), wanted = round_up(used_mib(sample) + headroom);
	uint64_t since_ns = memory->surplus_since_ns;

	memory->surplus_since_ns = 0;
	if (!is_known(sample))
		return clamp(bounds, target_mib);
	/* MiB of what fits 64 bits as bytes: none of these sums overflows. */
	if (policy_is_starved(sample))
		return clamp(bounds, grow(target_mib, wanted, sample));
	if (sample->have_mib <= wanted + headroom / 2 || sample->have_mib <= bounds.min_mib)
		return clamp(bounds, target_mib);
	memory->surplus_since_ns = since_ns ? since_ns : now_ns;
	if (now_ns - memory->surplus_since_ns < SHRINK_AFTER_NS)
		return clamp(bounds, target_mib);
	memory->surplus_since_ns = now_ns - SHRINK_AFTER_NS + SHRINK_EVERY_NS;
	return clamp(bounds, round_up(shrink(wanted, sample)));
}

uint64_t policy_gift(bool dynamic, struct policy_bounds bounds, const struct policy_sample *sample)
{
	uint64_t spare_mib, gift_mib;

	if (!is_known(sample))
		return 0;
	if (dynamic)
		spare_mib = less(min_u64(sample->available_mib, sample->have_mib),
				 headroom_mib(sample) / 4 * 3);
	else
		spare_mib = less(min_u64(sample->free_mib, sample->have_mib),
				 max_u64(sample->have_mib / STATIC_KEEP_SHARE, STATIC_KEEP_MIB));
	gift_mib = min_u64(spare_mib, sample->have_mib / GIFT_SHARE);
	gift_mib = min_u64(gift_mib, less(sample->have_mib, bounds.min_mib));
	return gift_mib < GIFT_MIB_MIN ? 0 : gift_mib;
}

uint64_t policy_boot_mib(uint64_t target_mib, uint64_t max_mib)
{
	return min_u64(target_mib * 2, max_mib);
}
