// SPDX-License-Identifier: Apache-2.0
/* The parts of /metrics: text that nobody's name can break, histograms, control groups of either
 * kind, and what is taken over from a runner that lies. */
#include "tests/unit/harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/util.h"
#include "supervisor/daemon/metrics_text.h"
#include "supervisor/daemon/metrics_times.h"
#include "supervisor/daemon/stats.h"
#include "supervisor/daemon/stats_cgroup.h"

UNIT_SUITE(daemon_metrics);

Test(daemon_metrics, labels_are_escaped)
{
	const struct metrics_label labels[] = {{"a", "plain"}, {"b", "\\\"\n\x01\xff{}"}};
	_cleanup_(freep) char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	metrics_family(out, "x_total", METRICS_COUNTER, "What it is.");
	metrics_sample(out, "x_total", labels, 2, 1234567890123456.0);
	metrics_sample(out, "x_total", NULL, 0, 0.25);
	fclose(out);
	cr_expect_str_eq(text, "# HELP x_total What it is.\n# TYPE x_total counter\n"
			       "x_total{a=\"plain\",b=\"\\\\\\\"???{}\"} 1.23456789012346e+15\n"
			       "x_total 0.25\n");
}

Test(daemon_metrics, times_are_a_histogram)
{
	static const uint64_t all_ms[] = {0, 10, 11, 99, 60000, 60001, 1u << 31};
	_cleanup_(freep) char *text = NULL;
	struct times times = {0};
	size_t len;
	FILE *out = open_memstream(&text, &len);

	for (unsigned i = 0; i < ARRAY_SIZE(all_ms); i++)
		times_add(&times, all_ms[i]);
	times_write(out, "t", "How long.", &times);
	fclose(out);
	cr_expect_not_null(strstr(text, "t_bucket{le=\"0.01\"} 2\n"), "%s", text);
	cr_expect_not_null(strstr(text, "t_bucket{le=\"0.025\"} 3\n"));
	cr_expect_not_null(strstr(text, "t_bucket{le=\"0.1\"} 4\n"));
	cr_expect_not_null(strstr(text, "t_bucket{le=\"60\"} 5\n"));
	cr_expect_not_null(strstr(text, "t_bucket{le=\"+Inf\"} 7\n"));
	cr_expect_not_null(strstr(text, "t_count 7\n"));
}

static void put(const char *dir, const char *path, const char *text)
{
	char full[256], *slash = full;
	int fd;

	snprintf(full, sizeof(full), "%s/%s", dir, path);
	while ((slash = strchr(slash + 1, '/'))) {
		*slash = '\0';
		mkdir(full, 0700);
		*slash = '/';
	}
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0, "%s", full);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void remove_all(const char *dir)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	cr_expect_eq(system(command), 0);
}

Test(daemon_metrics, control_groups_of_either_kind)
{
	char dir[] = "/tmp/daemon-metrics-XXXXXX";
	struct cgroup_figures f;

	cr_assert_not_null(mkdtemp(dir));
	put(dir, "p/new/cpu.stat",
	    "usage_usec 12\nuser_usec 5\nnr_throttled 3\nthrottled_usec 7\n");
	put(dir, "p/new/memory.current", "4096\n");
	put(dir, "p/new/memory.events", "low 0\noom 9\noom_kill 2\noom_group_kill 1\n");
	put(dir, "p/new/pids.current", "11\n");
	cgroup_figures_read(dir, "p/new", &f);
	cr_expect(f.cpu_us == 12 && f.cpu_throttled_us == 7 && f.memory_bytes == 4096);
	cr_expect(f.oom_kills == 2 && f.tasks == 11);
	cr_expect_eq(f.memory_peak_bytes, CGROUP_UNKNOWN, "a kernel that does not say");
	put(dir, "cpuacct/p/old/cpuacct.usage", "5000999\n");
	put(dir, "cpu/p/old/cpu.stat", "nr_periods 1\nthrottled_time 3000\n");
	put(dir, "memory/p/old/memory.usage_in_bytes", "1\n");
	put(dir, "memory/p/old/memory.max_usage_in_bytes", "2\n");
	put(dir, "memory/p/old/memory.oom_control", "oom_kill_disable 0\noom_kill 4\n");
	cgroup_figures_read(dir, "p/old", &f);
	cr_expect(f.cpu_us == 5000 && f.cpu_throttled_us == 3 && f.memory_bytes == 1);
	cr_expect(f.memory_peak_bytes == 2 && f.oom_kills == 4 && f.tasks == CGROUP_UNKNOWN);
	put(dir, "secret/cpu.stat", "usage_usec 1\n");
	cgroup_figures_read(dir, "p/../secret", &f);
	cr_expect_eq(f.cpu_us, CGROUP_UNKNOWN);
	cgroup_figures_read(dir, "", &f);
	cr_expect_eq(f.cpu_us, CGROUP_UNKNOWN);
	cgroup_figures_read(dir, "p/gone", &f);
	cr_expect_eq(f.memory_bytes, CGROUP_UNKNOWN);
	remove_all(dir);
}

