// SPDX-License-Identifier: Apache-2.0
/*
 * What a vCPU does between two KVM_RUN: hands accesses to the bus, ends the VM when KVM says that
 * it is over, and writes one log line for what a person should know: where the guest was, and why
 * KVM gave up. In the vCPU's thread.
 */
#pragma once

#include "vmm/vcpu.h"

/* Handles one exit; false: this vCPU has ended, and the VM with it. */
bool vcpu_exit_handle(struct vcpu *vcpu);

/* KVM_RUN failed with errno_value (positive): ends the VM. */
void vcpu_exit_failed(struct vcpu *vcpu, int errno_value);
