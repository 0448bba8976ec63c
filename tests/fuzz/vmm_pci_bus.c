// SPDX-License-Identifier: Apache-2.0
/*
 * The PCI bus as a vCPU reaches it: configuration space, the window with its BARs laid anywhere,
 * and the registers by which ACPI plugs and ejects, with a host that plugs, asks and pulls
 * meanwhile. Two of the functions are virtio's own. The host's books: only what it made removable
 * is ejected, and once.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/util.h"
#include "tests/unit/virtio_driver.h"
#include "virtio/rng.h"
#include "vmm/layout.h"
#include "vmm/pci_bus.h"

#define STEPS_MAX 300
#define VIRTIO_AT 3u /* a function for good */
#define TOYS	  4u /* from slot 5 on: come and go */
#define TOYS_AT	  5u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One step of an input. */
struct step {
	uint8_t what, len_bits;
	uint16_t off;
	uint32_t value;
};

struct toy {
	struct pci_dev dev;
	bool plugged, removable;
};

struct fuzz {
	struct driver d;
	struct bus bus; /* its ranges only: nobody waits in it */
	struct pci_bus pci;
	struct toy toys[TOYS];
	int event_fd;
};

static uint32_t toy_config_read(struct pci_dev *dev, unsigned off, unsigned len)
{
	if (off % len || off + len > PCI_CONFIG_SIZE)
		abort();
	return (uint32_t)dev->bars[0].address + off;
}

static void toy_config_write(struct pci_dev *dev, unsigned off, unsigned len, uint32_t value)
{
	if (off % len || off + len > PCI_CONFIG_SIZE)
		abort();
	if (off == 0x10 && len == 4)
		dev->bars[0].address = value & ~0xfffu;
	if (off == 0x18 && len == 4)
		dev->bars[2].address = (uint64_t)value << 12;
	if (off == 4)
		dev->memory_enabled = value & 2;
}

static void check_bar(const struct pci_dev *dev, unsigned bar, uint64_t off, unsigned len)
{
	if (bar >= PCI_BARS || !dev->memory_enabled || off >= dev->bars[bar].len ||
	    len > dev->bars[bar].len - off)
		abort();
}

static void toy_bar_read(struct pci_dev *dev, unsigned bar, uint64_t off, void *data, unsigned len)
{
	check_bar(dev, bar, off, len);
	memset(data, 0x5a, len);
}

static void toy_bar_write(struct pci_dev *dev, unsigned bar, uint64_t off, const void *data,
			  unsigned len)
{
	(void)data;
	check_bar(dev, bar, off, len);
}

static const struct pci_dev_ops toy_ops = {.config_read = toy_config_read,
					   .config_write = toy_config_write,
					   .bar_read = toy_bar_read,
					   .bar_write = toy_bar_write};

static void ejected(void *user, unsigned slot, struct pci_dev *dev)
{
	struct fuzz *f = user;
	struct toy *toy = container_of(dev, struct toy, dev);

	if (slot < TOYS_AT || slot >= TOYS_AT + TOYS || toy != &f->toys[slot - TOYS_AT])
		abort();
	if (!toy->plugged || !toy->removable)
		abort();
	toy->plugged = false;
}

/* As a vCPU's exit would: any range that holds the address; whoever may answer at once does. */
static void access_at(struct fuzz *f, bool port, uint64_t addr, const struct step *step)
{
	struct bus_access access = {.write = step->what & 0x80,
				    .len = (uint8_t)(1u << step->len_bits % 4)};
	uint64_t value = step->value | (uint64_t)step->value << 32;

	if (step->len_bits & 0x80) /* a piece of an access that was split */
		access.len = (uint8_t)(step->len_bits % 8 + 1);
	memcpy(access.data, &value, sizeof(value));
	for (unsigned i = 0; i < f->bus.n_ranges; i++) {
		const struct bus_range *range = &f->bus.ranges[i];

		if (range->port != port || addr < range->start ||
		    !range_fits(addr - range->start, access.len, range->len))
			continue;
		access.off = addr - range->start;
		if (!range->fast || !range->fast(range->user, &access))
			range->access(range->user, &access);
		return;
	}
}

static void host_step(struct fuzz *f, const struct step *step)
{
	unsigned i = step->off % TOYS;
	struct toy *toy = &f->toys[i];

	if (!toy->plugged) {
		toy->plugged = true;
		toy->removable = step->value & 1;
		toy->dev.config_stable = step->value;
		pci_bus_plug(&f->pci, TOYS_AT + i, &toy->dev, toy->removable);
	} else if (step->value & 2 && toy->removable) {
		pci_bus_request_eject(&f->pci, TOYS_AT + i);
	} else if (step->value & 4) {
		if (pci_bus_unplug(&f->pci, TOYS_AT + i) != &toy->dev)
			abort();
		toy->plugged = false;
	} else {
		pci_bus_event(&f->pci, step->value);
	}
}

static void run_step(struct fuzz *f, const struct step *step)
{
	static const uint8_t slots[] = {0, VIRTIO_AT, TOYS_AT, TOYS_AT + 1, TOYS_AT + 3, 31};
	uint64_t slot = slots[step->value % sizeof(slots)];

	switch (step->what % 8) {
	case 0:
	case 1:
		access_at(f, false, LAYOUT_ECAM + (slot << 15) + step->off % 0x1010u, step);
		break;
	case 2: /* BARs and command */
		access_at(f, false, LAYOUT_ECAM + (slot << 15) + step->off % 0x40u, step);
		break;
	case 3:
		access_at(f, false, LAYOUT_PCI_WINDOW + step->off, step);
		break;
	case 4:
		access_at(f, false, f->d.pci->bars[0].address + step->off % 0x4010u, step);
		break;
	case 5:
		access_at(f, true, PORT_PCI_HOTPLUG + step->off % 20, step);
		break;
	case 6:
		host_step(f, step);
		break;
	default:
		driver_run(&f->d, 0);
		break;
	}
}

static void check(const struct fuzz *f)
{
	for (unsigned i = 0; i < TOYS; i++)
		if ((f->pci.slots[TOYS_AT + i] == &f->toys[i].dev) != f->toys[i].plugged)
			abort();
	if (f->pci.slots[VIRTIO_AT] != f->d.pci)
		abort();
}

static void init(struct fuzz *f)
{
	struct virtio_dev *dev;

	f->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->event_fd < 0 || driver_init(&f->d) < 0 || virtio_rng_new(&dev, f->d.loop) < 0)
		abort();
	dev->log_limit.used = UINT32_MAX / 2;
	if (driver_attach(&f->d, dev) < 0)
		abort();
	f->bus.loop = f->d.loop;
	pci_bus_init(&f->pci, &f->bus, f->event_fd, ejected, f);
	pci_bus_plug(&f->pci, VIRTIO_AT, f->d.pci, false);
	for (unsigned i = 0; i < TOYS; i++)
		f->toys[i].dev = (struct pci_dev){
			.ops = &toy_ops,
			.memory_enabled = true,
			.bars[0] = {.len = 4096, .address = LAYOUT_PCI_WINDOW + i * 0x800},
			.bars[2] = {.len = 8192, .is_64bit = true}};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = {.event_fd = -1};

	init(&f);
	for (unsigned n = 0; size >= sizeof(struct step) && n < STEPS_MAX; n++) {
		struct step step;

		memcpy(&step, data, sizeof(step));
		data += sizeof(step);
		size -= sizeof(step);
		run_step(&f, &step);
		check(&f);
	}
	driver_deinit(&f.d);
	close(f.event_fd);
	return 0;
}
