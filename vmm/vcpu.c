// SPDX-License-Identifier: Apache-2.0
#include "vmm/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/runner.h"
#include "vmm/cpuid.h"

#define STACK_SIZE	(256u * 1024)
#define CR0_PE		1u
#define CR0_ET		0x10u
#define RFLAGS_RESERVED 2u

int vcpu_init(struct vcpu *vcpu, struct kvm *kvm, struct bus *bus, unsigned index, unsigned n_vcpus,
	      struct error *err)
{
	void *run;

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
	bus_add_call(bus, &vcpu->call);
	return cpuid_apply(kvm->fd, vcpu->fd, index, n_vcpus, err);
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

static void port_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size)
		bus_do(vcpu->bus, &vcpu->call, true, run->io.direction == KVM_EXIT_IO_OUT,
		       run->io.port, data, run->io.size);
}

static void memory_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (run->mmio.len > sizeof(run->mmio.data))
		return;
	bus_do(vcpu->bus, &vcpu->call, false, run->mmio.is_write, run->mmio.phys_addr,
	       run->mmio.data, run->mmio.len);
}

static bool end(struct vcpu *vcpu, const char *reason, const char *detail)
{
	bus_end(vcpu->bus, &vcpu->call, reason, detail);
	return false;
}

static bool system_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		return end(vcpu, RUNNER_EXIT_POWEROFF, "");
	case KVM_SYSTEM_EVENT_RESET:
		return end(vcpu, RUNNER_EXIT_REBOOT, "");
	case KVM_SYSTEM_EVENT_CRASH:
		return end(vcpu, RUNNER_EXIT_PANIC, "");
	default:
		return true;
	}
}

static bool internal_error(struct vcpu *vcpu)
{
	char detail[96];

	snprintf(detail, sizeof(detail), "KVM internal error %u on vCPU %u",
		 vcpu->run->internal.suberror, vcpu->index);
	return end(vcpu, RUNNER_EXIT_ERROR, detail);
}

/* Handles one exit; false ends the vCPU. */
static bool handle_exit(struct vcpu *vcpu)
{
	char detail[96];

	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_IO:
		port_io(vcpu);
		return true;
	case KVM_EXIT_MMIO:
		memory_io(vcpu);
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return true;
	case KVM_EXIT_SHUTDOWN:
		return end(vcpu, RUNNER_EXIT_TRIPLE_FAULT, "");
	case KVM_EXIT_SYSTEM_EVENT:
		return system_event(vcpu);
	case KVM_EXIT_INTERNAL_ERROR:
		return internal_error(vcpu);
	default:
		snprintf(detail, sizeof(detail), "unexpected KVM exit %u on vCPU %u",
			 vcpu->run->exit_reason, vcpu->index);
		return end(vcpu, RUNNER_EXIT_ERROR, detail);
	}
}

static void *run_vcpu(void *user)
{
	struct vcpu *vcpu = user;
	char name[16], detail[96];

	snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
	pthread_setname_np(pthread_self(), name);
	while (!atomic_load(&vcpu->stop)) {
		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			snprintf(detail, sizeof(detail), "KVM_RUN of vCPU %u: %s", vcpu->index,
				 strerrordesc_np(errno));
			end(vcpu, RUNNER_EXIT_ERROR, detail);
			break;
		}
		atomic_fetch_add_explicit(&vcpu->exits, 1, memory_order_relaxed);
		if (!handle_exit(vcpu))
			break;
	}
	return NULL;
}

static void wake_up(int number)
{
	(void)number;
}

int vcpu_start(struct vcpu *vcpu, struct error *err)
{
	struct sigaction action = {.sa_handler = wake_up};
	pthread_attr_t attr;
	int r;

	sigaction(SIGUSR1, &action, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	r = pthread_create(&vcpu->thread, &attr, run_vcpu, vcpu);
	pthread_attr_destroy(&attr);
	if (r)
		return error_set_errno(err, -r, "cannot start the thread of vCPU %u", vcpu->index);
	vcpu->started = true;
	return 0;
}

void vcpu_kick_out(struct vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	atomic_store(&vcpu->stop, true);
	/* Set before the signal: KVM_RUN returns even if the signal came between the check of stop
	 * and the entry. */
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(vcpu->thread, SIGUSR1);
}

void vcpu_stop(struct vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	pthread_join(vcpu->thread, NULL);
	vcpu->started = false;
}
