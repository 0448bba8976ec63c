// SPDX-License-Identifier: Apache-2.0
#include "vmm/cpuid.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>

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
static void topology(struct kvm_cpuid_entry2 *entry, unsigned index, unsigned n_max)
{
	bool core = entry->index == 1;

	entry->eax = core ? bits_for(n_max) : 0;
	entry->ebx = core ? n_max : 1;
	entry->ecx = entry->index | (core ? LEVEL_CORE << 8 : LEVEL_SMT << 8);
	entry->edx = index;
	if (entry->index > 1)
		entry->eax = entry->ebx = 0, entry->ecx = entry->index;
}

static void patch(struct kvm_cpuid_entry2 *entry, unsigned index, unsigned n_max, bool deadline)
{
	switch (entry->function) {
	case 0x1:
		entry->ebx = (entry->ebx & 0x0000ffff) | n_max << 16 | index << 24;
		entry->ecx |= LEAF1_ECX_HYPERVISOR | (deadline ? LEAF1_ECX_TSC_DEADLINE : 0);
		entry->edx = n_max > 1 ? entry->edx | LEAF1_EDX_HTT : entry->edx & ~LEAF1_EDX_HTT;
		break;
	case 0x4: /* Intel cache leaves: cores in the package, no cache shared by threads */
		if (entry->eax & 0x1f)
			entry->eax = (entry->eax & 0x3fff) | (n_max - 1) << 26 |
				     (((entry->eax >> 5) & 7) == 3 ? (n_max - 1) << 14 : 0);
		break;
	case 0xb:
	case 0x1f:
		topology(entry, index, n_max);
		break;
	case 0x80000008: /* AMD: APIC id size and core count */
		entry->ecx = bits_for(n_max) << 12 | (n_max - 1);
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

int cpuid_init(struct cpuid *cpuid, int kvm_fd, struct error *err)
{
	*cpuid = (struct cpuid){
		.supported = calloc(1, sizeof(*cpuid->supported) +
					       ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2))};
	if (!cpuid->supported)
		return error_set(err, -ENOMEM, "out of memory");
	cpuid->supported->nent = ENTRIES_MAX;
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid->supported) < 0)
		return error_set_errno(err, -errno, "KVM does not tell its CPUID");
	cpuid->deadline = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	return 0;
}

void cpuid_deinit(struct cpuid *cpuid)
{
	free(cpuid->supported);
	cpuid->supported = NULL;
}

int cpuid_apply(const struct cpuid *cpuid, int vcpu_fd, unsigned index, unsigned n_max,
		struct error *err)
{
	struct kvm_cpuid2 *table = cpuid->supported;

	/* What patch() sets for one vCPU it sets anew for the next. */
	for (unsigned i = 0; i < table->nent; i++)
		patch(&table->entries[i], index, n_max, cpuid->deadline);
	if (ioctl(vcpu_fd, KVM_SET_CPUID2, table) < 0)
		return error_set_errno(err, -errno, "KVM refuses the CPUID of vCPU %u", index);
	return 0;
}
