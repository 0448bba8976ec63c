// SPDX-License-Identifier: Apache-2.0
/*
 * How much memory a zone should have, from what its guest says of it: pure functions of samples,
 * bounds and time, so that they can be tested as tables (policy_driver.h asks and acts).
 *
 * The guest is not trusted: whatever it says, the result lies between minimum and maximum, a step
 * is bounded, and what is old counts for nothing. All that a lying guest can win is its maximum,
 * which the ledger has charged.
 *
 * A zone should have what it uses and a headroom. It grows fast: at once when half of the headroom
 * is gone, to all of that, and by half of what it has when hardly any is left. It shrinks slowly:
 * after a surplus of 30 s, by an eighth each 10 s. Between the two nothing changes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define POLICY_ZONE_MIB_MIN 64u /* below it no zone is ever brought */

/* What a guest said, and what its devices have given it. */
struct policy_sample {
	uint64_t age_ms;	/* of the guest's words; 0 = it said nothing yet */
	uint64_t have_mib;	/* plugged, less the balloon */
	uint64_t available_mib; /* of it: without taking anything from what runs */
	uint64_t free_mib;	/* of it: used for nothing */
};

struct policy_bounds {
	uint64_t min_mib, max_mib;
};

/* What is remembered of a zone between two samples. Starts as zeroes. */
struct policy_memory {
	uint64_t surplus_since_ns; /* 0 = it has none */
};

/* The target that a zone with this policy should have after this sample, when it has target_mib. */
uint64_t policy_dynamic(struct policy_memory *memory, uint64_t target_mib,
			struct policy_bounds bounds, const struct policy_sample *sample,
			uint64_t now_ns);

/*
 * How much a zone can give at once when the host is short of memory, in MiB: a dynamic one part of
 * what is available in it, a static one part of what lies idle in it, neither below its minimum; 0
 * when that is not worth it or not known.
 */
uint64_t policy_gift(bool dynamic, struct policy_bounds bounds, const struct policy_sample *sample);

/* Whether its guest is about to run out of memory. */
bool policy_is_starved(const struct policy_sample *sample);

/*
 * What a dynamic zone boots with: more than its target, and the balloon holds the difference. An
 * allocation that comes faster than a policy can look is then met by the guest itself, which takes
 * pages back from the balloon before its OOM killer runs (VIRTIO_BALLOON_F_DEFLATE_ON_OOM).
 */
uint64_t policy_boot_mib(uint64_t target_mib, uint64_t max_mib);
