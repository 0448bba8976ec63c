// SPDX-License-Identifier: Apache-2.0
/*
 * A PCI function as the VMM's bus sees it, and what a function may ask of the VMM. It knows no
 * hypervisor and no transport, so virtio functions and passed-through ones look the same to the
 * bus. Every call happens in the loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtio/mem.h"

#define PCI_CONFIG_SIZE 4096u
#define PCI_BARS	6

struct pci_dev;

/* What the VMM does for functions. */
struct pci_host_ops {
	/*
	 * An interrupt of the guest: *eventfd becomes a descriptor (the host's) to write to.
	 * Returns a handle ≥ 0 or a negative errno. It is not routed at first.
	 */
	int (*irq_alloc)(void *host, int *eventfd);
	/* Sends it as this MSI from now on. Returns 0 or a negative errno (an address or data that
	 * cannot be). */
	int (*irq_route)(void *host, int irq, uint64_t address, uint32_t data);
	/* Sends it nowhere: signals collect in the eventfd (which is how a function finds what is
	 * pending). */
	void (*irq_unroute)(void *host, int irq);
	void (*irq_free)(void *host, int irq);
	/* A guest write of any length to gpa signals the (borrowed) eventfd without a trip through
	 * the loop. */
	int (*doorbell_add)(void *host, gpa_t gpa, int eventfd);
	void (*doorbell_remove)(void *host, gpa_t gpa, int eventfd);
};

struct pci_bar {
	uint64_t len;  /* a power of two ≥ 4 KiB, 0 = no BAR */
	gpa_t address; /* as the guest programmed it */
	bool prefetchable, is_64bit;
};

struct pci_dev_ops {
	/* off + len ≤ PCI_CONFIG_SIZE; len 1, 2 or 4, aligned to len. */
	uint32_t (*config_read)(struct pci_dev *dev, unsigned off, unsigned len);
	void (*config_write)(struct pci_dev *dev, unsigned off, unsigned len, uint32_t value);
	/* An access inside one BAR while memory decoding is on; len 1, 2, 4 or 8. */
	void (*bar_read)(struct pci_dev *dev, unsigned bar, uint64_t off, void *data, unsigned len);
	void (*bar_write)(struct pci_dev *dev, unsigned bar, uint64_t off, const void *data,
			  unsigned len);
	/*
	 * Ends the function: stops DMA, gives back interrupts and doorbells, frees it; then calls
	 * gone(user), maybe later. The bus has forgotten it before.
	 */
	void (*destroy)(struct pci_dev *dev, void (*gone)(void *user), void *user);
};

struct pci_dev {
	const struct pci_dev_ops *ops;
	bool memory_enabled; /* PCI_COMMAND_MEMORY; kept by the function */
	struct pci_bar bars[PCI_BARS];
	/*
	 * Which of the first 64 dwords of its configuration only config_write() changes, and are
	 * read without effect: a bus may keep copies of them. config_write() may take bits away.
	 * All set: the rest of its configuration is zero, too.
	 */
	uint64_t config_stable;
};
