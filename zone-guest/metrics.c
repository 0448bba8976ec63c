// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/util.h"
#include "zone-guest/agent.h"
#include "zone-guest/cgroup.h"
#include "zone-guest/workload.h"

#define DISKS_MAX      32u
#define LINKS_MAX      16u
#define METRICS_MAX    (64u + 5 * DISKS_MAX + 8 * LINKS_MAX + 10 * ZONE_WORKLOADS_MAX)
#define NAME_MAX_BYTES 96u
#define PART_SIZE      32u
#define PROC_MAX       (256u * 1024)

struct metrics {
	Protect__Agent__Metric metric[METRICS_MAX];
	Protect__Agent__Metric *pointer[METRICS_MAX];
	char name[METRICS_MAX][NAME_MAX_BYTES];
	size_t count;
};

__attribute__((format(printf, 3, 4))) static void add(struct metrics *m, double value,
						      const char *format, ...)
{
	Protect__Agent__Metric *metric = &m->metric[m->count];
	va_list args;

	if (m->count == METRICS_MAX)
		return;
	va_start(args, format);
	vsnprintf(m->name[m->count], NAME_MAX_BYTES, format, args);
	va_end(args);
	protect__agent__metric__init(metric);
	metric->name = m->name[m->count];
	metric->value = value;
	m->pointer[m->count++] = metric;
}

static char *read_proc(const char *path)
{
	char *text;
	size_t len;

	return io_read_file(AT_FDCWD, path, PROC_MAX, &text, &len) == 0 ? text : NULL;
}

/* The number behind `key` at the start of a line of text. */
static bool find_number(const char *text, const char *key, double *out)
{
	size_t len = strlen(key);

	while (text && *text) {
		if (!strncmp(text, key, len)) {
			*out = strtod(text + len, NULL);
			return true;
		}
		text = strchr(text, '\n');
		text += text != NULL;
	}
	return false;
}

static void add_memory(struct metrics *m)
{
	static const char *const keys[][2] = {
		{"MemTotal:", "total"},		{"MemFree:", "free"},
		{"MemAvailable:", "available"}, {"Cached:", "cached"},
		{"Buffers:", "buffers"},	{"Shmem:", "shmem"},
		{"SwapTotal:", "swap_total"},	{"SwapFree:", "swap_free"},
	};
	_cleanup_(freep) char *text = read_proc("/proc/meminfo");
	double kib;

	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		if (find_number(text, keys[i][0], &kib))
			add(m, kib * 1024, "memory.%s_bytes", keys[i][1]);
}

static void add_cpu(struct metrics *m)
{
	static const char *const names[] = {"user",   "nice", "system",	 "idle",
					    "iowait", "irq",  "softirq", "steal"};
	_cleanup_(freep) char *text = read_proc("/proc/stat");
	double tick_ns = (double)NS_PER_S / (double)sysconf(_SC_CLK_TCK), value;
	char *at = text ? text + strcspn(text, " ") : NULL;

	if (!at)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		add(m, (double)strtoull(at, &at, 10) * tick_ns, "cpu.%s_ns", names[i]);
	add(m, get_nprocs(), "cpu.count");
	if (find_number(text, "procs_running ", &value))
		add(m, value, "processes.running");
	if (find_number(text, "processes ", &value))
		add(m, value, "processes.started");
}

static void add_pressure(struct metrics *m, const char *what)
{
	_cleanup_(freep) char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/pressure/%s", what);
	text = read_proc(path);
	for (char *line = text, *next; line && *line; line = next) {
		const char *kind = !strncmp(line, "some ", 5) ? "some" : "full";
		char *avg = strstr(line, "avg10="), *total;

		next = strchrnul(line, '\n');
		next += *next == '\n';
		total = strstr(line, "total=");
		if (!avg || !total || avg >= next || total >= next)
			continue;
		add(m, strtod(avg + 6, NULL), "pressure.%s.%s_avg10", what, kind);
		add(m, strtod(total + 6, NULL) * 1000, "pressure.%s.%s_ns", what, kind);
	}
}

static void add_system(struct metrics *m)
{
	struct sysinfo info;
	struct timespec now;

	if (sysinfo(&info) == 0) {
		add(m, info.procs, "processes.count");
		add(m, (double)info.loads[0] / (1 << SI_LOAD_SHIFT), "load.1");
	}
	if (clock_gettime(CLOCK_BOOTTIME, &now) == 0)
		add(m, (double)now.tv_sec + (double)now.tv_nsec / (double)NS_PER_S, "uptime_s");
}

/* A name in /proc as a part of a metric's: the dots between the parts are ours. */
static void part_of(const char *name, size_t len, char part[PART_SIZE])
{
	size_t n = 0;

	for (; n < len && n + 1 < PART_SIZE; n++)
		part[n] = name[n] > ' ' && name[n] < 0x7f && name[n] != '.' ? name[n] : '_';
	part[n] = '\0';
}

/* Linux, Documentation/admin-guide/iostats.rst: major, minor, name, then these. Sectors there have
 * 512 bytes. */
