// SPDX-License-Identifier: Apache-2.0
/*
 * All vCPUs of a zone: which are plugged, hot-plug and unplug with the guest's consent (ACPI
 * processor devices, vmm/cpus.asl.in), pause and resume. Loop thread; vCPU threads read only the
 * set of plugged ones.
 *
 * All vCPUs that the zone may ever have are made before it starts, each with its thread, for none
 * can be made later: the filters of a running zone allow no new thread (vmm/filters.h). One that is
 * not plugged is parked: before its time, and after the guest let go of it, since KVM cannot
 * destroy a vCPU. When it is plugged it is as after INIT, so nothing of its past runs.
 *
 * The guest's register writes are hostile. An eject counts only for a vCPU that the host asked for
 * and that the guest was told of; the first can never go. So a guest plugs nothing by itself, and
 * each request of the host costs at most one eject.
 *
 * Pause: every thread is out of KVM_RUN and asleep when paused() is called; no vCPU runs until
 * vcpus_resume(), one that is plugged meanwhile neither. Devices stay the loop's and go on: kicks
 * that came before the last vCPU stopped are served, what is in flight completes into the rings,
 * and its interrupts stay pending. With no vCPU there are no new kicks, so all of it comes to rest,
 * but for packets from outside, for which the guest's buffers soon run out.
 *
 * Time goes on over a pause, for kvm-clock, TSC and the timers alike: none is touched, so they stay
 * consistent with each other, and CLOCK_REALTIME is right at once. What the guest sees is what it
 * sees on a host that gave it no processor for a while: timers that were due fire once, and
 * KVM_KVMCLOCK_CTRL (api.rst §4.68) keeps its watchdogs quiet. Time stands still for no zone, hence
 * there is nothing to set when it goes on.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "vmm/event_line.h"
#include "vmm/vcpu.h"

#define VCPUS_MAX BUS_VCPUS_MAX

struct vcpus {
	struct kvm *kvm;
	struct bus *bus;
	struct event_line line;
	unsigned n_max, target;
	struct vcpu *all[VCPUS_MAX]; /* n_max of them */
	/* Bit = index. */
	_Atomic uint64_t present;
	uint64_t up, down; /* what the guest has not read yet */
	uint64_t asked;	   /* to be let go of; the guest may know */
	uint64_t recalled; /* of these, no longer: but a guest that was told may still let go */
	uint64_t leaving;  /* not plugged and perhaps not parked yet */
	bool paused;
	void (*on_paused)(void *user, int code); /* NULL: nobody waits */
	void *user;
	struct log_limit ejects;
};

/*
 * Makes n_max vCPUs (to VCPUS_MAX), the first n_boot of them (from 1) plugged, and puts the
 * hot-plug registers into the bus. kvm, bus and event_fd are borrowed and outlive it. After a
 * failure vcpus_deinit() is due. Returns 0 or a negative errno with *err.
 */
int vcpus_init(struct vcpus *vcpus, struct kvm *kvm, struct bus *bus, int event_fd, unsigned n_boot,
	       unsigned n_max, struct error *err);

/* After vcpus_stop(). May be called twice, and on zeroes. */
void vcpus_deinit(struct vcpus *vcpus);

/* Starts the threads. Returns 0 or a negative errno with *err; vcpus_stop() is due either way. */
int vcpus_start(struct vcpus *vcpus, struct error *err);

/* Ends all threads; bus_release() happens within, and whoever waits for a pause gets -ECANCELED.
 * Nothing runs again after it. May be called on zeroes. */
void vcpus_stop(struct vcpus *vcpus);

/*
 * How many vCPUs the guest is to have, 1 to n_max. More: plugged at once, from the lowest free
 * index on; the guest's kernel takes them into use when it likes. Fewer: the guest is asked to let
 * go of the highest ones, and asked again by each call. Returns 0, or with *err and nothing changed
 * -ERANGE: n is out of range, or -ESHUTDOWN: vcpus_stop() was called.
 */
int vcpus_set_target(struct vcpus *vcpus, unsigned n, struct error *err);

/* How many are plugged now, and how many should be. */
unsigned vcpus_plugged(const struct vcpus *vcpus);
unsigned vcpus_target(const struct vcpus *vcpus);

/*
 * Stops all vCPUs. Returns 0: on_paused(user, 0) follows once, from the loop, never from inside
 * this call; or with -ECANCELED if vcpus_resume() came first. 1: they are paused already, no call
 * follows. -EBUSY: another pause is under way. -ESHUTDOWN: vcpus_stop() was called.
 */
int vcpus_pause(struct vcpus *vcpus, void (*on_paused)(void *user, int code), void *user);

/* Lets them run again. Returns 0, or 1 when they were not paused. */
int vcpus_resume(struct vcpus *vcpus);

/* Whether all vCPUs stand still. */
bool vcpus_are_paused(const struct vcpus *vcpus);

enum vcpu_state {
	VCPU_STATE_ABSENT,  /* never plugged, or let go of */
	VCPU_STATE_RUNNING, /* or halted, or waiting for SIPI: KVM knows */
	VCPU_STATE_PARKING, /* asked to stop, not yet out */
	VCPU_STATE_PARKED,
};

/* One vCPU as people want to see it. */
struct vcpus_info {
	enum vcpu_state state;
	bool asked;	    /* the guest is to let go of it */
	bool has_registers; /* only of a parked one */
	struct vcpu_registers registers;
	uint64_t exits, port_accesses, memory_accesses, interrupted;
};

/* Fills *info for vCPU `index` (below n_max). */
void vcpus_info(const struct vcpus *vcpus, unsigned index, struct vcpus_info *info);
