// SPDX-License-Identifier: Apache-2.0
/*
 * A vCPU and the thread that only runs it: in and out of KVM_RUN, accesses handed to the bus. The
 * loop thread creates, starts and stops it.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/error.h"
#include "vmm/bus.h"
#include "vmm/kvm.h"

struct vcpu {
	unsigned index;
	int fd;
	struct kvm_run *run;
	uint32_t run_size;
	struct bus *bus;
	struct bus_call call;
	pthread_t thread;
	bool started;
	atomic_bool stop;
	_Atomic uint64_t exits; /* to this process, for statistics */
};

/* Makes vCPU `index` of `n_vcpus` in its reset state. kvm and bus are borrowed and outlive it.
 * Returns 0 or a negative errno with *err. */
int vcpu_init(struct vcpu *vcpu, struct kvm *kvm, struct bus *bus, unsigned index, unsigned n_vcpus,
	      struct error *err);

/* After vcpu_stop(). */
void vcpu_deinit(struct vcpu *vcpu);

/*
 * 32-bit protected mode at `entry`, paging off, flat segments, EBX = start_info (Xen's x86/HVM
 * direct boot ABI, "PVH").
 */
int vcpu_enter_pvh(struct vcpu *vcpu, uint32_t entry, uint32_t start_info, struct error *err);

/* Starts the thread. Returns 0 or a negative errno with *err. */
int vcpu_start(struct vcpu *vcpu, struct error *err);

/* Makes the thread leave the guest soon; wait with vcpu_stop(). */
void vcpu_kick_out(struct vcpu *vcpu);

/* Waits for the thread's end. After bus_release(). */
void vcpu_stop(struct vcpu *vcpu);
