// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/limits.h"

#include <stddef.h>
#include <string.h>

#include "base/util.h"

#define WEIGHT_MAX  10000u
#define PERCENT_MAX 100000u

bool limits_of_cpu(const struct limit_values *values)
{
	return values->weight || values->percent || values->cpus;
}

bool limits_of_io(const struct limit_values *values)
{
	return values->read_bps || values->write_bps || values->read_iops || values->write_iops;
}

/* *out stays as it is where nothing was given. */
static int take(const struct args *args, const char *option, const char *text, uint64_t min,
		uint64_t max, uint64_t *out)
{
	if (!text || args_number(text, min, max, out) == 0)
		return CLI_OK;
	return args_usage_error(args, "--%s takes a number of %llu to %llu, not '%s'", option,
				(unsigned long long)min, (unsigned long long)max, text);
}

static int take_cpu(const struct args *args, const struct limit_values *values,
		    Protect__Control__CpuLimits *cpu)
{
	uint64_t weight = cpu->weight, percent = cpu->percent;
	int status = take(args, "cpu-weight", values->weight, 1, WEIGHT_MAX, &weight);

	if (!status)
		status = take(args, "cpu-percent", values->percent, 0, PERCENT_MAX, &percent);
	cpu->weight = (uint32_t)weight;
	cpu->percent = (uint32_t)percent;
	if (values->cpus)
		cpu->cpus =
			(char *)(uintptr_t)(strcmp(values->cpus, "all") == 0 ? "" : values->cpus);
	return status;
}

int limits_apply(const struct args *args, const struct limit_values *values,
		 Protect__Control__CpuLimits *cpu, Protect__Control__IoLimits *io)
{
	const struct {
		const char *option, *text;
		uint64_t *rate;
	} rates[] = {{"io-read-bps", values->read_bps, &io->read_bytes_per_s},
		     {"io-write-bps", values->write_bps, &io->write_bytes_per_s},
		     {"io-read-iops", values->read_iops, &io->read_ops_per_s},
		     {"io-write-iops", values->write_iops, &io->write_ops_per_s}};
	int status = take_cpu(args, values, cpu);

	for (size_t i = 0; !status && i < ARRAY_SIZE(rates); i++)
		status = take(args, rates[i].option, rates[i].text, 0, INT64_MAX, rates[i].rate);
	return status;
}
