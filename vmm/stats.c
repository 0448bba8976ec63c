// SPDX-License-Identifier: Apache-2.0
#include "vmm/stats.h"

#include <string.h>

#include "base/clock.h"
#include "virtio/balloon.h"
#include "virtio/memdev.h"

/* A device's counters, to be picked from by name. */
struct counters {
	struct virtio_counter all[VIRTIO_COUNTERS_MAX];
	unsigned n;
};

static void counters_read(struct counters *counters, const struct virtio_dev *dev)
{
	counters->n = 0;
	if (dev->ops->counters)
		counters->n = dev->ops->counters(dev, counters->all, VIRTIO_COUNTERS_MAX);
}

/* 0 for one that the device does not have. */
static uint64_t counter(const struct counters *counters, const char *name)
{
	for (unsigned i = 0; i < counters->n; i++)
		if (strcmp(counters->all[i].name, name) == 0)
			return counters->all[i].value;
	return 0;
}

static void take_disk(const struct virtio_dev *dev, Protect__Runner__DeviceStats *out)
{
	struct counters counters;

	counters_read(&counters, dev);
	out->read_ops = counter(&counters, "reads");
	out->read_bytes = counter(&counters, "bytes_read");
	out->write_ops = counter(&counters, "writes");
	out->write_bytes = counter(&counters, "bytes_written");
	out->errors = counter(&counters, "errors");
}

static void take_nic(const struct virtio_dev *dev, Protect__Runner__DeviceStats *out)
{
	struct counters counters;

	counters_read(&counters, dev);
	out->read_ops = counter(&counters, "rx_frames");
	out->read_bytes = counter(&counters, "rx_bytes");
	out->write_ops = counter(&counters, "tx_frames");
	out->write_bytes = counter(&counters, "tx_bytes");
	out->errors = counter(&counters, "rx_drops") + counter(&counters, "tx_drops");
}

static Protect__Runner__DeviceStats *add_device(struct stats *stats, char *name)
{
	Protect__Runner__StatsReply *reply = &stats->reply;
	Protect__Runner__DeviceStats *device = &stats->devices[reply->n_disks + reply->n_nics];

	protect__runner__device_stats__init(device);
	device->name = name;
	return device;
}

static void take_devices(struct machine *machine, struct stats *stats)
{
	Protect__Runner__StatsReply *reply = &stats->reply;

	reply->disks = stats->disks;
	reply->nics = stats->nics;
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		struct disk *disk = &machine->disks.disks[i];

		if (!disk->serial[0] || !disk->slot.dev)
			continue;
		stats->disks[reply->n_disks] = add_device(stats, disk->serial);
		take_disk(disk->slot.dev, stats->disks[reply->n_disks++]);
	}
	for (unsigned i = 0; i < NICS_MAX; i++) {
		struct nic *nic = &machine->nics.nics[i];

		if (!nic->name[0] || !nic->slot.dev)
			continue;
		stats->nics[reply->n_nics] = add_device(stats, nic->name);
		take_nic(nic->slot.dev, stats->nics[reply->n_nics++]);
	}
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		reply->broken_devices += machine->slots.at[slot] && machine->slots.at[slot]->broken;
}

static uint64_t said(uint64_t value)
{
	return value == UINT64_MAX ? 0 : value;
}

/* Linux before 4.6 says nothing of what is available; what is free is less than that. */
static void take_guest(struct virtio_dev *balloon, Protect__Runner__StatsReply *reply)
{
	const struct balloon_stats stats = virtio_balloon_stats(balloon);
	bool knows_available = stats.available_bytes != UINT64_MAX;

	if (stats.taken_ns == 0 || stats.total_bytes == UINT64_MAX ||
	    (!knows_available && stats.free_bytes == UINT64_MAX))
		return;
	reply->guest_age_ms = (clock_now_ns() - stats.taken_ns) / NS_PER_MS + 1;
	reply->guest_total_bytes = stats.total_bytes;
	reply->guest_free_bytes = said(stats.free_bytes);
	reply->guest_available_bytes = knows_available ? stats.available_bytes : stats.free_bytes;
	reply->guest_cache_bytes = said(stats.cached_bytes);
	reply->guest_major_faults = said(stats.major_faults);
}

static void take_memory(struct machine *machine, Protect__Runner__StatsReply *reply)
{
	const struct resources *resources = &machine->resources;
	struct counters counters;

	reply->plugged_memory_bytes = resources->boot_bytes;
	if (resources->memdev)
		reply->plugged_memory_bytes += virtio_memdev_plugged(resources->memdev);
	if (!resources->balloon)
		return;
	reply->balloon_bytes = virtio_balloon_given(resources->balloon);
	counters_read(&counters, resources->balloon);
	reply->reported_bytes = counter(&counters, "reported_bytes");
	take_guest(resources->balloon, reply);
}

void stats_take(struct machine *machine, struct stats *stats)
{
	Protect__Runner__StatsReply *reply = &stats->reply;
	struct counters vsock;
	struct vcpus_info info;

	protect__runner__stats_reply__init(reply);
	for (unsigned i = 0; i < machine->vcpus.n_max; i++) {
		vcpus_info(&machine->vcpus, i, &info);
		reply->exits += info.exits;
	}
	take_memory(machine, reply);
	take_devices(machine, stats);
	if (machine->vsock) {
		counters_read(&vsock, machine->vsock);
		reply->vsock_rx_bytes = counter(&vsock, "rx_bytes");
		reply->vsock_tx_bytes = counter(&vsock, "tx_bytes");
	}
	reply->console_bytes = machine->console.written;
}
