// SPDX-License-Identifier: Apache-2.0
/*
 * The registers by which vCPUs come and go, with a host that wants more and fewer of them. The
 * vCPUs are KVM's (without one there is nothing to do) and never run. The host's books: the first
 * is always there, the guest plugs nothing, and each of its ejects was asked for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/util.h"
#include "vmm/guest_memory.h"
#include "vmm/kvm.h"
#include "vmm/layout.h"
#include "vmm/vcpus.h"

#define EXIT_SKIP 77 /* as CTest is told */
#define STEPS_MAX 300
#define N_MAX	  6u

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One step of an input. */
struct step {
	uint8_t what, len_bits, off, odd;
	uint32_t value;
};

/* Made once: a VM costs more than all else. It is paused: threads that are started only park. */
static struct {
	struct loop *loop;
	struct guest_memory memory;
	struct kvm kvm;
	struct bus bus;
	struct vcpus vcpus;
	int event_fd;
} zone;

static void ended(void *user, const char *reason, const char *detail)
{
	(void)user, (void)reason, (void)detail;
	abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct error err = ERROR_NULL;

	(void)argc, (void)argv;
	if (access("/dev/kvm", R_OK | W_OK) < 0) {
		puts("SKIP: /dev/kvm is not there or not ours to open");
		exit(EXIT_SKIP);
	}
	zone.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop_new(&zone.loop, 16, 16) < 0 ||
	    guest_memory_init(&zone.memory, 16, 16, false, &err) < 0 ||
	    kvm_init(&zone.kvm, -1, &zone.memory, &err) < 0 ||
	    bus_init(&zone.bus, zone.loop, ended, NULL) < 0 ||
	    vcpus_init(&zone.vcpus, &zone.kvm, &zone.bus, zone.event_fd, N_MAX, N_MAX, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	zone.vcpus.paused = true;
	return 0;
}

/* The books as they are when a zone starts, with all vCPUs made before. */
static void begin(void)
{
	struct vcpus *vcpus = &zone.vcpus;

	atomic_store(&vcpus->present, (UINT64_C(1) << N_MAX) - 1);
	vcpus->target = N_MAX;
	vcpus->up = vcpus->down = vcpus->asked = vcpus->recalled = vcpus->leaving = 0;
	vcpus->ejects.used = UINT32_MAX / 2;
}

static void guest_step(const struct step *step)
{
	const struct bus_range *range = &zone.bus.ranges[zone.bus.n_ranges - 1];
	uint64_t before = atomic_load(&zone.vcpus.present), asked = zone.vcpus.asked, after;
	struct bus_access access = {.write = step->what & 0x80,
				    .len = (uint8_t)(1u << step->len_bits % 4),
				    .off = step->off % range->len};
	uint64_t value = step->odd & 1 ? step->value : step->value % (N_MAX + 2);

	if (access.off + access.len > range->len)
		return;
	memcpy(access.data, &value, sizeof(value));
	if (!range->fast(range->user, &access))
		range->access(range->user, &access);
	after = atomic_load(&zone.vcpus.present);
	if (!(after & 1) || (before & ~after & ~asked) || __builtin_popcountll(before & ~after) > 1)
		abort();
	/* One that is let go of makes room for those that the host still wants. */
	if (after & ~before && (!asked || vcpus_plugged(&zone.vcpus) > zone.vcpus.target))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	for (unsigned n = 0; size >= sizeof(struct step) && n < STEPS_MAX; n++) {
		struct error err = ERROR_NULL;
		struct step step;

		memcpy(&step, data, sizeof(step));
		data += sizeof(step);
		size -= sizeof(step);
		if (step.what % 4)
			guest_step(&step);
		else
			(void)vcpus_set_target(&zone.vcpus, step.value % (N_MAX + 1), &err);
		if (vcpus_plugged(&zone.vcpus) < 1 || vcpus_plugged(&zone.vcpus) > N_MAX ||
		    vcpus_target(&zone.vcpus) < 1)
			abort();
	}
	return 0;
}
