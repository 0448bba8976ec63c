// SPDX-License-Identifier: Apache-2.0
/*
 * vmm_start ZONE_VMM FIRST_ELF [RUNS] [N_TOGETHER]: from before the fork of zone-vmm until the
 * first byte of a guest that prints with its third instruction, in wall and CPU time of that
 * process, 256 MiB with a disk; then that many zones of 32 MiB alive together, with the time until
 * all of them have said it and what each holds beside its guest's memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "zone.h"

#define RUNS_MAX  101u
#define ZONES_MAX 500u

static void one_at_a_time(const struct zone_options *options, unsigned runs)
{
	static double wall_ms[RUNS_MAX], cpu_ms[RUNS_MAX];
	struct zone zone;

	for (unsigned i = 0; i < runs; i++) {
		uint64_t begin;

		zone_prepare(&zone, options);
		begin = clock_now_ns();
		zone_exec(&zone, options);
		zone_wait_for(&zone, '1');
		cpu_ms[i] = (double)zone_cpu_ns(&zone) / 1e6;
		wall_ms[i] = (double)(clock_now_ns() - begin) / 1e6;
		zone_end(&zone);
	}
	bench_report("vmm_start_cpu", "ms", bench_median(cpu_ms, runs), 0, NULL);
	bench_report("vmm_start_wall", "ms", bench_median(wall_ms, runs), 0, NULL);
}

static void together(const struct zone_options *options, unsigned n)
{
	static struct zone zones[ZONES_MAX];
	unsigned long long total_kib = 0;
	uint64_t begin;

	for (unsigned i = 0; i < n; i++)
		zone_prepare(&zones[i], options);
	begin = clock_now_ns();
	for (unsigned i = 0; i < n; i++)
		zone_exec(&zones[i], options);
	for (unsigned i = 0; i < n; i++)
		zone_wait_for(&zones[i], '1');
	bench_report("guests_200_start", "ms", (double)(clock_now_ns() - begin) / 1e6, 0, NULL);
	for (unsigned i = 0; i < n; i++)
		total_kib += pss_kib(zones[i].pid, options->memory_mib);
	bench_report("guests_200_pss_each", "KiB", (double)total_kib / n, 0, NULL);
	for (unsigned i = 0; i < n; i++)
		zone_end(&zones[i]);
}

int main(int argc, char **argv)
{
	struct zone_options options = {.memory_mib = 256, .vcpus = 1, .more = ""};
	unsigned runs, n;

	if (argc < 3) {
		fputs("usage: vmm_start ZONE_VMM FIRST_ELF [RUNS] [N_TOGETHER]\n", stderr);
		return 2;
	}
	options.program = argv[1];
	options.guest = argv[2];
	runs = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 31;
	n = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 200;
	if (runs < 1 || runs > RUNS_MAX || n > ZONES_MAX)
		return 2;
	one_at_a_time(&options, runs);
	options.memory_mib = 32;
	if (n > 0)
		together(&options, n);
	return 0;
}
