// SPDX-License-Identifier: Apache-2.0
#include "vmm/vcpu.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/runner.h"
#include "vmm/filters.h"
#include "vmm/vcpu_exit.h"

#define STACK_SIZE	(256u * 1024)
#define CR0_PE		1u
#define CR0_ET		0x10u
#define RFLAGS_RESERVED 2u

/*
 * KVM makes its map of APIC ids before a new vCPU counts, and again only when some APIC changes:
 * one that is plugged into a running zone would never hear of INIT. Setting its APIC to what it is
 * makes the map anew.
 */
static int announce_apic(int fd)
{
	struct kvm_lapic_state state;

	if (ioctl(fd, KVM_GET_LAPIC, &state) < 0 || ioctl(fd, KVM_SET_LAPIC, &state) < 0)
		return -errno;
	return 0;
}

int vcpu_init(struct vcpu *vcpu, struct kvm *kvm, struct bus *bus, const struct cpuid *cpuid,
	      unsigned index, unsigned n_max, struct error *err)
{
	void *run;
	int r;

	memset(vcpu, 0, sizeof(*vcpu));
	vcpu->index = index;
	vcpu->bus = bus;
	vcpu->run_size = kvm->run_size;
	vcpu->fd = ioctl(kvm->vm, KVM_CREATE_VCPU, (unsigned long)index);
	if (vcpu->fd < 0)
		return error_set_errno(err, -errno, "KVM cannot create vCPU %u", index);
	run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED)
		return error_set_errno(err, -errno, "cannot map the area of vCPU %u", index);
	vcpu->run = run;
	r = announce_apic(vcpu->fd);
	if (r < 0)
		return error_set_errno(err, r, "KVM does not take the APIC of vCPU %u", index);
	return cpuid_apply(cpuid, vcpu->fd, index, n_max, err);
}

void vcpu_deinit(struct vcpu *vcpu)
{
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_size);
	vcpu->run = NULL;
	close_fdp(&vcpu->fd);
}

static struct kvm_segment flat(uint16_t selector, uint8_t type, bool system)
{
	return (struct kvm_segment){
		.limit = system ? 0x67 : 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.db = !system,
		.s = !system,
		.g = !system,
	};
}

/* #syscalls loop: ioctl(_, KVM_GET_SREGS) ioctl(_, KVM_SET_SREGS) ioctl(_, KVM_SET_REGS) */
int vcpu_enter_pvh(struct vcpu *vcpu, uint32_t entry, uint32_t start_info, struct error *err)
{
	struct kvm_regs regs = {.rip = entry, .rbx = start_info, .rflags = RFLAGS_RESERVED};
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return error_set_errno(err, -errno, "KVM does not tell the registers");
	sregs.cs = flat(0x8, 0xb, false);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat(0x10, 0x3, false);
	sregs.tr = flat(0x18, 0xb, true);
	sregs.gdt.base = sregs.idt.base = 0;
	sregs.gdt.limit = sregs.idt.limit = 0;
	sregs.cr0 = CR0_PE | CR0_ET;
	sregs.cr3 = sregs.cr4 = sregs.efer = 0;
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return error_set_errno(err, -errno, "KVM refuses the start registers");
	return 0;
}

/*
 * What the thread asks of its vCPU, and the loop of one that is parked.
 * #syscalls vcpu: ioctl(_, KVM_RUN) ioctl(_, KVM_KVMCLOCK_CTRL) futex(_, FUTEX_WAIT_PRIVATE)
 * #syscalls loop: ioctl(_, KVM_GET_VCPU_EVENTS) ioctl(_, KVM_SET_VCPU_EVENTS)
 *	ioctl(_, KVM_SET_MP_STATE) ioctl(_, KVM_GET_REGS) ioctl(_, KVM_GET_SREGS)
 *	futex(_, FUTEX_WAKE_PRIVATE) tgkill(SELF, _, SIGUSR1)
 */
static void set_immediate_exit(struct vcpu *vcpu, uint8_t value)
{
	__atomic_store_n(&vcpu->run->immediate_exit, value, __ATOMIC_SEQ_CST);
}

static void sleep_while_parked(struct vcpu *vcpu)
{
	atomic_store(&vcpu->parked, true);
	bus_ring(vcpu->bus);
	while (atomic_load(&vcpu->want) == VCPU_PARK)
		syscall(SYS_futex, &vcpu->want, FUTEX_WAIT_PRIVATE, VCPU_PARK, NULL, NULL, 0);
	atomic_store(&vcpu->parked, false);
}

