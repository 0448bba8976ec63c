// SPDX-License-Identifier: Apache-2.0
/* protect zone: the commands but launch. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "protect/cli/cli.h"
#include "protect/cli/connect.h"
#include "protect/cli/exec.h"
#include "protect/cli/launch.h"
#include "protect/cli/output.h"
#include "protect/cli/shared.h"
#include "protect/cli/volume_option.h"

static const char *state_word(Protect__Control__ZoneStateKind state)
{
	static const char *const words[] = {"unknown", "creating",   "ready",
					    "exited",  "destroying", "failed"};

	return (unsigned)state < ARRAY_SIZE(words) ? words[state] : words[0];
}

static const char *policy_word(Protect__Control__ResourcePolicy policy)
{
	return policy == PROTECT__CONTROL__RESOURCE_POLICY__POLICY_DYNAMIC
		       ? zone_policy_words[PROTECT__CONTROL__RESOURCE_POLICY__POLICY_DYNAMIC]
		       : zone_policy_words[PROTECT__CONTROL__RESOURCE_POLICY__POLICY_STATIC];
}

static json_t *cpu_json(const Protect__Control__CpuLimits *cpu)
{
	return cpu ? json_pack("{s:i, s:i, s:o}", "weight", (int)cpu->weight, "percent",
			       (int)cpu->percent, "cpus", output_text(cpu->cpus))
		   : json_null();
}

static json_t *io_json(const Protect__Control__IoLimits *io)
{
	return io ? json_pack("{s:I, s:I, s:I, s:I}", "read_bps", (json_int_t)io->read_bytes_per_s,
			      "write_bps", (json_int_t)io->write_bytes_per_s, "read_iops",
			      (json_int_t)io->read_ops_per_s, "write_iops",
			      (json_int_t)io->write_ops_per_s)
		  : json_null();
}

static json_t *texts_json(char *const *texts, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, output_text(texts[i]));
	return array;
}

static json_t *link_json(const Protect__Control__NetworkLink *link)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:i, s:o}", "name", output_text(link->name),
			 "mac", output_text(link->mac), "addresses",
			 texts_json(link->addresses, link->n_addresses), "gateways",
			 texts_json(link->gateways, link->n_gateways), "routes",
			 texts_json(link->routes, link->n_routes), "mtu", (int)link->mtu,
			 "reservation", output_text(link->reservation));
}

static json_t *network_json(const Protect__Control__Network *network)
{
	json_t *links = json_array(), *ports = json_array();
	unsigned backend = (unsigned)network->backend;

	for (size_t i = 0; i < network->n_links; i++)
		json_array_append_new(links, link_json(network->links[i]));
	for (size_t i = 0; i < network->n_ports; i++) {
		const Protect__Control__Publish *port = network->ports[i];

		json_array_append_new(ports, json_pack("{s:o, s:i, s:i, s:s}", "address",
						       output_text(port->host_address), "host_port",
						       (int)port->host_port, "zone_port",
						       (int)port->zone_port, "protocol",
						       port->udp ? "udp" : "tcp"));
	}
	return json_pack("{s:s, s:o, s:o, s:o}", "backend",
			 backend <= PROTECT__CONTROL__NETWORK_BACKEND__NETWORK_PASSTHROUGH
				 ? network_backend_words[backend]
				 : "unknown",
			 "links", links, "nameservers",
			 texts_json(network->nameservers, network->n_nameservers), "ports", ports);
}

static json_t *zone_json(const Protect__Control__Zone *zone)
{
	return json_pack(
		"{s:o, s:o, s:s, s:b, s:o, s:o, s:o, s:I, s:I, s:I, s:s, s:i, s:i, s:I, s:I, s:I, "
		"s:i, s:i, s:o, s:o, s:o, s:o}",
		"uuid", output_text(zone->uuid), "name", output_text(zone->name), "state",
		state_word(zone->state), "paused", zone->paused, "reason",
		output_text(zone->reason), "kernel", output_text(zone->kernel), "kernel_release",
		output_text(zone->kernel_release), "max_memory_mib",
		(json_int_t)zone->max_memory_mib, "target_memory_mib",
		(json_int_t)zone->target_memory_mib, "min_memory_mib",
		(json_int_t)zone->min_memory_mib, "policy", policy_word(zone->policy), "max_cpus",
		(int)zone->max_cpus, "target_cpus", (int)zone->target_cpus, "created_unix_ms",
		(json_int_t)zone->created_unix_ms, "create_ms", (json_int_t)zone->create_ms,
		"ready_ms", (json_int_t)zone->ready_ms, "pid", (int)zone->pid, "workloads",
		(int)zone->workloads, "cpu", cpu_json(zone->cpu), "io", io_json(zone->io),
		"network", zone->network ? network_json(zone->network) : json_null(), "volumes",
		volume_mounts_json(zone->volumes, zone->n_volumes));
}

/* The first address of the first link, without its prefix. */
static json_t *first_address(const Protect__Control__Zone *zone)
{
	const Protect__Control__Network *network = zone->network;
	char text[64] = "";

	if (network && network->n_links && network->links[0]->n_addresses)
		snprintf(text, sizeof(text), "%.*s",
			 (int)strcspn(network->links[0]->addresses[0], "/"),
			 network->links[0]->addresses[0]);
	return output_text(text);
}

