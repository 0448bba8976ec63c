// SPDX-License-Identifier: Apache-2.0
/*
 * A zone-vmm with a small guest program, as the measuring programs use it: started in a folder of
 * its own, its console on a pipe. Whatever fails ends the measuring program with a message, and all
 * zones with it. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct zone_options {
	const char *program, *guest; /* zone-vmm and the ELF file it boots */
	unsigned memory_mib, vcpus;
	const char *more; /* more members of the spec, each with a comma before it, or "" */
};

struct zone {
	pid_t pid;
	int console; /* what the guest prints */
	char dir[32];
};

/* Makes folder and spec; zone_exec() then starts the process, so that only that is timed. */
void zone_prepare(struct zone *zone, const struct zone_options *options);
void zone_exec(struct zone *zone, const struct zone_options *options);

/* Reads the console until this byte comes. */
void zone_wait_for(struct zone *zone, char byte);

/* CPU time that the zone has used, in ns: of the process that was started and of its child, which
 * is the zone (vmm/confine.h). */
uint64_t zone_cpu_ns(const struct zone *zone);

/* Kills the process and removes the folder. */
void zone_end(struct zone *zone);

/* What a process and its child hold beside a guest's memory, as Pss in KiB. Guest memory is each
 * mapping of at least guest_mib. */
unsigned long long pss_kib(pid_t pid, unsigned long guest_mib);

/* Ends this program: what failed, and why if r is a negative errno. */
_Noreturn void bench_die(const char *what, int r);

/* One line of JSON: a figure, with its peer's if peer_name is not NULL. */
void bench_report(const char *name, const char *unit, double ours, double peer,
		  const char *peer_name);

/* The median of n values, which are sorted by it. */
double bench_median(double *values, unsigned n);
