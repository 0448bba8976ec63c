// SPDX-License-Identifier: Apache-2.0
/*
 * The MSI-X capability, table and pending bits of one function (PCI 3.0 §6.8.2), for functions
 * whose interrupts come from the loop thread. A vector is routed at the host exactly while the
 * guest can receive it (bus mastering on, MSI-X enabled, neither function nor vector masked); a
 * signal at any other time sets its pending bit, which is sent when the vector is unmasked. The
 * guest writes the table: every index is checked here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtio/pci_dev.h"

#define MSIX_VECTORS_MAX 32u

struct msix {
	const struct pci_host_ops *host_ops;
	void *host;
	unsigned n_vectors;
	bool enabled, all_masked; /* the control register */
	bool master;		  /* PCI_COMMAND_MASTER */
	uint32_t pending;	  /* a bit a vector */
	struct msix_vector {
		int irq, eventfd; /* the host's; irq -1: none */
		bool routed;
		uint32_t entry[4]; /* address low and high, data, control */
	} vectors[MSIX_VECTORS_MAX];
};

/* Takes n interrupts (≤ MSIX_VECTORS_MAX) from the host (borrowed). Returns 0 or a negative errno;
 * msix_deinit() is due in both cases. */
int msix_init(struct msix *msix, unsigned n_vectors, const struct pci_host_ops *host_ops,
	      void *host);

/* Gives the interrupts back. May run twice. */
void msix_deinit(struct msix *msix);

/* Sends the interrupt, or notes it while it is masked. Vectors out of range and a disabled MSI-X:
 * nothing happens. */
void msix_signal(struct msix *msix, unsigned vector);

/* The message control register (16 bits). */
uint16_t msix_control(const struct msix *msix);
void msix_set_control(struct msix *msix, uint16_t value);

/* Without bus mastering, which is off at first, no message leaves the function. */
void msix_set_master(struct msix *msix, bool on);

/*
 * The table and the pending bits, off within either; any len ≤ 8. Reads outside are 0; writes must
 * be aligned dwords or qwords inside the table, others are ignored. Pending bits are read-only.
 */
void msix_table_read(const struct msix *msix, uint64_t off, void *data, unsigned len);
void msix_table_write(struct msix *msix, uint64_t off, const void *data, unsigned len);
void msix_pba_read(const struct msix *msix, uint64_t off, void *data, unsigned len);