/* The table shows what JSON has in several members: "paused" for a ready zone that is, and a target
 * below the maximum with that behind it. */
static json_t *zone_row(const Protect__Control__Zone *zone)
{
	json_t *row = zone_json(zone);
	char text[64];

	if (!row)
		return NULL;
	if (zone->paused)
		json_object_set_new(row, "state", json_string("paused"));
	snprintf(text, sizeof(text), "%llu/%llu", (unsigned long long)zone->target_memory_mib,
		 (unsigned long long)zone->max_memory_mib);
	if (zone->target_memory_mib != zone->max_memory_mib)
		json_object_set_new(row, "target_memory_mib", json_string(text));
	snprintf(text, sizeof(text), "%u/%u", zone->target_cpus, zone->max_cpus);
	json_object_set_new(row, "address", first_address(zone));
	if (zone->target_cpus != zone->max_cpus)
		json_object_set_new(row, "target_cpus", json_string(text));
	return row;
}

static int list_run(const struct args *args, void *values)
{
	static const struct output_column columns[] = {
		{"UUID", "uuid"},
		{"NAME", "name"},
		{"STATE", "state"},
		{"MEMORY-MIB", "target_memory_mib"},
		{"CPUS", "target_cpus"},
		{"WORKLOADS", "workloads"},
		{"ADDRESS", "address"},
		{"READY-MS", "ready_ms"},
		{"KERNEL", "kernel_release"},
		{"REASON", "reason"},
	};
	enum output_format format = output_format(((const struct list_options *)values)->output);
	Protect__Control__Empty empty = PROTECT__CONTROL__EMPTY__INIT;
	_cleanup_(message_freep) ProtobufCMessage *message = connection_ask(
		METHOD(ZONE_LIST), &empty.base, &protect__control__zone_list__descriptor);
	const Protect__Control__ZoneList *list = (const Protect__Control__ZoneList *)message;
	json_t *array;

	(void)args;
	if (!message)
		return CLI_ERROR;
	array = json_array();
	for (size_t i = 0; i < list->n_zones; i++)
		json_array_append_new(array, format == OUTPUT_TABLE ? zone_row(list->zones[i])
								    : zone_json(list->zones[i]));
	return output_list(format, array, columns, ARRAY_SIZE(columns));
}

static int resolve_run(const struct args *args, void *values)
{
	Protect__Control__Ref ref = PROTECT__CONTROL__REF__INIT;
	_cleanup_(message_freep) ProtobufCMessage *message = NULL;

	(void)values;
	ref.ref = args->operands[0];
	message = connection_ask(METHOD(ZONE_RESOLVE), &ref.base,
				 &protect__control__zone__descriptor);
	if (!message)
		return CLI_ERROR;
	puts(((const Protect__Control__Zone *)message)->uuid);
	return output_flush();
}

static int exec_command(const struct args *args, void *values)
{
	return exec_run(METHOD(ZONE_EXEC), args, values);
}

static int logs_command(const struct args *args, void *values)
{
	return logs_run(METHOD(ZONE_LOGS), args, values, false);
}

static int destroy_command(const struct args *args, void *values)
{
	return destroy_run(METHOD(ZONE_DESTROY), args,
			   ((const struct destroy_options *)values)->wait);
}

