// SPDX-License-Identifier: Apache-2.0
/*
 * What `zone top` shows: what zones and workloads have used at one moment, and what that is a
 * second between two such moments. The figures are zones' own words, so each is taken only as a
 * finite, positive number. Pure; main thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/uuid.h"
#include "proto/agent.pb-c.h"
#include "proto/control.pb-c.h"

#define TOP_NAME_SIZE 64

enum top_order { TOP_BY_CPU, TOP_BY_MEMORY, TOP_BY_NAME };

/* A zone, or a workload in one. Bytes and ns since its start; negative = not known. */
struct top_item {
	char uuid[UUID_TEXT_SIZE], zone[UUID_TEXT_SIZE];
	char name[TOP_NAME_SIZE];
	bool is_zone;
	double memory_total_bytes, memory_available_bytes; /* zones */
	double cpu_ns, memory_bytes, tasks, read_bytes, written_bytes;
};

struct top_sample {
	uint64_t when_ns;
	struct top_item *items;
	size_t n, room;
};

void top_sample_deinit(struct top_sample *sample);

/* Adds one that runs. Returns 0 or -ENOMEM. */
int top_add_zone(struct top_sample *sample, const Protect__Control__Zone *zone);
int top_add_workload(struct top_sample *sample, const Protect__Control__Workload *workload);

/* Takes a zone's own figures, which may lie, for itself and the workloads in it. */
void top_take(struct top_sample *sample, const char *zone, const Protect__Agent__Metrics *metrics);

/*
 * An array with an object for each zone, its workloads behind it, both by `order`: kind, name, zone
 * (a name), uuid, cpu_percent (of one processor), memory_bytes, memory_total_bytes (of a zone),
 * tasks, read_bytes_per_s, written_bytes_per_s; null is what is not known. NULL without memory.
 */
json_t *top_rows(const struct top_sample *before, const struct top_sample *now,
		 enum top_order order);
