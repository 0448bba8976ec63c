// SPDX-License-Identifier: Apache-2.0
/*
 * vmm_exits ZONE_VMM EXITS_ELF [RUNS]: exits a second of a guest that reads a port in a tight loop,
 * one that the vCPU's thread answers and one that the loop's thread answers. The peer is the
 * plainest KVM_RUN loop there can be, with the same two instructions in the guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "base/clock.h"
#include "zone.h"

#define N_EXITS	  20000u /* as in guest/exits.c */
#define RUNS_MAX  101u
#define RAW_BYTES 0x10000u

/* inb (%dx), %al; loop -1; hlt: entered in 32-bit mode with ECX and EDX set. */
static const uint8_t raw_code[] = {0xec, 0xe2, 0xfd, 0xf4};

static double per_second(uint64_t begin)
{
	return N_EXITS * 1e9 / (double)(clock_now_ns() - begin);
}

static void run_ours(const struct zone_options *options, double *fast, double *slow)
{
	struct zone zone;
	uint64_t begin;

	zone_prepare(&zone, options);
	zone_exec(&zone, options);
	zone_wait_for(&zone, '1');
	begin = clock_now_ns();
	zone_wait_for(&zone, '2');
	*fast = per_second(begin);
	begin = clock_now_ns();
	zone_wait_for(&zone, '3');
	*slow = per_second(begin);
	zone_end(&zone);
}

static void set_registers(int vcpu)
{
	struct kvm_segment flat = {.limit = 0xffffffff, .present = 1, .db = 1, .s = 1, .g = 1};
	struct kvm_regs regs = {.rflags = 2, .rcx = N_EXITS, .rdx = 0x3fd};
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		bench_die("KVM_GET_SREGS", -errno);
	flat.type = 3;
	flat.selector = 16;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
	flat.type = 11;
	flat.selector = 8;
	sregs.cs = flat;
	sregs.cr0 |= 1; /* PE */
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
		bench_die("KVM_SET_REGS", -errno);
}

static void run_until_hlt(int vcpu, struct kvm_run *run)
{
	do {
		if (ioctl(vcpu, KVM_RUN, 0) < 0)
			bench_die("KVM_RUN", -errno);
		if (run->exit_reason == KVM_EXIT_IO)
			*((uint8_t *)run + run->io.data_offset) = 0;
		else if (run->exit_reason != KVM_EXIT_HLT)
			bench_die("the plain loop's guest does not run", 0);
	} while (run->exit_reason != KVM_EXIT_HLT);
}

static double run_raw(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm = ioctl(kvm, KVM_CREATE_VM, 0);
	uint8_t *memory =
		mmap(NULL, RAW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = {.memory_size = RAW_BYTES,
						     .userspace_addr = (uintptr_t)memory};
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0), len = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run;
	uint64_t begin;

	if (kvm < 0 || vm < 0 || vcpu < 0 || memory == MAP_FAILED || len < 0)
		bench_die("plain KVM", -errno);
	run = mmap(NULL, (size_t)len, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	memcpy(memory, raw_code, sizeof(raw_code));
	if (run == MAP_FAILED || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		bench_die("plain KVM", -errno);
	set_registers(vcpu);
	begin = clock_now_ns();
	run_until_hlt(vcpu, run);
	munmap(run, (size_t)len);
	close(vcpu);
	close(vm);
	close(kvm);
	munmap(memory, RAW_BYTES);
	return per_second(begin);
}

int main(int argc, char **argv)
{
	static double fast[RUNS_MAX], slow[RUNS_MAX], raw[RUNS_MAX];
	struct zone_options options = {.memory_mib = 32, .vcpus = 1, .more = ""};
	unsigned runs = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 5;
	double peer;

	if (argc < 3 || runs < 1 || runs > RUNS_MAX) {
		fputs("usage: vmm_exits ZONE_VMM EXITS_ELF [RUNS]\n", stderr);
		return 2;
	}
	options.program = argv[1];
	options.guest = argv[2];
	for (unsigned i = 0; i < runs; i++) {
		run_ours(&options, &fast[i], &slow[i]);
		raw[i] = run_raw();
	}
	peer = bench_median(raw, runs);
	bench_report("exits", "1/s", bench_median(fast, runs), peer, "plain KVM_RUN loop");
	bench_report("exits_to_loop", "1/s", bench_median(slow, runs), peer, "plain KVM_RUN loop");
	return 0;
}
