// SPDX-License-Identifier: Apache-2.0
/* The host's part of /metrics: what the kernel counted, the ledger, and how long zones took. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "supervisor/daemon/metrics.h"
#include "supervisor/daemon/metrics_text.h"
#include "supervisor/daemon/metrics_times.h"
#include "supervisor/daemon/stats_cgroup.h"

#define TEXT_MAX 4096u

/* #syscalls daemon: openat read close sysinfo sched_getaffinity */
static bool read_proc(const char *path, char text[static TEXT_MAX])
{
	_cleanup_(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : io_pread_full(fd, text, TEXT_MAX - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static void gauge(FILE *out, const char *name, const char *help, double value)
{
	metrics_family(out, name, METRICS_GAUGE, help);
	metrics_sample(out, name, NULL, 0, value);
}

/* The first line of /proc/stat: "cpu" and ticks by mode; those of guests are in "user" too. */
static void write_cpu(FILE *out)
{
	static const char *const modes[] = {"user",   "nice", "system",	 "idle",
					    "iowait", "irq",  "softirq", "steal"};
	static const char name[] = "protect_host_cpu_seconds_total";
	char text[TEXT_MAX], *next = text + strlen("cpu");
	double ticks = (double)sysconf(_SC_CLK_TCK);

	if (!read_proc("/proc/stat", text) || strncmp(text, "cpu ", 4) != 0)
		return;
	metrics_family(out, name, METRICS_COUNTER,
		       "Time that the host's processors spent, by mode.");
	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
		metrics_sample(out, name, &(struct metrics_label){"mode", modes[i]}, 1,
			       (double)strtoull(next, &next, 10) / ticks);
	gauge(out, "protect_host_cpus", "Processors of the host that are online.",
	      (double)sysconf(_SC_NPROCESSORS_ONLN));
}

/* "MemTotal:  123 kB" */
static void write_meminfo(FILE *out)
{
	char text[TEXT_MAX];
	uint64_t total_kib, available_kib;

	if (!read_proc("/proc/meminfo", text))
		return;
	total_kib = cgroup_keyed_value(text, "MemTotal:");
	available_kib = cgroup_keyed_value(text, "MemAvailable:");
	if (total_kib != CGROUP_UNKNOWN)
		gauge(out, "protect_host_memory_size_bytes", "Memory of the host.",
		      (double)total_kib * (double)KIB);
	if (available_kib != CGROUP_UNKNOWN)
		gauge(out, "protect_host_memory_available_bytes",
		      "Memory that the host has left for new programs.",
		      (double)available_kib * (double)KIB);
}

static void write_pressure(FILE *out, const struct pressure *pressure)
{
	static const char stalled[] = "protect_host_memory_stalled_seconds_total";

	if (!pressure->known)
		return;
	gauge(out, "protect_host_memory_pressure_ratio",
	      "Part of the last 10 s in which some task of the host waited for memory.",
	      pressure->percent / 100.0);
	metrics_family(out, stalled, METRICS_COUNTER,
		       "Time in which some task of the host waited for memory.");
	metrics_sample(out, stalled, NULL, 0, (double)pressure->stalled_us / 1e6);
}

static void write_ledger(FILE *out, const struct ledger *ledger)
{
	gauge(out, "protect_memory_budget_bytes", "Memory that zones may have together.",
	      (double)ledger->memory_total_mib * (double)MIB);
	gauge(out, "protect_memory_committed_bytes",
	      "Memory that zones may have at most, what their runners need included.",
	      (double)ledger->memory_used_mib * (double)MIB);
	gauge(out, "protect_cpus_budget", "Virtual processors that zones may have together.",
	      ledger->vcpus_total);
	gauge(out, "protect_cpus_committed", "Virtual processors that zones may have at most.",
	      ledger->vcpus_used);
}

void metrics_write_host(FILE *out, const struct daemon *d)
{
	metrics_family(out, "protect_build_info", METRICS_GAUGE, "The version of protect-daemon.");
	metrics_sample(out, "protect_build_info",
		       &(struct metrics_label){"version", PROTECT_VERSION}, 1, 1);
	write_cpu(out);
	write_meminfo(out);
	write_pressure(out, &d->pressure);
	write_ledger(out, &d->ledger);
	times_write(out, "protect_zone_create_duration_seconds",
		    "From the request for a zone to the start of its runner.", &d->create_times);
	times_write(out, "protect_zone_ready_duration_seconds",
		    "From the request for a zone until it was ready.", &d->ready_times);
}
