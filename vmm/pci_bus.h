// SPDX-License-Identifier: Apache-2.0
/*
 * PCI bus 0 of a zone: ECAM (PCI Express base spec §7.2.2), the memory window, and the registers
 * through which ACPI plugs and ejects (vmm/dsdt.asl). One function a slot. Loop thread; only the
 * set of occupied slots and copies of what their configuration holds are read by vCPU threads,
 * which answer for absent functions, and most reads of configuration, themselves: those are more
 * than half of what a booting Linux asks its devices.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/pci_dev.h"
#include "vmm/bus.h"
#include "vmm/config_pages.h"
#include "vmm/event_line.h"

#define PCI_SLOTS	  32u
#define PCI_CONFIG_COPIES CONFIG_PAGE_DWORDS

/* What vCPU threads may read of a function's configuration: dwords whose bit is set in `valid`. */
struct pci_config_copy {
	_Atomic uint64_t valid;
	_Atomic uint32_t dwords[PCI_CONFIG_COPIES];
};

struct pci_bus {
	struct pci_dev *slots[PCI_SLOTS];
	_Atomic uint32_t present;
	struct pci_config_copy copies[PCI_SLOTS];
	struct config_pages *pages; /* borrowed; NULL: the guest asks for each read */
	uint32_t removable;
	uint32_t up, down, events; /* what the guest has not read yet; bit = slot */
	struct event_line line;
	/* The guest let go of a removable slot: the function is already off the bus; the owner
	 * destroys it. */
	void (*ejected)(void *user, unsigned slot, struct pci_dev *dev);
	void *user;
};

#define PCI_EVENT_POWER_BUTTON 1u
#define PCI_EVENT_VMGENID      2u
#define PCI_EVENT_BUS_CHECK    4u /* functions went without asking: look at all of them */

/* Puts the bus into `bus`. event_fd is borrowed. */
void pci_bus_init(struct pci_bus *pci, struct bus *bus, int event_fd,
		  void (*ejected)(void *user, unsigned slot, struct pci_dev *dev), void *user);

/* Plugs dev (borrowed; it stays the caller's) into a free slot; hot tells the guest, and makes it
 * removable. */
void pci_bus_plug(struct pci_bus *pci, unsigned slot, struct pci_dev *dev, bool hot);

/* Asks the guest to let go of a removable slot; `ejected` follows if it does. */
void pci_bus_request_eject(struct pci_bus *pci, unsigned slot);

/* Takes the function off the bus without asking. */
struct pci_dev *pci_bus_unplug(struct pci_bus *pci, unsigned slot);

/* Raises an event of the machine (PCI_EVENT_…). */
void pci_bus_event(struct pci_bus *pci, uint32_t event);

/*
 * Puts something (borrowed) into an empty slot that answers for the BARs of the function that was
 * there, where no other function is; in configuration space the slot stays empty. NULL takes it
 * away again.
 */
void pci_bus_leave_husk(struct pci_bus *pci, unsigned slot, struct pci_dev *husk);
