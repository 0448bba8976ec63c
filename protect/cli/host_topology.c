// SPDX-License-Identifier: Apache-2.0
/* protect host cpu-topology: what sysfs says of the processors. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"
#include "protect/cli/cli.h"
#include "protect/cli/output.h"
#include "protect/cli/shared.h"

#define SYSFS_CPUS "/sys/devices/system/cpu"
#define CPUS_MAX   8192u

/* The first line of a small file below a processor's folder; empty if there is none. */
static void read_line(unsigned cpu, const char *name, char line[64])
{
	char path[128];
	_cleanup_(freep) char *text = NULL;
	size_t len;

	snprintf(path, sizeof(path), SYSFS_CPUS "/cpu%u/%s", cpu, name);
	line[0] = '\0';
	if (io_read_file(AT_FDCWD, path, 4096, &text, &len) == 0)
		snprintf(line, 64, "%.*s", (int)strcspn(text, "\n"), text);
}

static json_t *number(unsigned cpu, const char *name)
{
	char line[64];

	read_line(cpu, name, line);
	return *line ? json_integer(strtoll(line, NULL, 10)) : json_null();
}

/* The memory node, told by the name of a link. */
static json_t *node_of(unsigned cpu)
{
	char path[128];
	unsigned node;

	for (node = 0; node < 1024; node++) {
		snprintf(path, sizeof(path), SYSFS_CPUS "/cpu%u/node%u", cpu, node);
		if (access(path, F_OK) == 0)
			return json_integer(node);
	}
	return json_null();
}

static json_t *cpu_json(unsigned cpu)
{
	char online[64], siblings[64], khz[64];

	read_line(cpu, "online", online); /* the boot processor may lack it */
	read_line(cpu, "topology/thread_siblings_list", siblings);
	read_line(cpu, "cpufreq/cpuinfo_max_freq", khz);
	return json_pack("{s:i, s:o, s:o, s:o, s:s, s:o, s:b}", "cpu", (int)cpu, "package",
			 number(cpu, "topology/physical_package_id"), "node", node_of(cpu), "core",
			 number(cpu, "topology/core_id"), "threads", siblings, "max_mhz",
			 *khz ? json_integer(strtoll(khz, NULL, 10) / 1000) : json_null(), "online",
			 strcmp(online, "0") != 0);
}

int host_topology_run(const struct args *args, void *values)
{
	static const struct output_column columns[] = {
		{"CPU", "cpu"},	      {"PACKAGE", "package"}, {"NODE", "node"},
		{"CORE", "core"},     {"THREADS", "threads"}, {"MAX-MHZ", "max_mhz"},
		{"ONLINE", "online"},
	};
	const struct list_options *options = values;
	json_t *array = json_array();
	char path[64];

	(void)args;
	for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
		snprintf(path, sizeof(path), SYSFS_CPUS "/cpu%u", cpu);
		if (access(path, F_OK) == 0)
			json_array_append_new(array, cpu_json(cpu));
	}
	return output_list(output_format(options->output), array, columns, ARRAY_SIZE(columns));
}
