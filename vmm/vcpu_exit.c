// SPDX-License-Identifier: Apache-2.0
#include "vmm/vcpu_exit.h"

#include <inttypes.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "base/runner.h"
#include "base/util.h"

#define DETAIL_MAX 96

/* #syscalls vcpu: ioctl(_, KVM_GET_REGS) ioctl(_, KVM_GET_SREGS) write */
/* Only this vCPU's thread speaks, and only once, right before it ends: no limit is needed. */
static void report(const struct vcpu *vcpu, enum log_level level, const char *what)
{
	struct kvm_regs regs = {0};
	struct kvm_sregs sregs = {0};

	/* What cannot be read stays 0: the line is worth writing all the same. */
	(void)ioctl(vcpu->fd, KVM_GET_REGS, &regs);
	(void)ioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	log_write(level,
		  "dev=vcpu%u %s rip=%#llx rsp=%#llx rflags=%#llx cs=%#llx cr0=%#llx cr2=%#llx "
		  "cr3=%#llx cr4=%#llx efer=%#llx",
		  vcpu->index, what, regs.rip, regs.rsp, regs.rflags, sregs.cs.base, sregs.cr0,
		  sregs.cr2, sregs.cr3, sregs.cr4, sregs.efer);
}

static bool end(struct vcpu *vcpu, const char *reason, const char *detail)
{
	bus_end(vcpu->bus, &vcpu->call, reason, detail);
	return false;
}

/* A failure: `detail` goes into the exit record, and with `more` (key=value) into the log. */
static bool fail(struct vcpu *vcpu, const char *detail, const char *more)
{
	char what[2 * DETAIL_MAX + 64];

	snprintf(what, sizeof(what), "msg=\"%s\"%s", detail, more);
	report(vcpu, LOG_LEVEL_ERROR, what);
	return end(vcpu, RUNNER_EXIT_ERROR, detail);
}

static void port_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	atomic_fetch_add_explicit(&vcpu->counters.port_accesses, 1, memory_order_relaxed);
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size)
		bus_do(vcpu->bus, &vcpu->call, true, run->io.direction == KVM_EXIT_IO_OUT,
		       run->io.port, data, run->io.size);
}

static void memory_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	atomic_fetch_add_explicit(&vcpu->counters.memory_accesses, 1, memory_order_relaxed);
	if (run->mmio.len > sizeof(run->mmio.data))
		return;
	bus_do(vcpu->bus, &vcpu->call, false, run->mmio.is_write, run->mmio.phys_addr,
	       run->mmio.data, run->mmio.len);
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

static bool shutdown(struct vcpu *vcpu)
{
	report(vcpu, LOG_LEVEL_WARNING, "msg=\"triple fault\"");
	return end(vcpu, RUNNER_EXIT_TRIPLE_FAULT, "");
}

/* The instruction that KVM could not emulate, as hex, if it says (api.rst,
 * KVM_EXIT_INTERNAL_ERROR).
 */
static void instruction(const struct kvm_run *run, char *text, size_t size)
{
	const uint8_t *bytes = run->emulation_failure.insn_bytes;
	uint8_t n = run->emulation_failure.insn_size;
	size_t used;

	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION || run->internal.ndata < 3 ||
	    !(run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
		return;
	if (n > sizeof(run->emulation_failure.insn_bytes))
		n = sizeof(run->emulation_failure.insn_bytes);
	used = (size_t)snprintf(text, size, " insn=");
	for (uint8_t i = 0; i < n && used + 3 <= size; i++)
		used += (size_t)snprintf(text + used, size - used, "%02x", bytes[i]);
}

static bool internal_error(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	char detail[DETAIL_MAX], more[DETAIL_MAX] = "", insn[48] = "";

	snprintf(detail, sizeof(detail), "KVM internal error %u on vCPU %u", run->internal.suberror,
		 vcpu->index);
	instruction(run, insn, sizeof(insn));
	snprintf(more, sizeof(more), " suberror=%u ndata=%u%s", run->internal.suberror,
		 run->internal.ndata, insn);
	return fail(vcpu, detail, more);
}

static bool unexpected(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	char detail[DETAIL_MAX], more[DETAIL_MAX] = "";

	snprintf(detail, sizeof(detail), "unexpected KVM exit %u on vCPU %u", run->exit_reason,
		 vcpu->index);
	if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
		snprintf(more, sizeof(more), " hardware_reason=%#" PRIx64 " cpu=%u",
			 (uint64_t)run->fail_entry.hardware_entry_failure_reason,
			 run->fail_entry.cpu);
	else if (run->exit_reason == KVM_EXIT_UNKNOWN)
		snprintf(more, sizeof(more), " hardware_reason=%#" PRIx64,
			 (uint64_t)run->hw.hardware_exit_reason);
	return fail(vcpu, detail, more);
}

void vcpu_exit_failed(struct vcpu *vcpu, int errno_value)
{
	char detail[DETAIL_MAX], more[DETAIL_MAX];

	snprintf(detail, sizeof(detail), "KVM_RUN of vCPU %u: %s", vcpu->index,
		 strerrordesc_np(errno_value));
	snprintf(more, sizeof(more), " errno=%d exit=%u", errno_value, vcpu->run->exit_reason);
	fail(vcpu, detail, more);
}

bool vcpu_exit_handle(struct vcpu *vcpu)
{
	atomic_fetch_add_explicit(&vcpu->counters.exits, 1, memory_order_relaxed);
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
		return shutdown(vcpu);
	case KVM_EXIT_SYSTEM_EVENT:
		return system_event(vcpu);
	case KVM_EXIT_INTERNAL_ERROR:
		return internal_error(vcpu);
	default:
		return unexpected(vcpu);
	}
}
