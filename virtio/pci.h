// SPDX-License-Identifier: Apache-2.0
/*
 * virtio over PCI, modern only (virtio 1.2 §4.1): one 32-bit memory BAR (0) of 16 KiB with the
 * common, ISR, device and notify structures and the MSI-X table; a vector a queue and one for
 * configuration changes; no INTx, no legacy, no port I/O. Doorbells follow the BAR when the guest
 * moves it. While PCI_COMMAND_MASTER is off, no queue is served and no interrupt sent. Reset by the
 * guest, of the device or of a queue, waits for the device to drain without holding up anything:
 * the status register, or queue_reset, reads non-zero until then.
 */
#pragma once

#include "base/loop.h"
#include "virtio/device.h"
#include "virtio/pci_dev.h"

/*
 * Wraps dev (owned from here on, destroyed with the function; also on failure). loop, mem and host
 * are borrowed and outlive it. bar_address is where BAR 0 starts out (16 KiB aligned). Returns 0
 * and *out, or a negative errno.
 */
int virtio_pci_new(struct pci_dev **out, struct virtio_dev *dev, struct loop *loop,
		   const struct mem *mem, const struct pci_host_ops *host_ops, void *host,
		   uint32_t bar_address);

#define VIRTIO_PCI_BAR_SIZE 0x4000u
