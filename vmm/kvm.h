// SPDX-License-Identifier: Apache-2.0
/*
 * The VM: a thin layer over /dev/kvm (Documentation/virt/kvm/api.rst), with the in-kernel irqchip.
 * It hands out interrupts (irqfd + MSI routes) and doorbells (ioeventfd). Owned by the loop thread
 * once vCPUs run.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "virtio/pci_dev.h"
#include "vmm/guest_memory.h"

#define KVM_IRQS_MAX 224u /* MSI routes, after the I/O APIC's 24 pins */

struct kvm_irq {
	int eventfd; /* -1: free */
	bool attached;
	bool routed_once;
	uint64_t address;
	uint32_t data;
};

struct kvm {
	int fd, vm;
	uint32_t run_size; /* of the area a vCPU shares with the kernel */
	struct kvm_irq irqs[KVM_IRQS_MAX];
};

/* Opens /dev/kvm. Returns its descriptor (the caller's) or a negative errno with what to do about
 * it. */
int kvm_open(struct error *err);

/*
 * Takes the descriptor of /dev/kvm (owned from here on) or, with -1, opens it, and makes the VM
 * with irqchip, memory and the I/O APIC's routes. Returns 0 or a negative errno with *err naming
 * the next step.
 */
int kvm_init(struct kvm *kvm, int kvm_fd, const struct guest_memory *memory, struct error *err);
void kvm_deinit(struct kvm *kvm);

/* Signals I/O APIC pin `gsi` (edge) whenever eventfd (borrowed) is written. Returns 0 or a negative
 * errno. */
int kvm_pin_eventfd(struct kvm *kvm, unsigned gsi, int eventfd);

/* Interrupts and doorbells for PCI functions; `host` is the struct kvm. */
extern const struct pci_host_ops kvm_pci_host_ops;
