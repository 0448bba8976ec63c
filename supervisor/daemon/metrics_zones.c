// SPDX-License-Identifier: Apache-2.0
/*
 * The zones' part of /metrics, as tables: of each family its name, and where in what is known of a
 * zone its number is. The kernel's figures come from the control group, those of devices and VM
 * exits from the runner; what the guest said of its memory is named so.
 */
#include <stddef.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "supervisor/daemon/metrics.h"
#include "supervisor/daemon/metrics_text.h"
#include "supervisor/daemon/policy_driver.h"
#include "supervisor/daemon/stats.h"
#include "supervisor/daemon/stats_cgroup.h"

/* A zone with a runner, as it is while the text is written. */
struct view {
	const struct zone *zone;
	const struct zone_figures *figures; /* NULL: none came yet */
	struct cgroup_figures cgroup;
	uint64_t age_ms, broken_devices; /* of the figures, in them; CGROUP_UNKNOWN without */
	uint64_t squeezed_mib;
};

enum source {
	FROM_ROW,    /* struct zone_row: of every zone that runs */
	FROM_CGROUP, /* struct cgroup_figures */
	FROM_RUNNER, /* struct zone_figures */
	FROM_GUEST,  /* the same, once the guest has said something */
	FROM_VIEW,   /* struct view */
};

struct family {
	const char *name;
	enum metrics_type type;
	const char *help;
	enum source source;
	size_t offset; /* of a uint64_t */
	double scale;
};

#define ROW(field)    FROM_ROW, offsetof(struct zone_row, field)
#define CGROUP(field) FROM_CGROUP, offsetof(struct cgroup_figures, field)
#define RUNNER(field) FROM_RUNNER, offsetof(struct zone_figures, field)
#define GUEST(field)  FROM_GUEST, offsetof(struct zone_figures, field)
#define VIEW(field)   FROM_VIEW, offsetof(struct view, field)
#define US	      1e-6
#define MS	      1e-3
#define MIB_BYTES     1048576.0

static const struct family families[] = {
	{"protect_zone_cpu_seconds_total", METRICS_COUNTER,
	 "Time of the host's processors that a zone took, its devices included.", CGROUP(cpu_us),
	 US},
	{"protect_zone_cpu_throttled_seconds_total", METRICS_COUNTER,
	 "Time in which a zone waited because it had used up its quota.", CGROUP(cpu_throttled_us),
	 US},
	{"protect_zone_memory_used_bytes", METRICS_GAUGE,
	 "Memory of the host that a zone holds, its runner included.", CGROUP(memory_bytes), 1},
	{"protect_zone_memory_peak_bytes", METRICS_GAUGE, "The most that it ever held.",
	 CGROUP(memory_peak_bytes), 1},
	{"protect_zone_oom_kills_total", METRICS_COUNTER,
	 "Processes of a zone on the host that were killed at its memory limit.", CGROUP(oom_kills),
	 1},
	{"protect_zone_tasks", METRICS_GAUGE, "Threads that a zone has on the host.", CGROUP(tasks),
	 1},
	{"protect_zone_memory_max_bytes", METRICS_GAUGE, "Memory that a zone can have.",
	 ROW(memory_mib), MIB_BYTES},
	{"protect_zone_memory_target_bytes", METRICS_GAUGE, "Memory that a zone is meant to have.",
	 ROW(target_memory_mib), MIB_BYTES},
	{"protect_zone_create_seconds", METRICS_GAUGE,
	 "From the request for a zone to the start of its runner.", ROW(create_ms), MS},
	{"protect_zone_ready_seconds", METRICS_GAUGE,
	 "From the request for a zone until it was ready; 0 before.", ROW(ready_ms), MS},
	{"protect_zone_memory_squeezed_bytes", METRICS_GAUGE,
	 "Memory of a zone's target that is kept from it while the host is short.",
	 VIEW(squeezed_mib), MIB_BYTES},
	{"protect_zone_figures_age_seconds", METRICS_GAUGE,
	 "How old the figures of a zone's runner are.", VIEW(age_ms), MS},
	{"protect_zone_broken_devices", METRICS_GAUGE,
	 "Devices of a zone that its guest broke and has not reset.", VIEW(broken_devices), 1},
	{"protect_zone_memory_plugged_bytes", METRICS_GAUGE,
	 "Memory that a zone booted with and that was plugged since.", RUNNER(plugged_bytes), 1},
	{"protect_zone_memory_balloon_bytes", METRICS_GAUGE, "Memory of it that the balloon holds.",
	 RUNNER(balloon_bytes), 1},
	{"protect_zone_memory_reported_bytes_total", METRICS_COUNTER,
	 "Memory that a zone gave back by reporting that it is free.", RUNNER(reported_bytes), 1},
	{"protect_zone_guest_memory_size_bytes", METRICS_GAUGE,
	 "Memory that the guest says it has.", GUEST(guest_total_bytes), 1},
	{"protect_zone_guest_memory_free_bytes", METRICS_GAUGE,
	 "Memory that the guest says it uses for nothing.", GUEST(guest_free_bytes), 1},
	{"protect_zone_guest_memory_available_bytes", METRICS_GAUGE,
	 "Memory that the guest says it has for new programs.", GUEST(guest_available_bytes), 1},
	{"protect_zone_guest_memory_cache_bytes", METRICS_GAUGE,
	 "Memory that the guest says holds files.", GUEST(guest_cache_bytes), 1},
	{"protect_zone_guest_major_faults_total", METRICS_COUNTER,
	 "Page faults for which the guest says it had to read.", GUEST(guest_major_faults), 1},
	{"protect_zone_vm_exits_total", METRICS_COUNTER,
	 "How often a zone's processors left the guest for its runner.", RUNNER(exits), 1},
	{"protect_zone_vsock_receive_bytes_total", METRICS_COUNTER,
	 "Bytes that a zone sent to the host by vsock.", RUNNER(vsock_rx_bytes), 1},
	{"protect_zone_vsock_transmit_bytes_total", METRICS_COUNTER,
	 "Bytes that the host sent to a zone by vsock.", RUNNER(vsock_tx_bytes), 1},
	{"protect_zone_console_bytes_total", METRICS_COUNTER,
	 "Bytes that a zone wrote to its console.", RUNNER(console_bytes), 1},
};

