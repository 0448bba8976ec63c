// SPDX-License-Identifier: Apache-2.0
/* A host for PCI functions under test: interrupts are eventfds that lead nowhere, doorbells are
 * forgotten. Its `host` is not looked at. */
#pragma once

#include "virtio/pci_dev.h"

extern const struct pci_host_ops inert_pci_host_ops;
