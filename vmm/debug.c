// SPDX-License-Identifier: Apache-2.0
#include "vmm/debug.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_ring.h>

#include "base/clock.h"
#include "base/util.h"
#include "virtio/balloon.h"
#include "virtio/memdev.h"
#include "virtio/regs.h"
#include "vmm/machine.h"

static json_t *hex(uint64_t value)
{
	char text[19];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	return json_string(text);
}

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *describe_registers(const struct vcpu_registers *registers)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "rip", hex(registers->rip), "rsp",
			 hex(registers->rsp), "rflags", hex(registers->rflags), "cr0",
			 hex(registers->cr0), "cr3", hex(registers->cr3), "cr4",
			 hex(registers->cr4), "efer", hex(registers->efer));
}

static json_t *describe_vcpus(const struct machine *machine)
{
	static const char *const states[] = {[VCPU_STATE_ABSENT] = "absent",
					     [VCPU_STATE_RUNNING] = "running",
					     [VCPU_STATE_PARKING] = "stopping",
					     [VCPU_STATE_PARKED] = "paused"};
	json_t *vcpus = json_array(), *vcpu;
	struct vcpus_info info;

	for (unsigned i = 0; i < machine->vcpus.n_max; i++) {
		vcpus_info(&machine->vcpus, i, &info);
		vcpu = json_pack("{s:i, s:s, s:b, s:o, s:o, s:o, s:o}", "index", (int)i, "state",
				 states[info.state], "asked_to_leave", info.asked, "exits",
				 number(info.exits), "port_accesses", number(info.port_accesses),
				 "memory_accesses", number(info.memory_accesses), "interrupted",
				 number(info.interrupted));
		if (info.has_registers)
			json_object_set_new(vcpu, "registers", describe_registers(&info.registers));
		json_array_append_new(vcpus, vcpu);
	}
	return vcpus;
}

static json_t *describe_queue(const struct vq *vq, const struct virtio_regs_queue *info)
{
	json_t *queue = json_pack(
		"{s:i, s:i, s:o, s:o, s:o, s:b, s:b, s:b, s:b, s:i, s:i, s:i, s:i, s:i}", "index",
		(int)info->index, "size", vq->size, "desc", hex(vq->desc_gpa), "driver",
		hex(vq->driver_gpa), "device", hex(vq->device_gpa), "indirect", vq->indirect,
		"event_idx", vq->event_idx, "draining", info->draining, "broken", vq->broken,
		"vector", info->vector, "next_avail", vq->next_avail, "next_used", vq->next_used,
		"published_used", vq->published_used, "in_flight", vq->n_in_flight);

	if (!vq->avail)
		return queue;
	json_object_set_new(queue, "guest_avail",
			    number(__atomic_load_n(&vq->avail->idx, __ATOMIC_RELAXED)));
	if (vq->event_idx)
		json_object_set_new(
			queue, "guest_used_event",
			number(__atomic_load_n(&vq->avail->ring[vq->size], __ATOMIC_RELAXED)));
	return queue;
}

/* Those that are in use. */
static json_t *describe_queues(const struct virtio_dev *dev, const struct virtio_regs *regs)
{
	json_t *queues = json_array();

	for (unsigned i = 0; i < dev->n_queues; i++)
		if (dev->queues[i].enabled)
			json_array_append_new(
				queues, describe_queue(&dev->queues[i], &regs->queue_info[i]));
	return queues;
}

static json_t *describe_msix(const struct msix *msix)
{
	uint32_t routed = 0;

	for (unsigned i = 0; i < msix->n_vectors; i++)
		routed |= (uint32_t)msix->vectors[i].routed << i;
	return json_pack("{s:b, s:b, s:i, s:o, s:o}", "enabled", msix->enabled, "masked",
			 msix->all_masked, "vectors", (int)msix->n_vectors, "routed", hex(routed),
			 "pending", hex(msix->pending));
}

static json_t *describe_counters(const struct virtio_dev *dev)
{
	struct virtio_counter counters[VIRTIO_COUNTERS_MAX];
	json_t *object = json_object();
	unsigned n = 0;

	if (dev->ops->counters)
		n = dev->ops->counters(dev, counters, VIRTIO_COUNTERS_MAX);
	for (unsigned i = 0; i < n; i++)
		json_object_set_new(object, counters[i].name, number(counters[i].value));
	return object;
}

static json_t *describe_device(const struct machine *machine, unsigned slot)
{
	const struct virtio_dev *dev = machine->slots.at[slot];
	const struct virtio_regs *regs = dev->transport;
	const struct pci_dev *function = machine->pci.slots[slot];

	return json_pack("{s:i, s:s, s:i, s:b, s:b, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
			 "slot", (int)slot, "device", dev->ops->name, "queue_count",
			 (int)dev->n_queues, "active", dev->active, "broken", dev->broken,
			 "draining", regs->draining, "memory_decoding", function->memory_enabled,
			 "bar", hex(function->bars[0].address), "status", hex(regs->status),
			 "offered", hex(dev->offered), "negotiated", hex(dev->negotiated), "msix",
			 describe_msix(regs->msix), "queues", describe_queues(dev, regs),
			 "counters", describe_counters(dev));
}