struct device_family {
	const char *name, *help;
	bool is_nic;
	size_t offset;
};

#define DEVICE(field) offsetof(struct device_figures, field)

static const struct device_family device_families[] = {
	{"protect_zone_disk_reads_total", "Reads of a zone from a disk.", false, DEVICE(read_ops)},
	{"protect_zone_disk_read_bytes_total", "Bytes that a zone read from a disk.", false,
	 DEVICE(read_bytes)},
	{"protect_zone_disk_writes_total", "Writes of a zone to a disk.", false, DEVICE(write_ops)},
	{"protect_zone_disk_written_bytes_total", "Bytes that a zone wrote to a disk.", false,
	 DEVICE(write_bytes)},
	{"protect_zone_disk_errors_total", "Requests to a disk that failed.", false,
	 DEVICE(errors)},
	{"protect_zone_network_receive_packets_total", "Packets that a zone received.", true,
	 DEVICE(read_ops)},
	{"protect_zone_network_receive_bytes_total", "Bytes that a zone received.", true,
	 DEVICE(read_bytes)},
	{"protect_zone_network_transmit_packets_total", "Packets that a zone sent.", true,
	 DEVICE(write_ops)},
	{"protect_zone_network_transmit_bytes_total", "Bytes that a zone sent.", true,
	 DEVICE(write_bytes)},
	{"protect_zone_network_drop_total", "Packets to and from a zone that were dropped.", true,
	 DEVICE(errors)},
};

static const char *const states[] = {
	[PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_NONE] = "unknown",
	[PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_CREATING] = "creating",
	[PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_READY] = "ready",
	[PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_EXITED] = "exited",
	[PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_DESTROYING] = "destroying",
	[PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_FAILED] = "failed",
};

static uint64_t number_at(const void *object, size_t offset)
{
	return *(const uint64_t *)(const void *)((const char *)object + offset);
}

/* Returns false when nothing is known. */
static bool find_value(const struct view *view, const struct family *family, double *value)
{
	const void *const sources[] = {
		[FROM_ROW] = &view->zone->row,
		[FROM_CGROUP] = &view->cgroup,
		[FROM_RUNNER] = view->figures,
		[FROM_GUEST] = view->figures,
		[FROM_VIEW] = view,
	};
	const void *source = sources[family->source];
	uint64_t number;

	if (!source || (family->source == FROM_GUEST && !view->figures->guest_age_ms))
		return false;
	number = number_at(source, family->offset);
	*value = (double)number * family->scale;
	return number != CGROUP_UNKNOWN;
}