static const struct command commands[] = {
	{.name = "launch",
	 .usage = "[OPTION...]",
	 .summary = "Start a zone and print its UUID.",
	 .details = LAUNCH_ZONE_DETAILS,
	 .options = zone_launch_options,
	 .n_options = ZONE_LAUNCH_N_OPTIONS,
	 .values_size = sizeof(struct zone_launch_values),
	 .run = zone_launch_run},
	{.name = "list",
	 .usage = "[OPTION...]",
	 .summary = "List the zones.",
	 .details = "States: creating, ready (in the table also: paused), exited, destroying, "
		    "failed.\n\n"
		    "Example:\n  protect zone list -o json | jq -r '.[] | select(.state == "
		    "\"ready\") | .name'\n",
	 OPTIONS(list_options, struct list_options),
	 .run = list_run},
	{.name = "logs",
	 .usage = "[OPTION...] ZONE",
	 .summary = "Print the zone's console: its kernel and what runs in it.",
	 .details = "Example:\n  protect zone logs -f a\n",
	 OPTIONS(logs_options, struct logs_options),
	 .operands_min = 1,
	 .operands_max = 1,
	 .run = logs_command},
	{.name = "exec",
	 .usage = "[OPTION...] ZONE -- COMMAND [ARGUMENT...]",
	 .summary = "Run a command in the zone itself, and exit with its status.",
	 .details = "Exits with the command's status, 128+N if signal N killed it, 125 if it could "
		    "not be run.\n"
		    "SIGINT, SIGTERM and SIGHUP are passed on; the third of them leaves.\n\n"
		    "Examples:\n  protect zone exec a -- uname -r\n  protect zone exec -t a -- sh\n"
		    "  protect zone exec a -- tar -C /data -x <files.tar\n",
	 OPTIONS(exec_options, struct exec_options),
	 .operands_min = 1,
	 .operands_max = 1,
	 .has_tail = true,
	 .needs_tail = true,
	 .run = exec_command},
	{.name = "forward",
	 .usage = "ZONE [ADDRESS:]LOCAL:PORT",
	 .summary = "Lead a port of this host to one of the zone's loopback address, until it is "
		    "ended.",
	 .details = "The zone needs no network for it. It listens at 127.0.0.1, unless told "
		    "otherwise, and prints\nwhere; with LOCAL 0 at a port that is free.\n\n"
		    "Example:\n  protect zone forward a 8080:80\n",
	 .operands_min = 2,
	 .operands_max = 2,
	 .run = zone_forward_run},
	{.name = "resolve",
	 .usage = "ZONE",
	 .summary = "Print the UUID of a zone given by its name or UUID.",
	 .operands_min = 1,
	 .operands_max = 1,
	 .run = resolve_run},
	{.name = "metrics",
	 .usage = "[OPTION...] ZONE",
	 .summary = "Print the zone's own figures: memory, processors, pressure, disks, links, "
		    "workloads.",
	 .details = "Examples:\n  protect zone metrics a -o tree\n  protect zone metrics a -o json "
		    "| jq "
		    "'.[] | select(.name == \"memory.available_bytes\").value'\n",
	 .options = zone_metrics_options,
	 .n_options = ZONE_METRICS_N_OPTIONS,
	 .values_size = sizeof(struct list_options),
	 .operands_min = 1,
	 .operands_max = 1,
	 .run = zone_metrics_run},
	{.name = "top",
	 .usage = "[OPTION...]",
	 .summary = "Show who uses what: all zones and their workloads, again and again.",
	 .details =
		 "CPU% is of one processor, in the zone's own words; '-' is what is not known (a "
		 "paused zone\ntells nothing). Keys: c, m, n sort by processor, memory, name; q "
		 "leaves.\n\n"
		 "Examples:\n  protect zone top -s memory\n  protect zone top -b -n 1 -o json | jq "
		 "'.[] | select(.kind == \"zone\")'\n",
	 .options = zone_top_options,
	 .n_options = ZONE_TOP_N_OPTIONS,
	 .values_size = sizeof(struct zone_top_values),
	 .run = zone_top_run},
	{.name = "update",
	 .usage = "[OPTION...] ZONE",
	 .summary = "Give a running zone more or fewer resources, and other limits.",
	 .details = "Memory and processors go up to the zone's maximum; it follows as it can: "
		    "memory that it\nuses it keeps until it is free. Limits of processor time and "
		    "I/O are set at once; what\nis not given stays.\n\n"
		    "Examples:\n  protect zone update a --target-memory 1024 --target-cpus 2\n"
		    "  protect zone update a --cpu-weight 300 --cpus all --io-read-bps 10000000\n",
	 .options = zone_update_options,
	 .n_options = ZONE_UPDATE_N_OPTIONS,
	 .values_size = sizeof(struct zone_update_values),
	 .operands_min = 1,
	 .operands_max = 1,
	 .run = zone_update_run},
	{.name = "pause",
	 .usage = "ZONE...",
	 .summary = "Stop the processors of zones; they keep their memory.",
	 .operands_min = 1,
	 .operands_max = 1000,
	 .run = zone_pause_run},
	{.name = "resume",
	 .usage = "ZONE...",
	 .summary = "Let paused zones go on.",
	 .operands_min = 1,
	 .operands_max = 1000,
	 .run = zone_resume_run},
	{.name = "destroy",
	 .usage = "[OPTION...] ZONE...",
	 .summary = "End zones, and what runs in them.",
	 .details = "Example:\n  protect zone destroy -W a\n",
	 OPTIONS(destroy_options, struct destroy_options),
	 .operands_min = 1,
	 .operands_max = 1000,
	 .run = destroy_command},
};

const struct command_group zone_group = {"zone", "zones: launch, list, look into, change, destroy",
					 commands, ARRAY_SIZE(commands)};
