// SPDX-License-Identifier: Apache-2.0
/*
 * A vCPU and the thread that only runs it: in and out of KVM_RUN, accesses handed to the bus. The
 * loop thread creates, starts, parks and stops it; vcpus.h decides when.
 *
 * `want` is what the loop thread asks for. A thread that is to park leaves the guest, lets KVM end
 * the access that it was in the middle of, so that the registers are exact, says so (`parked`, and
 * a ring of the bus's doorbell) and sleeps on `want`. It is inside KVM_RUN, in the bus's letter box
 * or about to enter either when the request comes: immediate_exit is set after `want` and before
 * the signal, and the thread looks at `want` again after it cleared immediate_exit, so the request
 * cannot get lost between the two.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/bus.h"
#include "vmm/cpuid.h"
#include "vmm/kvm.h"

enum vcpu_want { VCPU_RUN, VCPU_PARK, VCPU_STOP };

/* Counted by the vCPU's thread, read by any. */
struct vcpu_counters {
	_Atomic uint64_t exits; /* to this process */
	_Atomic uint64_t port_accesses, memory_accesses;
	_Atomic uint64_t interrupted; /* by a signal */
};

struct vcpu {
	unsigned index;
	int fd;
	struct kvm_run *run;
	uint32_t run_size;
	struct bus *bus;
	struct bus_call call;
	pthread_t thread;
	bool started;
	_Atomic uint32_t want; /* enum vcpu_want; a futex */
	atomic_bool parked;    /* out of the guest until `want` changes, or ended for good */
	struct vcpu_counters counters;
};

/* Some registers, for people. */
struct vcpu_registers {
	uint64_t rip, rsp, rflags, cr0, cr3, cr4, efer;
};

/*
 * Makes vCPU `index` of at most n_max in its reset state: the first ready to run, the others
 * waiting for INIT and SIPI. kvm and bus are borrowed and outlive it. After a failure vcpu_deinit()
 * is due. Returns 0 or a negative errno with *err.
 */
int vcpu_init(struct vcpu *vcpu, struct kvm *kvm, struct bus *bus, const struct cpuid *cpuid,
	      unsigned index, unsigned n_max, struct error *err);

/* After vcpu_stop(). */
void vcpu_deinit(struct vcpu *vcpu);

/*
 * 32-bit protected mode at `entry`, paging off, flat segments, EBX = start_info (Xen's x86/HVM
 * direct boot ABI, "PVH").
 */
int vcpu_enter_pvh(struct vcpu *vcpu, uint32_t entry, uint32_t start_info, struct error *err);

/* Starts the thread, running or parked. Returns 0 or a negative errno with *err. */
int vcpu_start(struct vcpu *vcpu, bool parked, struct error *err);

/* Asks the thread to park; vcpu_is_parked() tells when it has, and the bus's doorbell rings then.
 */
void vcpu_park(struct vcpu *vcpu);
bool vcpu_is_parked(const struct vcpu *vcpu);

/*
 * Lets a thread go on. The guest's kernel is told that time went by without it (KVM_KVMCLOCK_CTRL),
 * so that its watchdogs do not take a pause for a lockup.
 */
void vcpu_unpark(struct vcpu *vcpu);

/*
 * Makes a parked vCPU one that was never started: what the guest sent it is forgotten, and it waits
 * for the next INIT, which resets the rest. Before the guest is told of it: an INIT that comes
 * earlier is lost. Where KVM cannot do that, the vCPU goes on as it was left, which is the guest's
 * own affair.
 */
void vcpu_begin_anew(struct vcpu *vcpu);

/* Reads registers; -EBUSY while it is not parked. */
int vcpu_registers(const struct vcpu *vcpu, struct vcpu_registers *registers);

/* Makes the thread leave the guest and end soon; wait with vcpu_stop(). */
void vcpu_kick_out(struct vcpu *vcpu);

/* Waits for the thread's end. After vcpu_kick_out() and bus_release(). */
void vcpu_stop(struct vcpu *vcpu);
