// SPDX-License-Identifier: Apache-2.0
/*
 * The guest of vcpus_host.c's second test: a vCPU that runs and speaks, one that is halted, one
 * that was never started. Over a pause its TSC goes on, kvm-clock with it, and kvm-clock says that
 * the guest was stopped.
 */
#include "secondary.h"

#define GAP_CYCLES    (UINT64_C(1) << 31) /* about a second; a busy host may do that too */
#define TICK_CYCLES   (UINT64_C(1) << 27)
#define KVM_SIGNATURE 0x40000000u
#define KVM_FEATURES  0x40000001u
#define KVM_CLOCK2    (1u << 3)
#define MSR_KVM_CLOCK 0x4b564d01u
#define STOPPED	      2u
#define NS_APART_MAX  2000000

/* Linux, Documentation/virt/kvm/x86/msr.rst */
static volatile struct __attribute__((packed, aligned(32))) {
	uint32_t version, pad;
	uint64_t tsc, system_ns;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
} clock;

struct params {
	uint64_t tsc, system_ns;
	uint32_t mul;
	int8_t shift;
};

static volatile uint32_t halted;

void secondary_main(unsigned index)
{
	(void)index;
	halted = 1;
}

static uint64_t read_tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static uint32_t cpuid_eax(uint32_t leaf)
{
	uint32_t eax = leaf, ebx, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return eax;
}

static bool start_clock(void)
{
	if (cpuid_eax(KVM_SIGNATURE) < KVM_FEATURES || !(cpuid_eax(KVM_FEATURES) & KVM_CLOCK2))
		return false;
	__asm__ volatile("wrmsr" ::"c"(MSR_KVM_CLOCK), "a"((uint32_t)&clock | 1), "d"(0));
	return clock.mul != 0;
}

static struct params read_params(void)
{
	struct params params;
	uint32_t version;

	do {
		version = clock.version & ~1u;
		params = (struct params){clock.tsc, clock.system_ns, clock.mul, clock.shift};
	} while (clock.version != version);
	return params;
}

static int64_t time_at(const struct params *params, uint64_t tsc)
{
	uint64_t delta = tsc - params->tsc;

	delta = params->shift < 0 ? delta >> -params->shift : delta << params->shift;
	/* (delta * mul) >> 32 without 128 bits */
	return (int64_t)(params->system_ns + (delta >> 32) * params->mul +
			 ((delta & 0xffffffff) * params->mul >> 32));
}

/* The time of before the pause, carried on by the TSC, is still kvm-clock's time. */
static void check_clock(const struct params *before)
{
	struct params now = read_params();
	uint64_t tsc = read_tsc();
	int64_t apart = time_at(&now, tsc) - time_at(before, tsc);

	CHECK(apart < NS_APART_MAX && apart > -NS_APART_MAX, apart / 4096);
	if (clock.flags & STOPPED)
		print("STOPPED\n");
	clock.flags &= (uint8_t)~STOPPED;
}

void guest_main(const struct start_info *info)
{
	bool has_clock = start_clock();
	struct params params;
	uint64_t last, tick;

	(void)info;
	secondary_start(1);
	CHECK(secondary_wait(&halted, 1), 0);
	print(has_clock ? "PASS\n" : "no kvm-clock\nPASS\n");
	params = read_params();
	last = tick = read_tsc();
	for (;;) {
		uint64_t now = read_tsc();

		if (now - last > GAP_CYCLES) {
			print("GAP ");
			print_hex((uint32_t)((now - last) >> 20));
			print("\n");
			if (has_clock)
				check_clock(&params);
		}
		if (now - tick > TICK_CYCLES) {
			print("tick\n");
			params = read_params();
			tick = now;
		}
		last = now;
	}
}
