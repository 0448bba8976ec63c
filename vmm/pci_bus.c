// SPDX-License-Identifier: Apache-2.0
#include "vmm/pci_bus.h"

#include <assert.h>
#include <string.h>

#include "base/util.h"
#include "vmm/layout.h"

enum {
	HOTPLUG_UP = 0,
	HOTPLUG_DOWN = 4,
	HOTPLUG_EJECT = 8,
	HOTPLUG_EVENTS = 12,
	HOTPLUG_SIZE = 16
};

static void all_ones(struct bus_access *access)
{
	memset(access->data, 0xff, sizeof(access->data));
}

static bool is_slot_present(const struct pci_bus *pci, uint64_t ecam_off)
{
	unsigned slot = (ecam_off >> 15) & (PCI_SLOTS - 1), function = (ecam_off >> 12) & 7;

	return function == 0 &&
	       atomic_load_explicit(&pci->present, memory_order_acquire) & (1u << slot);
}

static bool is_aligned(const struct bus_access *access)
{
	return access->len <= 4 && is_power_of_two(access->len) && access->off % access->len == 0;
}

/* In the vCPU's thread: false for what has no copy. */
static bool read_copy(struct pci_bus *pci, struct bus_access *access)
{
	struct pci_config_copy *copy = &pci->copies[(access->off >> 15) & (PCI_SLOTS - 1)];
	unsigned reg = access->off & (PCI_CONFIG_SIZE - 1);
	uint32_t value;

	if (access->write || !is_aligned(access) || reg / 4 >= PCI_CONFIG_COPIES ||
	    !(atomic_load_explicit(&copy->valid, memory_order_acquire) & UINT64_C(1) << reg / 4))
		return false;
	value = atomic_load_explicit(&copy->dwords[reg / 4], memory_order_relaxed) >> reg % 4 * 8;
	memcpy(access->data, &value, access->len);
	return true;
}

static bool ecam_fast(void *user, struct bus_access *access)
{
	if (is_slot_present(user, access->off))
		return read_copy(user, access);
	all_ones(access);
	return true;
}

/* After every change that the function's own config_write() made. */
static void update_copy(struct pci_bus *pci, unsigned slot)
{
	struct pci_config_copy *copy = &pci->copies[slot];
	struct pci_dev *dev = pci->slots[slot];
	uint32_t dwords[PCI_CONFIG_COPIES] = {0};

	for (unsigned i = 0; i < PCI_CONFIG_COPIES; i++) {
		if (!(dev->config_stable & UINT64_C(1) << i))
			continue;
		dwords[i] = dev->ops->config_read(dev, i * 4, 4);
		atomic_store_explicit(&copy->dwords[i], dwords[i], memory_order_relaxed);
	}
	atomic_store_explicit(&copy->valid, dev->config_stable, memory_order_release);
	if (!pci->pages)
		return;
	if (dev->config_stable == UINT64_MAX)
		config_pages_show(pci->pages, slot, dwords);
	else
		config_pages_hide(pci->pages, slot);
}

static void ecam_access(void *user, struct bus_access *access)
{
	struct pci_bus *pci = user;
	unsigned slot = (access->off >> 15) & (PCI_SLOTS - 1);
	struct pci_dev *dev = pci->slots[slot];
	unsigned reg = access->off & (PCI_CONFIG_SIZE - 1);
	uint32_t value;

	/* An access across a page boundary arrives in pieces of any length. */
	if (!dev || !is_slot_present(pci, access->off) || !is_aligned(access)) {
		all_ones(access);
		return;
	}
	if (access->write) {
		value = 0;
		memcpy(&value, access->data, access->len);
		dev->ops->config_write(dev, reg, access->len, value);
		update_copy(pci, slot);
	} else {
		value = dev->ops->config_read(dev, reg, access->len);
		memcpy(access->data, &value, sizeof(value));
	}
}

static bool bar_access(struct pci_dev *dev, gpa_t gpa, struct bus_access *access)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *bar = &dev->bars[i];

		if (!bar->len || gpa < bar->address ||
		    !range_fits(gpa - bar->address, access->len, bar->len))
			continue;
		if (access->write)
			dev->ops->bar_write(dev, i, gpa - bar->address, access->data, access->len);
		else
			dev->ops->bar_read(dev, i, gpa - bar->address, access->data, access->len);
		return true;
	}
	return false;
}

