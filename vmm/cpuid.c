// SPDX-License-Identifier: Apache-2.0
#include "vmm/cpuid.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"

#define ENTRIES_MAX 256u

#define LEAF1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF1_ECX_HYPERVISOR   (1u << 31)
#define LEAF1_EDX_HTT	       (1u << 28)
#define LEVEL_SMT	       1u
#define LEVEL_CORE	       2u

static unsigned bits_for(unsigned count)
{
	return count <= 1 ? 0 : 32u - (unsigned)__builtin_clz(count - 1);
}

/* Extended topology (Intel SDM vol. 2, CPUID 0BH): level 0 threads of a core, level 1 cores of the
 * package. */
static void topology(struct kvm_cpuid_entry2 *entry, unsigned index, unsigned n_vcpus)
{
	bool core = entry->index == 1;

	entry->eax = core ? bits_for(n_vcpus) : 0;
	entry->ebx = core ? n_vcpus : 1;
	entry->ecx = entry->index | (core ? LEVEL_CORE << 8 : LEVEL_SMT << 8);
	entry->edx = index;
	if (entry->index > 1)
		entry->eax = entry->ebx = 0, entry->ecx = entry->index;
}

static void patch(struct kvm_cpuid_entry2 *entry, unsigned index, unsigned n_vcpus, bool deadline)
{
	switch (entry->function) {
	case 0x1:
		entry->ebx = (entry->ebx & 0x0000ffff) | n_vcpus << 16 | index << 24;
		entry->ecx |= LEAF1_ECX_HYPERVISOR | (deadline ? LEAF1_ECX_TSC_DEADLINE : 0);
		entry->edx = n_vcpus > 1 ? entry->edx | LEAF1_EDX_HTT : entry->edx & ~LEAF1_EDX_HTT;
		break;
	case 0x4: /* Intel cache leaves: cores in the package, no cache shared by threads */
		if (entry->eax & 0x1f)
			entry->eax = (entry->eax & 0x3fff) | (n_vcpus - 1) << 26 |
				     (((entry->eax >> 5) & 7) == 3 ? (n_vcpus - 1) << 14 : 0);
		break;
	case 0xb:
	case 0x1f:
		topology(entry, index, n_vcpus);
		break;
	case 0x80000008: /* AMD: APIC id size and core count */
		entry->ecx = bits_for(n_vcpus) << 12 | (n_vcpus - 1);
		break;
	case 0x8000001e: /* AMD: APIC id, core id, node */
		entry->eax = index;
		entry->ebx = index & 0xff;
		entry->ecx = 0;
		break;
	default:
		break;
	}
}

int cpuid_apply(int kvm_fd, int vcpu_fd, unsigned index, unsigned n_vcpus, struct error *err)
{
	_cleanup_(freep) struct kvm_cpuid2 *cpuid = NULL;
	bool deadline = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;

	cpuid = calloc(1, sizeof(*cpuid) + ENTRIES_MAX * sizeof(cpuid->entries[0]));
	if (!cpuid)
		return -ENOMEM;
	cpuid->nent = ENTRIES_MAX;
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0)
		return error_set_errno(err, -errno, "KVM does not tell its CPUID");
	for (unsigned i = 0; i < cpuid->nent; i++)
		patch(&cpuid->entries[i], index, n_vcpus, deadline);
	if (ioctl(vcpu_fd, KVM_SET_CPUID2, cpuid) < 0)
		return error_set_errno(err, -errno, "KVM refuses the CPUID of vCPU %u", index);
	return 0;
}