static const char *name_of(const struct machine *machine, const struct virtio_dev *dev)
{
	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (machine->disks.disks[i].slot.dev == dev)
			return machine->disks.disks[i].serial;
	for (unsigned i = 0; i < NICS_MAX; i++)
		if (machine->nics.nics[i].slot.dev == dev)
			return machine->nics.nics[i].name;
	return NULL;
}

/* What the guest said when it was asked the last time; asks it again. */
static json_t *describe_statistics(struct virtio_dev *balloon)
{
	const struct balloon_stats stats = virtio_balloon_stats(balloon);
	const struct {
		const char *name;
		uint64_t value;
	} all[] = {
		{"total_bytes", stats.total_bytes},	    {"free_bytes", stats.free_bytes},
		{"available_bytes", stats.available_bytes}, {"cached_bytes", stats.cached_bytes},
		{"swap_in_bytes", stats.swap_in},	    {"swap_out_bytes", stats.swap_out},
		{"major_faults", stats.major_faults},	    {"minor_faults", stats.minor_faults},
	};
	json_t *statistics = json_object();

	if (stats.taken_ns == 0)
		return statistics;
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i].value != UINT64_MAX) /* never said */
			json_object_set_new(statistics, all[i].name, number(all[i].value));
	json_object_set_new(statistics, "age_ms",
			    number((clock_now_ns() - stats.taken_ns) / NS_PER_MS));
	return statistics;
}

static json_t *describe_memory(const struct machine *machine)
{
	const struct resources *resources = &machine->resources;
	const struct mem *mem = &machine->memory.mem;
	json_t *regions = json_array(), *memory;

	for (unsigned i = 0; i < mem->n_regions; i++)
		json_array_append_new(regions, json_pack("{s:o, s:o, s:b}", "start",
							 hex(mem->regions[i].start), "bytes",
							 number(mem->regions[i].len), "hotplug",
							 mem->regions[i].plugged != NULL));
	memory = json_pack("{s:o, s:o, s:o, s:o, s:o}", "boot_bytes", number(resources->boot_bytes),
			   "max_bytes", number(resources->max_bytes), "target_bytes",
			   number(resources->target_bytes), "used_bytes",
			   number(resources_used_memory(resources)), "regions", regions);
	if (resources->balloon) {
		json_object_set_new(memory, "balloon_bytes",
				    number(virtio_balloon_given(resources->balloon)));
		json_object_set_new(memory, "statistics", describe_statistics(resources->balloon));
	}
	if (resources->memdev)
		json_object_set_new(memory, "plugged_bytes",
				    number(virtio_memdev_plugged(resources->memdev)));
	return memory;
}

/* As many devices as there is room for. */
static void add_devices(const struct machine *machine, json_t *root)
{
	size_t room = DEBUG_TEXT_MAX - json_dumpb(root, NULL, 0, JSON_COMPACT) - 64;
	json_t *devices = json_array();
	unsigned left_out = 0;

	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		const struct virtio_dev *dev = machine->slots.at[slot];
		json_t *device;
		size_t len;

		if (!dev)
			continue;
		device = describe_device(machine, slot);
		if (name_of(machine, dev))
			json_object_set_new(device, "name", json_string(name_of(machine, dev)));
		len = json_dumpb(device, NULL, 0, JSON_COMPACT) + 1;
		if (len <= room) {
			json_array_append(devices, device);
			room -= len;
		} else {
			left_out++;
		}
		json_decref(device);
	}
	json_object_set_new(root, "devices", devices);
	json_object_set_new(root, "devices_left_out", number(left_out));
}

static json_t *describe_loop(const struct machine *machine)
{
	const struct loop_state state = loop_state(machine->loop);

	return json_pack("{s:s, s:i, s:i, s:i, s:i}", "engine", state.polling ? "poll" : "io_uring",
			 "entries", MACHINE_LOOP_ENTRIES, "slots", (int)state.n_slots, "slots_used",
			 (int)state.n_slots_used, "under_way", (int)state.n_under_way);
}

char *debug_text(const struct machine *machine)
{
	json_t *root =
		json_pack("{s:i, s:o, s:b, s:o, s:o, s:o}", "pid", (int)getpid(), "uptime_ms",
			  number((clock_now_ns() - machine->started_ns) / NS_PER_MS), "paused",
			  vcpus_are_paused(&machine->vcpus), "vcpus", describe_vcpus(machine),
			  "loop", describe_loop(machine), "memory", describe_memory(machine));
	char *text = NULL;

	if (root) {
		add_devices(machine, root);
		text = json_dumps(root, JSON_COMPACT);
	}
	json_decref(root);
	return text;
}