static bool reach_bar(struct pci_bus *pci, uint32_t among, struct bus_access *access)
{
	gpa_t gpa = LAYOUT_PCI_WINDOW + access->off;

	for (unsigned i = 0; i < PCI_SLOTS; i++) {
		struct pci_dev *dev = pci->slots[i];

		if (dev && among & (1u << i) && dev->memory_enabled && bar_access(dev, gpa, access))
			return true;
	}
	return false;
}

/* What is there goes before what a function left that is not: its place may be somebody's again. */
static void window_access(void *user, struct bus_access *access)
{
	struct pci_bus *pci = user;
	uint32_t present = atomic_load_explicit(&pci->present, memory_order_relaxed);

	if (!reach_bar(pci, present, access) && !reach_bar(pci, ~present, access))
		all_ones(access);
}

static void eject(struct pci_bus *pci, uint32_t slots)
{
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		if (slots & pci->removable & (1u << slot))
			pci->ejected(pci->user, slot, pci_bus_unplug(pci, slot));
}

static uint32_t take(uint32_t *bits)
{
	uint32_t taken = *bits;

	*bits = 0;
	return taken;
}

static void hotplug_access(void *user, struct bus_access *access)
{
	struct pci_bus *pci = user;
	uint32_t value = 0;

	if (access->len != 4 || access->off % 4)
		return;
	if (access->write) {
		memcpy(&value, access->data, sizeof(value));
		if (access->off == HOTPLUG_EJECT)
			eject(pci, value);
		return;
	}
	if (access->off == HOTPLUG_UP)
		value = take(&pci->up);
	else if (access->off == HOTPLUG_DOWN)
		value = take(&pci->down);
	else if (access->off == HOTPLUG_EVENTS)
		value = take(&pci->events);
	memcpy(access->data, &value, sizeof(value));
}

static bool is_unread(void *user)
{
	const struct pci_bus *pci = user;

	return pci->up | pci->down | pci->events;
}

void pci_bus_init(struct pci_bus *pci, struct bus *bus, int event_fd,
		  void (*ejected)(void *user, unsigned slot, struct pci_dev *dev), void *user)
{
	*pci = (struct pci_bus){.ejected = ejected, .user = user};
	event_line_init(&pci->line, bus->loop, event_fd, is_unread, pci);
	bus_add_range(bus, &(struct bus_range){.start = LAYOUT_ECAM,
					       .len = LAYOUT_ECAM_SIZE,
					       .access = ecam_access,
					       .fast = ecam_fast,
					       .user = pci});
	bus_add_range(bus, &(struct bus_range){.start = LAYOUT_PCI_WINDOW,
					       .len = LAYOUT_PCI_WINDOW_SIZE,
					       .access = window_access,
					       .user = pci});
	bus_add_range(bus, &(struct bus_range){.start = PORT_PCI_HOTPLUG,
					       .len = HOTPLUG_SIZE,
					       .port = true,
					       .access = hotplug_access,
					       .user = pci});
}

void pci_bus_plug(struct pci_bus *pci, unsigned slot, struct pci_dev *dev, bool hot)
{
	assert(slot < PCI_SLOTS && !pci->slots[slot]);
	pci->slots[slot] = dev;
	update_copy(pci, slot);
	atomic_fetch_or_explicit(&pci->present, 1u << slot, memory_order_release);
	if (!hot)
		return;
	pci->removable |= 1u << slot;
	pci->up |= 1u << slot;
	event_line_raise(&pci->line);
}

void pci_bus_request_eject(struct pci_bus *pci, unsigned slot)
{
	assert(pci->removable & (1u << slot));
	/* What the guest has not heard of stays in `up`, which it reads first. */
	pci->down |= 1u << slot;
	event_line_raise(&pci->line);
}

struct pci_dev *pci_bus_unplug(struct pci_bus *pci, unsigned slot)
{
	struct pci_dev *dev = pci->slots[slot];
	uint32_t bit = 1u << slot;

	pci->slots[slot] = NULL;
	if (pci->pages)
		config_pages_hide(pci->pages, slot);
	atomic_store_explicit(&pci->copies[slot].valid, 0, memory_order_relaxed);
	atomic_fetch_and_explicit(&pci->present, ~bit, memory_order_release);
	pci->removable &= ~bit;
	pci->up &= ~bit;
	pci->down &= ~bit;
	return dev;
}

void pci_bus_event(struct pci_bus *pci, uint32_t event)
{
	pci->events |= event;
	event_line_raise(&pci->line);
}

void pci_bus_leave_husk(struct pci_bus *pci, unsigned slot, struct pci_dev *husk)
{
	assert(!pci->slots[slot] || !husk);
	assert(!(atomic_load(&pci->present) & (1u << slot)));
	pci->slots[slot] = husk;
}