static void add_disk(struct metrics *m, char *line)
{
	enum { READS, READ_SECTORS = 2, WRITES = 4, WRITTEN = 6, BUSY_MS = 9, N_FIELDS };
	unsigned long long field[N_FIELDS];
	char part[PART_SIZE], *name = line;
	size_t len;

	for (unsigned i = 0; i < 2; i++)
		strtoull(name, &name, 10);
	name += strspn(name, " ");
	len = strcspn(name, " ");
	part_of(name, len, part);
	name += len;
	for (unsigned i = 0; i < N_FIELDS; i++)
		field[i] = strtoull(name, &name, 10);
	add(m, (double)field[READS], "disks.%s.reads", part);
	add(m, (double)field[READ_SECTORS] * 512, "disks.%s.read_bytes", part);
	add(m, (double)field[WRITES], "disks.%s.writes", part);
	add(m, (double)field[WRITTEN] * 512, "disks.%s.written_bytes", part);
	add(m, (double)field[BUSY_MS] * (double)NS_PER_MS, "disks.%s.busy_ns", part);
}

static char *next_line(char *line)
{
	char *end = strchr(line, '\n');

	if (!end)
		return line + strlen(line);
	*end = '\0';
	return end + 1;
}

/* Loop and RAM disks that were never used say nothing. */
static void add_disks(struct metrics *m)
{
	_cleanup_(freep) char *text = read_proc("/proc/diskstats");
	unsigned n = 0;

	for (char *line = text, *next; line && *line && n < DISKS_MAX; line = next) {
		next = next_line(line);
		if (strstr(line, " loop") || strstr(line, " ram"))
			continue;
		add_disk(m, line);
		n++;
	}
}

static void add_link(struct metrics *m, const char *line)
{
	static const char *const names[] = {"rx_bytes", "rx_packets", "rx_errors", "rx_dropped"};
	static const char *const sent[] = {"tx_bytes", "tx_packets", "tx_errors", "tx_dropped"};
	const char *name = line + strspn(line, " "), *colon = strchr(name, ':');
	char part[PART_SIZE], *at;

	if (!colon)
		return;
	part_of(name, (size_t)(colon - name), part);
	at = (char *)(uintptr_t)colon + 1;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		add(m, (double)strtoull(at, &at, 10), "links.%s.%s", part, names[i]);
	for (unsigned i = 0; i < 4; i++) /* fifo, frame, compressed, multicast */
		strtoull(at, &at, 10);
	for (unsigned i = 0; i < ARRAY_SIZE(sent); i++)
		add(m, (double)strtoull(at, &at, 10), "links.%s.%s", part, sent[i]);
}

static void add_links(struct metrics *m)
{
	_cleanup_(freep) char *text = read_proc("/proc/net/dev");
	unsigned n = 0;

	for (char *line = text, *next; line && *line && n < LINKS_MAX; line = next) {
		next = next_line(line);
		if (!strchr(line, ':'))
			continue;
		add_link(m, line);
		n++;
	}
}

static void add_workload(struct metrics *m, const struct workload *workload)
{
	char uuid[UUID_TEXT_SIZE];
	uint64_t value;

	uuid_format(&workload->uuid, uuid);
	if (cgroup_read(workload->cgroup, "memory.current", NULL, &value) == 0)
		add(m, (double)value, "workload.%s.memory.current_bytes", uuid);
	if (cgroup_read(workload->cgroup, "cpu.stat", "usage_usec", &value) == 0)
		add(m, (double)value * 1000, "workload.%s.cpu.usage_ns", uuid);
	if (cgroup_read(workload->cgroup, "memory.stat", "inactive_file", &value) == 0)
		add(m, (double)value, "workload.%s.memory.inactive_file_bytes", uuid);
	if (cgroup_read(workload->cgroup, "memory.peak", NULL, &value) == 0)
		add(m, (double)value, "workload.%s.memory.peak_bytes", uuid);
	if (cgroup_read(workload->cgroup, "memory.events", "oom_kill", &value) == 0)
		add(m, (double)value, "workload.%s.memory.oom_kills", uuid);
	if (cgroup_read(workload->cgroup, "cpu.stat", "user_usec", &value) == 0)
		add(m, (double)value * 1000, "workload.%s.cpu.user_ns", uuid);
	if (cgroup_read(workload->cgroup, "cpu.stat", "system_usec", &value) == 0)
		add(m, (double)value * 1000, "workload.%s.cpu.system_ns", uuid);
	if (cgroup_read(workload->cgroup, "cpu.stat", "throttled_usec", &value) == 0)
		add(m, (double)value * 1000, "workload.%s.cpu.throttled_ns", uuid);
	if (cgroup_read(workload->cgroup, "pids.current", NULL, &value) == 0)
		add(m, (double)value, "workload.%s.processes.count", uuid);
}

void metrics_reply(struct zone *zone, uint64_t id)
{
	Protect__Agent__Metrics message = PROTECT__AGENT__METRICS__INIT;
	_cleanup_(freep) struct metrics *m = calloc(1, sizeof(*m));

	if (!m) {
		agent_reply_error(zone, id, -ENOMEM, NULL);
		return;
	}
	add_memory(m);
	add_cpu(m);
	add_pressure(m, "cpu");
	add_pressure(m, "memory");
	add_pressure(m, "io");
	add_system(m);
	add_disks(m);
	add_links(m);
	for (unsigned i = 0; i < ZONE_WORKLOADS_MAX; i++)
		if (zone->workloads[i])
			add_workload(m, zone->workloads[i]);
	message.metrics = m->pointer;
	message.n_metrics = m->count;
	agent_reply(zone, id, &message);
}
