// SPDX-License-Identifier: Apache-2.0
/*
 * A zone as a machine: memory, KVM, vCPUs, bus and devices put together, from a spec to its end.
 * Everything here belongs to the thread that calls machine_run(), the loop thread.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "runner/console_hub.h"
#include "runner/runner_server.h"
#include "runner/spec.h"
#include "vmm/bus.h"
#include "vmm/config_pages.h"
#include "vmm/disks.h"
#include "vmm/guest_memory.h"
#include "vmm/hotplug_memory.h"
#include "vmm/kvm.h"
#include "vmm/nics.h"
#include "vmm/pci_bus.h"
#include "vmm/platform.h"
#include "vmm/resources.h"
#include "vmm/shares.h"
#include "vmm/slots.h"
#include "vmm/vcpus.h"

#define MACHINE_DETAIL_MAX   128
#define MACHINE_LOOP_ENTRIES 256
#define MACHINE_LOOP_SLOTS   512

struct machine {
	struct loop *loop;
	struct guest_memory memory;
	struct hotplug_memory hotplug_memory;
	struct resources resources;
	struct kvm kvm;
	struct bus bus;
	struct pci_bus pci;
	struct config_pages config_pages;
	int acpi_event_fd;
	struct platform platform;
	struct console_hub console;
	struct slots slots;
	struct disks disks;
	struct nics nics;
	struct shares shares;
	struct virtio_dev *vsock;
	struct runner_server server;
	struct vcpus vcpus;
	uint64_t started_ns;
	const char *end_reason; /* NULL while it runs */
	char end_detail[MACHINE_DETAIL_MAX];
};

/*
 * Builds the machine; kvm_fd (-1: open /dev/kvm) and what it needs of the spec's descriptors are
 * taken over. After a failure machine_deinit() is due. Returns 0 or a negative errno with *err.
 */
int machine_init(struct machine *machine, struct zone_spec *spec, int kvm_fd, struct error *err);

/*
 * Confines this process (vmm/filters.h), then unpacks the kernel, which is a stranger's work, and
 * lets the vCPUs go. Signals that no vCPU is to take are blocked before. Returns 0 or a negative
 * errno with *err.
 */
int machine_boot(struct machine *machine, const struct zone_spec *spec, struct error *err);

/* Runs until the zone ends; end_reason and end_detail then say how. Returns 0 or a negative errno
 * of the loop. */
int machine_run(struct machine *machine, struct error *err);

/* Serves a listening socket (base/runner.h), owned from here on. Returns 0 or a negative errno. */
int machine_listen(struct machine *machine, int fd);

/* Ends the zone from outside; the first reason stays. */
void machine_end(struct machine *machine, const char *reason, const char *detail);

/* Stops the vCPUs and gives everything back. */
void machine_deinit(struct machine *machine);
