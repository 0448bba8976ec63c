// SPDX-License-Identifier: Apache-2.0
/*
 * What a zone's vCPUs say about themselves: what KVM supports, with the identity and topology (one
 * socket, one thread a core) that KVM leaves to the VMM.
 */
#pragma once

#include "base/error.h"

/* Sets the CPUID of vCPU `index` of `n_vcpus`. kvm_fd and vcpu_fd are borrowed. Returns 0 or a
 * negative errno with *err. */
int cpuid_apply(int kvm_fd, int vcpu_fd, unsigned index, unsigned n_vcpus, struct error *err);
