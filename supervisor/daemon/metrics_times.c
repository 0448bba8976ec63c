// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/metrics_times.h"

#include "base/util.h"
#include "supervisor/daemon/metrics_text.h"

#define NAME_MAX_BYTES 96u

static const uint64_t bounds_ms[TIMES_BUCKETS] = {10,	25,   50,   100,   250,	  500,
						  1000, 2500, 5000, 10000, 30000, 60000};

void times_add(struct times *times, uint64_t ms)
{
	times->n++;
	times->sum_s += (double)ms / 1e3;
	for (unsigned i = 0; i < TIMES_BUCKETS; i++)
		if (ms <= bounds_ms[i]) {
			times->buckets[i]++;
			return;
		}
}

void times_write(FILE *out, const char *name, const char *help, const struct times *times)
{
	char bucket[NAME_MAX_BYTES], bound[16];
	uint64_t n = 0;

	metrics_family(out, name, METRICS_HISTOGRAM, help);
	snprintf(bucket, sizeof(bucket), "%s_bucket", name);
	for (unsigned i = 0; i < TIMES_BUCKETS; i++) {
		n += times->buckets[i];
		snprintf(bound, sizeof(bound), "%g", (double)bounds_ms[i] / 1e3);
		metrics_sample(out, bucket, &(struct metrics_label){"le", bound}, 1, (double)n);
	}
	metrics_sample(out, bucket, &(struct metrics_label){"le", "+Inf"}, 1, (double)times->n);
	snprintf(bucket, sizeof(bucket), "%s_sum", name);
	metrics_sample(out, bucket, NULL, 0, times->sum_s);
	snprintf(bucket, sizeof(bucket), "%s_count", name);
	metrics_sample(out, bucket, NULL, 0, (double)times->n);
}
