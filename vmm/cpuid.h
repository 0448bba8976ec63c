// SPDX-License-Identifier: Apache-2.0
/*
 * What a zone's vCPUs say about themselves: what KVM supports, with the identity and topology (one
 * socket, one thread a core) that KVM leaves to the VMM. The topology is that of the most vCPUs
 * that the zone can have, so it does not change when one is plugged.
 */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>

#include "base/error.h"

/* What this host's KVM supports; asked once for several vCPUs. */
struct cpuid {
	struct kvm_cpuid2 *supported;
	bool deadline; /* the LAPIC timer's TSC-deadline mode */
};

/* Asks KVM. kvm_fd is borrowed. After a failure cpuid_deinit() may still be called. Returns 0 or a
 * negative errno with *err. */
int cpuid_init(struct cpuid *cpuid, int kvm_fd, struct error *err);
void cpuid_deinit(struct cpuid *cpuid);

/* Sets the CPUID of vCPU `index` of at most n_max. vcpu_fd is borrowed. Returns 0 or a negative
 * errno with *err. */
int cpuid_apply(const struct cpuid *cpuid, int vcpu_fd, unsigned index, unsigned n_max,
		struct error *err);