/* Does what `want` says; false: the thread is to end. */
static bool heed(struct vcpu *vcpu)
{
	for (;;) {
		set_immediate_exit(vcpu, 0);
		switch (atomic_load(&vcpu->want)) {
		case VCPU_RUN:
			return true;
		case VCPU_PARK:
			sleep_while_parked(vcpu);
			/* Fails where the guest does not use kvm-clock: nothing is lost. */
			(void)ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
			break;
		default:
			return false;
		}
	}
}

/*
 * `want` is heeded only when KVM_RUN was interrupted: immediate_exit makes it so on the next entry
 * at the latest, after KVM has ended the access before.
 */
static void run_until_end(struct vcpu *vcpu)
{
	while (heed(vcpu)) {
		while (ioctl(vcpu->fd, KVM_RUN, 0) == 0)
			if (!vcpu_exit_handle(vcpu))
				return;
		if (errno != EINTR && errno != EAGAIN) {
			vcpu_exit_failed(vcpu, errno);
			return;
		}
		atomic_fetch_add_explicit(&vcpu->counters.interrupted, 1, memory_order_relaxed);
	}
}

static void *run_vcpu(void *user)
{
	struct vcpu *vcpu = user;
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
	pthread_setname_np(pthread_self(), name);
	if (filters_confine_vcpu() == 0)
		run_until_end(vcpu);
	else
		bus_end(vcpu->bus, &vcpu->call, RUNNER_EXIT_ERROR, "a vCPU cannot be confined");
	atomic_store(&vcpu->parked, true);
	bus_ring(vcpu->bus);
	return NULL;
}

static void wake_up(int number)
{
	(void)number;
}

int vcpu_start(struct vcpu *vcpu, bool parked, struct error *err)
{
	struct sigaction action = {.sa_handler = wake_up, .sa_flags = SA_RESTART};
	pthread_attr_t attr;
	int r;

	sigaction(SIGUSR1, &action, NULL);
	atomic_store(&vcpu->want, parked ? VCPU_PARK : VCPU_RUN);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	r = pthread_create(&vcpu->thread, &attr, run_vcpu, vcpu);
	pthread_attr_destroy(&attr);
	if (r)
		return error_set_errno(err, -r, "cannot start the thread of vCPU %u", vcpu->index);
	vcpu->started = true;
	return 0;
}

static void want(struct vcpu *vcpu, enum vcpu_want what)
{
	if (!vcpu->started)
		return;
	/* In this order, see vcpu.h. */
	atomic_store(&vcpu->want, what);
	if (what != VCPU_RUN) {
		set_immediate_exit(vcpu, 1);
		pthread_kill(vcpu->thread, SIGUSR1);
	}
	syscall(SYS_futex, &vcpu->want, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void vcpu_park(struct vcpu *vcpu)
{
	want(vcpu, VCPU_PARK);
}

bool vcpu_is_parked(const struct vcpu *vcpu)
{
	return !vcpu->started || atomic_load(&vcpu->parked);
}

void vcpu_unpark(struct vcpu *vcpu)
{
	want(vcpu, VCPU_RUN);
}

void vcpu_begin_anew(struct vcpu *vcpu)
{
	struct kvm_mp_state waiting = {.mp_state = KVM_MP_STATE_UNINITIALIZED};
	struct kvm_vcpu_events events;

	if (ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events) == 0) {
		events.flags = KVM_VCPUEVENT_VALID_SMM;
		memset(&events.smi, 0, sizeof(events.smi)); /* latched_init is among it */
		(void)ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	}
	(void)ioctl(vcpu->fd, KVM_SET_MP_STATE, &waiting);
}

int vcpu_registers(const struct vcpu *vcpu, struct vcpu_registers *registers)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;

	if (!vcpu_is_parked(vcpu))
		return -EBUSY;
	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 || ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	*registers = (struct vcpu_registers){.rip = regs.rip,
					     .rsp = regs.rsp,
					     .rflags = regs.rflags,
					     .cr0 = sregs.cr0,
					     .cr3 = sregs.cr3,
					     .cr4 = sregs.cr4,
					     .efer = sregs.efer};
	return 0;
}

void vcpu_kick_out(struct vcpu *vcpu)
{
	want(vcpu, VCPU_STOP);
}

void vcpu_stop(struct vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	pthread_join(vcpu->thread, NULL);
	vcpu->started = false;
}
