// SPDX-License-Identifier: Apache-2.0
/* protect host: the group, and host status. */
#include <stdio.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/output.h"
#include "protect/cli/shared.h"

static json_t *services_json(const Protect__Control__HostStatus *status)
{
	json_t *array = json_array();

	for (size_t i = 0; i < status->n_services; i++)
		json_array_append_new(array, json_pack("{s:o, s:b, s:o}", "name",
						       output_text(status->services[i]->name), "ok",
						       status->services[i]->ok, "detail",
						       output_text(status->services[i]->detail)));
	return array;
}

/* As words of one line. */
static json_t *backends_text(const Protect__Control__HostStatus *status)
{
	char line[64] = "";
	size_t used = 0;

	for (size_t i = 0; i < status->n_backends && used < sizeof(line); i++)
		used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%s", i ? " " : "",
					 status->backends[i]);
	return output_text(line);
}

static json_t *status_json(const Protect__Control__HostStatus *status)
{
	return json_pack("{s:o, s:o, s:o, s:i, s:I, s:I, s:f, s:i, s:i, s:i, s:i, s:i, s:o, s:o}",
			 "version", output_text(status->version), "hypervisor",
			 output_text(status->hypervisor), "backends", backends_text(status), "pid",
			 (int)status->pid, "memory_total_mib", (json_int_t)status->memory_total_mib,
			 "memory_committed_mib", (json_int_t)status->memory_committed_mib,
			 "memory_overcommit", status->memory_overcommit, "cpus_total",
			 (int)status->vcpus_total, "cpus_committed", (int)status->vcpus_committed,
			 "zones", (int)status->zones, "workloads", (int)status->workloads,
			 "memory_pressure_percent", (int)status->memory_pressure_percent, "cgroups",
			 output_text(status->cgroups), "services", services_json(status));
}

static void print_services(const Protect__Control__HostStatus *status)
{
	for (size_t i = 0; i < status->n_services; i++) {
		const Protect__Control__Service *service = status->services[i];

		output_clean(service->name);
		output_clean(service->detail);
		printf("%-24s %s%s%s\n", service->name, service->ok ? "ok" : "DOWN",
		       *service->detail ? ": " : "", service->detail);
	}
}

static int status_run(const struct args *args, void *values)
{
	static const struct output_column columns[] = {
		{"version", "version"},
		{"hypervisor", "hypervisor"},
		{"zones run as", "backends"},
		{"daemon's process", "pid"},
		{"memory for zones, MiB", "memory_total_mib"},
		{"memory given, MiB", "memory_committed_mib"},
		{"memory over-commit", "memory_overcommit"},
		{"cpus for zones", "cpus_total"},
		{"cpus given", "cpus_committed"},
		{"zones", "zones"},
		{"workloads", "workloads"},
		{"memory pressure, %", "memory_pressure_percent"},
		{"limits of zones", "cgroups"},
	};
	const struct list_options *options = values;
	enum output_format format = output_format(options->output);
	Protect__Control__Empty empty = PROTECT__CONTROL__EMPTY__INIT;
	_cleanup_(message_freep) ProtobufCMessage *message = connection_ask(
		METHOD(HOST_STATUS), &empty.base, &protect__control__host_status__descriptor);
	const Protect__Control__HostStatus *status = (const Protect__Control__HostStatus *)message;
	int r;

	(void)args;
	if (!message)
		return CLI_ERROR;
	r = output_record(format, status_json(status), columns, ARRAY_SIZE(columns));
	if (!r && format == OUTPUT_TABLE)
		print_services(status);
	return r ? r : output_flush();
}

static const struct command commands[] = {
	{.name = "status",
	 .usage = "[OPTION...]",
	 .summary = "Show the daemon's version, what it may give to zones, and its services.",
	 OPTIONS(list_options, struct list_options),
	 .run = status_run},
	{.name = "check",
	 .usage = "[OPTION...]",
	 .summary = "Check what this host needs to run zones; needs no daemon.",
	 .details = "Each line is ok, warn or FAIL, with what to do about it. Exits with 1 if any "
		    "is FAIL.\n",
	 OPTIONS(list_options, struct list_options),
	 .run = host_check_run},
	{.name = "cpu-topology",
	 .usage = "[OPTION...]",
	 .summary = "Show the host's processors: package, node, core, threads.",
	 OPTIONS(list_options, struct list_options),
	 .run = host_topology_run},
	{.name = "hv-console",
	 .usage = "[OPTION...] [ZONE]",
	 .summary = "Print what the virtual machine monitors of the zones, or of one, had to say.",
	 .details = "Boots, endings, warnings, devices that a guest broke; also of zones that have "
		    "ended and\nwere not destroyed yet. With several zones each line begins with "
		    "the zone's name.\n",
	 OPTIONS(follow_options, struct logs_options),
	 .operands_max = 1,
	 .run = host_hv_console_run},
	{.name = "hv-debug-info",
	 .usage = "[OPTION...] [ZONE]",
	 .summary = "Print what the virtual machine monitors know of the zones, as JSON.",
	 .details = "One object a zone: processors, memory, every device with its queues and "
		    "counters; or\n\"error\", when its monitor does not answer within 5 s.\n\n"
		    "Example:\n  protect host hv-debug-info | jq '.[].zone'\n",
	 .options = host_hv_debug_options,
	 .n_options = HOST_HV_DEBUG_N_OPTIONS,
	 .values_size = sizeof(struct list_options),
	 .operands_max = 1,
	 .run = host_hv_debug_run},
	{.name = "idm-snoop",
	 .usage = "[OPTION...]",
	 .summary = "Look on at what the daemon and the zones say to each other.",
	 .details = "Every packet, both ways, as it passes, until Ctrl-C: -> goes to the zone, <- "
		    "comes from it.\nOf streams the first bytes are shown, of the environment the "
		    "names, of entropy nothing.\nA reader that is too slow loses packets and is "
		    "told how many; zones wait for nobody.\n\n"
		    "Examples:\n  protect host idm-snoop\n"
		    "  protect host idm-snoop --zone a -o jsonl | jq 'select(.method == "
		    "\"exec\")'\n",
	 .options = host_snoop_options,
	 .n_options = HOST_SNOOP_N_OPTIONS,
	 .values_size = sizeof(struct host_snoop_values),
	 .run = host_snoop_run},
};

const struct command_group host_group = {"host", "this host: status, check, monitors", commands,
					 ARRAY_SIZE(commands)};
