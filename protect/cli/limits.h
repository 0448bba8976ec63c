// SPDX-License-Identifier: Apache-2.0
/* The options of `zone launch` and `zone update` that limit a zone's use of processors and disks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/control.pb-c.h"
#include "protect/cli/args.h"

/* As given; NULL = not given. */
struct limit_values {
	const char *weight, *percent, *cpus;
	const char *read_bps, *write_bps, *read_iops, *write_iops;
};

#define LIMIT_N_OPTIONS 7

#define LIMIT_OPTION(at, member, name, value, help)                                                \
	{                                                                                          \
		0, name, ARG_STRING, (at) + offsetof(struct limit_values, member), value, help, 0, \
			0, NULL                                                                    \
	}

/* Their lines in a command's table; at: where its values have their struct limit_values. */
#define LIMIT_OPTIONS(at)                                                                          \
	LIMIT_OPTION(at, weight, "cpu-weight", "N",                                                \
		     "share of busy processors beside other zones, 1 to 10000 (default: 100)"),    \
		LIMIT_OPTION(at, percent, "cpu-percent", "N",                                      \
			     "processor time at most, in percent of one (0: by its processors)"),  \
		LIMIT_OPTION(at, cpus, "cpus", "LIST",                                             \
			     "the host's processors that it runs on, as 0-3,8, or all"),           \
		LIMIT_OPTION(at, read_bps, "io-read-bps", "BYTES",                                 \
			     "read so much a second at most from a disk of the host (0: no "       \
			     "limit)"),                                                            \
		LIMIT_OPTION(at, write_bps, "io-write-bps", "BYTES",                               \
			     "write so much a second at most to a disk of the host"),              \
		LIMIT_OPTION(at, read_iops, "io-read-iops", "N", "reads a second at most"),        \
		LIMIT_OPTION(at, write_iops, "io-write-iops", "N", "writes a second at most")

/* Whether any of these options was given, of processors and of disks. */
bool limits_of_cpu(const struct limit_values *values);
bool limits_of_io(const struct limit_values *values);

/*
 * Changes the messages by what was given. Returns CLI_OK, or CLI_USAGE having said what is wrong.
 * The messages borrow from values.
 */
int limits_apply(const struct args *args, const struct limit_values *values,
		 Protect__Control__CpuLimits *cpu, Protect__Control__IoLimits *io);