static void write_family(FILE *out, const struct family *family, const struct view *views,
			 unsigned n)
{
	double value;

	metrics_family(out, family->name, family->type, family->help);
	for (unsigned i = 0; i < n; i++) {
		const struct zone_row *row = &views[i].zone->row;
		const struct metrics_label labels[] = {{"zone", row->name}, {"uuid", row->uuid}};

		if (find_value(&views[i], family, &value))
			metrics_sample(out, family->name, labels, ARRAY_SIZE(labels), value);
	}
}

static void write_devices(FILE *out, const struct device_family *family, const struct view *view)
{
	const struct zone_row *row = &view->zone->row;

	for (unsigned i = 0; view->figures && i < view->figures->n_devices; i++) {
		const struct device_figures *device = &view->figures->devices[i];
		const struct metrics_label labels[] = {
			{"zone", row->name},
			{"uuid", row->uuid},
			{device->is_nic ? "nic" : "disk", device->name},
		};

		if (device->is_nic == family->is_nic)
			metrics_sample(out, family->name, labels, ARRAY_SIZE(labels),
				       (double)number_at(device, family->offset));
	}
}

static void write_states(FILE *out, const struct daemon *d)
{
	uint64_t counts[ARRAY_SIZE(states)] = {0};

	for (const struct zone *z = d->zones; z; z = z->next)
		if (z->row.state < ARRAY_SIZE(states))
			counts[z->row.state]++;
	metrics_family(out, "protect_zones", METRICS_GAUGE, "Zones, by their state.");
	for (unsigned i = 1; i < ARRAY_SIZE(states); i++)
		metrics_sample(out, "protect_zones", &(struct metrics_label){"state", states[i]}, 1,
			       (double)counts[i]);
	metrics_family(out, "protect_workloads", METRICS_GAUGE, "Workloads, whatever their state.");
	metrics_sample(out, "protect_workloads", NULL, 0, d->n_workloads);
}

static void write_info(FILE *out, const struct daemon *d)
{
	metrics_family(out, "protect_zone_info", METRICS_GAUGE, "What a zone is.");
	for (const struct zone *z = d->zones; z; z = z->next) {
		const struct zone_row *row = &z->row;
		bool dynamic = row->policy == PROTECT__CONTROL__RESOURCE_POLICY__POLICY_DYNAMIC;
		const struct metrics_label labels[] = {
			{"zone", row->name},
			{"uuid", row->uuid},
			{"state", row->state < ARRAY_SIZE(states) ? states[row->state] : states[0]},
			{"policy", dynamic ? "dynamic" : "static"},
			{"kernel", row->kernel},
			{"kernel_release", row->kernel_release},
		};

		metrics_sample(out, "protect_zone_info", labels, ARRAY_SIZE(labels), 1);
	}
}

static void view_zone(struct view *view, const struct zone *zone, uint64_t now_ns)
{
	uint64_t told_mib = policy_told_mib(zone), target_mib = zone->row.target_memory_mib;

	*view = (struct view){.zone = zone,
			      .figures = stats_figures(zone),
			      .age_ms = CGROUP_UNKNOWN,
			      .broken_devices = CGROUP_UNKNOWN,
			      .squeezed_mib = told_mib < target_mib ? target_mib - told_mib : 0};
	cgroup_figures_read(CGROUP_MOUNT, zone->row.cgroup, &view->cgroup);
	if (!view->figures)
		return;
	view->age_ms = (now_ns - view->figures->taken_ns) / NS_PER_MS;
	view->broken_devices = view->figures->broken_devices;
}

static bool has_runner(const struct zone *zone)
{
	return zone->phase == ZONE_PHASE_BOOT || zone->phase == ZONE_PHASE_READY;
}

void metrics_write_zones(FILE *out, const struct daemon *d)
{
	_cleanup_(freep) struct view *views = calloc(d->n_zones + 1, sizeof(*views));
	uint64_t now_ns = clock_now_ns();
	unsigned n = 0;

	write_states(out, d);
	write_info(out, d);
	if (!views)
		return;
	for (const struct zone *z = d->zones; z && n < d->n_zones; z = z->next)
		if (has_runner(z))
			view_zone(&views[n++], z, now_ns);
	for (unsigned i = 0; i < ARRAY_SIZE(families); i++)
		write_family(out, &families[i], views, n);
	for (unsigned i = 0; i < ARRAY_SIZE(device_families); i++) {
		const struct device_family *family = &device_families[i];

		metrics_family(out, family->name, METRICS_COUNTER, family->help);
		for (unsigned k = 0; k < n; k++)
			write_devices(out, family, &views[k]);
	}
}