Test(daemon_metrics, keyed_values)
{
	cr_expect_eq(cgroup_keyed_value("a 1\nab 2\n", "ab"), 2);
	cr_expect_eq(cgroup_keyed_value("a 1\nab 2", "a"), 1);
	cr_expect_eq(cgroup_keyed_value("MemTotal:       12 kB\n", "MemTotal:"), 12);
	cr_expect_eq(cgroup_keyed_value("", "a"), CGROUP_UNKNOWN);
	cr_expect_eq(cgroup_keyed_value("\n\nb 1", "a"), CGROUP_UNKNOWN);
}

Test(daemon_metrics, a_runner_that_lies)
{
	Protect__Runner__StatsReply reply = PROTECT__RUNNER__STATS_REPLY__INIT;
	static Protect__Runner__DeviceStats devices[200];
	static Protect__Runner__DeviceStats *list[200];
	static char names[200][64];
	struct zone_figures f = {0};
	struct policy_sample sample;

	for (unsigned i = 0; i < ARRAY_SIZE(list); i++) {
		protect__runner__device_stats__init(&devices[i]);
		snprintf(names[i], sizeof(names[i]), "%s%u\x01",
			 i % 2 ? "long-long-long-long-long" : "d", i);
		devices[i].name = names[i];
		list[i] = &devices[i];
	}
	reply.disks = reply.nics = list;
	reply.n_disks = reply.n_nics = ARRAY_SIZE(list);
	reply.plugged_memory_bytes = reply.guest_available_bytes = UINT64_MAX;
	reply.balloon_bytes = UINT64_MAX;
	reply.guest_age_ms = UINT64_MAX;
	stats_update(&f, &reply, 5 * NS_PER_S);
	cr_expect_eq(f.n_devices, FIGURES_DEVICES_MAX);
	cr_expect_str_eq(f.devices[0].name, "d0?");
	cr_expect_str_eq(f.devices[1].name, "long-long-long-long-lon");
	cr_expect_str_eq(f.devices[2].name, "d2?", "two of one name are one");
	sample = stats_sample(&f, 6 * NS_PER_S);
	cr_expect_eq(sample.age_ms, 0, "no age that wraps");
	cr_expect_eq(sample.have_mib, 0);
	stats_update(&f, &reply, 6 * NS_PER_S);
	cr_expect_eq(stats_sample(&f, 6 * NS_PER_S).age_ms, 0);
}

/* Figures each second; the balloon grows by a MiB between two. */
Test(daemon_metrics, a_guests_words_belong_to_what_it_had_then)
{
	static const struct {
		uint64_t age_ms;
		bool known;
		uint64_t have_mib;
	} table[] = {
		{5000, false, 0}, /* said at its start */
		{6000, false, 0}, /* the same */
		{990, true, 98},  /* 10 ms after it was asked */
		{20, true, 96},	  /* late */
		{1020, true, 96}, /* the same */
		{1000, true, 95}, /* at once */
		{0, false, 0},	  /* after a reset */
	};
	Protect__Runner__StatsReply reply = PROTECT__RUNNER__STATS_REPLY__INIT;
	struct zone_figures f = {0};

	reply.plugged_memory_bytes = 100 * MIB;
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
		uint64_t now_ns = (i + 10) * NS_PER_S;
		struct policy_sample sample;

		reply.guest_age_ms = table[i].age_ms;
		reply.balloon_bytes = (i + 1) * MIB;
		stats_update(&f, &reply, now_ns);
		sample = stats_sample(&f, now_ns);
		cr_expect_eq(sample.age_ms != 0, table[i].known, "%u", i);
		if (table[i].known)
			cr_expect_eq(sample.have_mib, table[i].have_mib, "%u: %llu", i,
				     (unsigned long long)sample.have_mib);
	}
	cr_expect_eq(stats_sample(&f, 30 * NS_PER_S).age_ms, 0);
}
