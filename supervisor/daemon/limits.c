// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu_list.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/daemon/zone.h"

#define CPU_IO_SHARE  4u /* of one CPU, a fourth: for the runner's own work beside the vCPUs */
#define RATE_MAX      ((uint64_t)INT64_MAX) /* what the state can hold */
#define PERCENT_TO_US (LAUNCH_CPU_PERIOD_US / 100)

static int take_cpu(struct zone_limits *limits, const Protect__Control__CpuLimits *cpu,
		    struct error *err)
{
	if (cpu->weight > LIMITS_WEIGHT_MAX)
		return error_set(err, -EINVAL, "a CPU weight is 1 to %u, not %u", LIMITS_WEIGHT_MAX,
				 cpu->weight);
	if (cpu->percent > LIMITS_PERCENT_MAX)
		return error_set(err, -EINVAL, "a CPU limit is at most %u %%, not %u",
				 LIMITS_PERCENT_MAX, cpu->percent);
	if (strlen(cpu->cpus) >= sizeof(limits->cpus) || (*cpu->cpus && !cpu_list_valid(cpu->cpus)))
		return error_set(err, -EINVAL, "'%.64s' is no list of CPUs like 0-3,8", cpu->cpus);
	limits->cpu_weight = cpu->weight;
	limits->cpu_percent = cpu->percent;
	snprintf(limits->cpus, sizeof(limits->cpus), "%s", cpu->cpus);
	return 0;
}

static int take_io(struct zone_limits *limits, const Protect__Control__IoLimits *io,
		   struct error *err)
{
	if (io->read_bytes_per_s > RATE_MAX || io->write_bytes_per_s > RATE_MAX ||
	    io->read_ops_per_s > RATE_MAX || io->write_ops_per_s > RATE_MAX)
		return error_set(err, -EINVAL, "an I/O rate is too large; 0 means no limit");
	limits->io = (struct launch_io){.read_bytes_per_s = io->read_bytes_per_s,
					.write_bytes_per_s = io->write_bytes_per_s,
					.read_ops_per_s = io->read_ops_per_s,
					.write_ops_per_s = io->write_ops_per_s};
	return 0;
}

int limits_take(struct zone_limits *limits, const Protect__Control__CpuLimits *cpu,
		const Protect__Control__IoLimits *io, struct error *err)
{
	int r = cpu ? take_cpu(limits, cpu, err) : 0;

	return r == 0 && io ? take_io(limits, io, err) : r;
}

void limits_merge(struct zone_limits *limits, const struct zone_limits *change, bool cpu, bool io)
{
	struct zone_limits merged = cpu ? *change : *limits;

	merged.io = io ? change->io : limits->io;
	*limits = merged;
}

/* Without a limit a zone never takes more than its vCPUs and what it costs to serve them. */
static uint32_t quota_us(const struct zone_row *row)
{
	return row->limits.cpu_percent
		       ? row->limits.cpu_percent * PERCENT_TO_US
		       : row->vcpus * LAUNCH_CPU_PERIOD_US + LAUNCH_CPU_PERIOD_US / CPU_IO_SHARE;
}

struct launch_limits limits_of(const struct zone_row *row)
{
	uint64_t overhead_mib = ledger_overhead_mib(row->memory_mib);
	uint32_t weight = row->limits.cpu_weight;
	struct launch_limits limits = {
		.memory_bytes = (row->memory_mib + overhead_mib) * MIB,
		.memory_high_bytes = ledger_high_bytes(row->memory_mib),
		.cpu_quota_us = quota_us(row),
		.cpu_weight = weight ? weight : LIMITS_WEIGHT_DEFAULT,
		.io = row->limits.io,
	};

	memcpy(limits.cpus, row->limits.cpus, sizeof(limits.cpus));
	return limits;
}

void limits_show(struct zone *zone)
{
	struct zone_limits *limits = &zone->row.limits;
	struct limits_shown *shown = &zone->shown;

	protect__control__cpu_limits__init(&shown->cpu);
	protect__control__io_limits__init(&shown->io);
	shown->cpu.weight = limits->cpu_weight ? limits->cpu_weight : LIMITS_WEIGHT_DEFAULT;
	shown->cpu.percent = limits->cpu_percent;
	shown->cpu.cpus = limits->cpus;
	shown->io.read_bytes_per_s = limits->io.read_bytes_per_s;
	shown->io.write_bytes_per_s = limits->io.write_bytes_per_s;
	shown->io.read_ops_per_s = limits->io.read_ops_per_s;
	shown->io.write_ops_per_s = limits->io.write_ops_per_s;
}

static void renewed(void *user, const struct launch_reply *reply, int pidfd)
{
	struct zone *zone = user;

	(void)pidfd;
	zone->launch = NULL;
	if (reply->error)
		log_warning("zone=%s err=\"%s\" limits not renewed", zone->row.uuid, reply->text);
	/* Not known if the daemon that asked for the runner ended before it was answered. */
	else if (!*zone->row.cgroup && *reply->cgroup) {
		daemon_copy_text(zone->row.cgroup, sizeof(zone->row.cgroup), reply->cgroup);
		state_put_zone(zone->daemon->state, &zone->row);
	}
}

void limits_renew(struct zone *zone)
{
	struct launch_request request = {.op = LAUNCH_UPDATE, .limits = limits_of(&zone->row)};

	uuid_parse(zone->row.uuid, &request.uuid);
	launch_cancel(zone->launch);
	zone->launch = launch_call(&zone->daemon->hub, zone->daemon->options.launch_socket,
				   &request, NULL, 0, renewed, zone);
}
