// SPDX-License-Identifier: Apache-2.0
/* What `zone top` makes of two looks at zones, one of which lies. */
#include "tests/unit/harness.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "protect/cli/top_sample.h"

UNIT_SUITE(cli_top);

#define ZONE_1	   "00000000-0000-4000-8000-000000000001"
#define ZONE_2	   "00000000-0000-4000-8000-000000000002"
#define WORKLOAD_1 "00000000-0000-4000-8000-000000000011"
#define WORKLOAD_2 "00000000-0000-4000-8000-000000000012"
#define FIGURES	   16

struct figure {
	const char *name;
	double value;
};

static void add_zone(struct top_sample *sample, const char *uuid, const char *name)
{
	Protect__Control__Zone zone = PROTECT__CONTROL__ZONE__INIT;

	zone.uuid = (char *)(uintptr_t)uuid;
	zone.name = (char *)(uintptr_t)name;
	cr_assert_eq(top_add_zone(sample, &zone), 0);
}

static void add_workload(struct top_sample *sample, const char *uuid, const char *zone,
			 const char *name)
{
	Protect__Control__Workload workload = PROTECT__CONTROL__WORKLOAD__INIT;

	workload.uuid = (char *)(uintptr_t)uuid;
	workload.zone = (char *)(uintptr_t)zone;
	workload.name = (char *)(uintptr_t)name;
	cr_assert_eq(top_add_workload(sample, &workload), 0);
}

static void take(struct top_sample *sample, const char *zone, const struct figure *figures,
		 size_t n)
{
	Protect__Agent__Metrics metrics = PROTECT__AGENT__METRICS__INIT;
	Protect__Agent__Metric all[FIGURES], *list[FIGURES];

	cr_assert_leq(n, FIGURES);
	for (size_t i = 0; i < n; i++) {
		protect__agent__metric__init(&all[i]);
		all[i].name = (char *)(uintptr_t)figures[i].name;
		all[i].value = figures[i].value;
		list[i] = &all[i];
	}
	metrics.metrics = list;
	metrics.n_metrics = n;
	top_take(sample, zone, &metrics);
}

static const char *text(const json_t *rows, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(rows, i), key));
}

static double value(const json_t *rows, size_t i, const char *key)
{
	const json_t *number = json_object_get(json_array_get(rows, i), key);

	return json_is_number(number) ? json_number_value(number) : -1;
}

Test(cli_top, rates_and_order)
{
	struct top_sample before = {.when_ns = 10 * NS_PER_S}, now = {.when_ns = 12 * NS_PER_S};
	json_t *rows;

	add_zone(&before, ZONE_1, "idle");
	add_zone(&before, ZONE_2, "busy");
	take(&before, ZONE_1, (const struct figure[]){{"cpu.user_ns", 1e9}, {"cpu.system_ns", 1e9}},
	     2);
	take(&before, ZONE_2,
	     (const struct figure[]){{"cpu.user_ns", 1e9}, {"disks.vda.read_bytes", 100}}, 2);
	add_zone(&now, ZONE_1, "idle");
	add_zone(&now, ZONE_2, "busy");
	add_workload(&now, WORKLOAD_1, ZONE_2, "new");
	take(&now, ZONE_1,
	     (const struct figure[]){{"cpu.user_ns", 1e9},
				     {"cpu.system_ns", 1.2e9},
				     {"cpu.idle_ns", 5e9},
				     {"memory.total_bytes", 1000},
				     {"memory.available_bytes", 100}},
	     5);
	take(&now, ZONE_2,
	     (const struct figure[]){{"cpu.user_ns", 4e9},
				     {"disks.vda.read_bytes", 300},
				     {"disks.vdb.read_bytes", 200},
				     {"workload." WORKLOAD_1 ".memory.current_bytes", 7},
				     {"processes.count", 3}},
	     5);
	rows = top_rows(&before, &now, TOP_BY_CPU);
	cr_assert_eq(json_array_size(rows), 3);
	cr_expect_str_eq(text(rows, 0, "name"), "busy");
	cr_expect_float_eq(value(rows, 0, "cpu_percent"), 150, 0.01);
	cr_expect_eq(value(rows, 0, "read_bytes_per_s"), 200, "a second, of all disks");
	cr_expect_eq(value(rows, 0, "tasks"), 3);
	cr_expect_eq(value(rows, 0, "memory_bytes"), -1, "it did not say");
	cr_expect_str_eq(text(rows, 1, "name"), "new");
	cr_expect_str_eq(text(rows, 1, "zone"), "busy");
	cr_expect_eq(value(rows, 1, "memory_bytes"), 7);
	cr_expect_eq(value(rows, 1, "cpu_percent"), -1, "seen once only");
	cr_expect_float_eq(value(rows, 2, "cpu_percent"), 10, 0.01);
	cr_expect_eq(value(rows, 2, "memory_bytes"), 900);
	json_decref(rows);
	rows = top_rows(&before, &now, TOP_BY_MEMORY);
	cr_expect_str_eq(text(rows, 0, "name"), "idle");
	json_decref(rows);
	top_sample_deinit(&before);
	top_sample_deinit(&now);
}

Test(cli_top, zones_that_lie)
{
	struct top_sample before = {.when_ns = NS_PER_S}, now = {.when_ns = 2 * NS_PER_S};
	json_t *rows;

	add_zone(&before, ZONE_1, "liar");
	add_zone(&now, ZONE_1, "liar");
	add_zone(&now, ZONE_2, "other");
	add_workload(&now, WORKLOAD_2, ZONE_2, "w");
	take(&before, ZONE_1, (const struct figure[]){{"cpu.user_ns", 5e9}}, 1);
	take(&now, ZONE_1,
	     (const struct figure[]){{"cpu.user_ns", 1e9}, /* goes back */
				     {"memory.total_bytes", 10},
				     {"memory.available_bytes", 20},
				     {"processes.count", NAN},
				     {"disks.x.read_bytes", -5},
				     {"disks.x.written_bytes", INFINITY},
				     {"workload." WORKLOAD_2 ".memory.current_bytes", 99},
				     {"workload.", 1},
				     {"workload.." ZONE_1, 1},
				     {"", 1}},
	     10);
	rows = top_rows(&before, &now, TOP_BY_NAME);
	cr_assert_eq(json_array_size(rows), 3);
	for (size_t i = 0; i < 3; i++) {
		cr_expect_eq(value(rows, i, "cpu_percent"), -1);
		cr_expect_eq(value(rows, i, "memory_bytes"), -1);
		cr_expect_eq(value(rows, i, "tasks"), -1);
		cr_expect_eq(value(rows, i, "read_bytes_per_s"), -1);
		cr_expect_eq(value(rows, i, "written_bytes_per_s"), -1);
	}
	json_decref(rows);
	top_sample_deinit(&before);
	top_sample_deinit(&now);
}
