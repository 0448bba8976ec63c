// SPDX-License-Identifier: Apache-2.0
#include "vmm/vcpus.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "vmm/layout.h"

#define EJECT_LOG_BURST 4u

enum {
	HOTPLUG_UP = 0,
	HOTPLUG_DOWN = 8,
	HOTPLUG_PRESENT = 16,
	HOTPLUG_EJECT = 24,
	HOTPLUG_SIZE = 28
};

static uint64_t bit(unsigned index)
{
	return UINT64_C(1) << index;
}

static uint64_t present(const struct vcpus *vcpus)
{
	return atomic_load_explicit(&vcpus->present, memory_order_relaxed);
}

static bool is_unread(void *user)
{
	const struct vcpus *vcpus = user;

	return vcpus->up | vcpus->down;
}

/* Makes vCPU `index`, without a thread. */
static int make(struct vcpus *vcpus, unsigned index, const struct cpuid *cpuid, struct error *err)
{
	struct vcpu *vcpu = calloc(1, sizeof(*vcpu));
	int r;

	if (!vcpu)
		return error_set(err, -ENOMEM, "out of memory");
	r = vcpu_init(vcpu, vcpus->kvm, vcpus->bus, cpuid, index, vcpus->n_max, err);
	if (r < 0) {
		vcpu_deinit(vcpu);
		free(vcpu);
		return r;
	}
	bus_add_call(vcpus->bus, &vcpu->call);
	vcpus->all[index] = vcpu;
	return 0;
}

static void plug(struct vcpus *vcpus, unsigned index)
{
	vcpu_begin_anew(vcpus->all[index]);
	if (!vcpus->paused)
		vcpu_unpark(vcpus->all[index]);
	vcpus->leaving &= ~bit(index);
	vcpus->asked &= ~bit(index);
	vcpus->recalled &= ~bit(index);
	vcpus->down &= ~bit(index);
	vcpus->up |= bit(index);
	atomic_fetch_or(&vcpus->present, bit(index));
	event_line_raise(&vcpus->line);
	log_info("dev=vcpus msg=plugged vcpu=%u", index);
}

/* Whether vCPU `index` can be plugged now: one that was let go of must be out of the guest first.
 */
static bool is_free(const struct vcpus *vcpus, unsigned index)
{
	return !(present(vcpus) & bit(index)) && vcpu_is_parked(vcpus->all[index]);
}

/* Those whose turn has not come yet are plugged when they have parked. */
static void grow(struct vcpus *vcpus)
{
	for (unsigned i = 0; i < vcpus->n_max; i++)
		if (vcpus_plugged(vcpus) < vcpus->target && is_free(vcpus, i))
			plug(vcpus, i);
}

/* Those the guest was not asked for yet stay as if nothing had been; the others are announced
 * again, in case it has prepared to let go. */
static void ask_back(struct vcpus *vcpus)
{
	unsigned n = vcpus_plugged(vcpus) - (unsigned)__builtin_popcountll(vcpus->asked);

	for (unsigned i = 0; i < vcpus->n_max && n < vcpus->target; i++) {
		if (!(vcpus->asked & bit(i)))
			continue;
		n++;
		if (vcpus->down & bit(i)) {
			vcpus->asked &= ~bit(i);
		} else {
			vcpus->up |= bit(i);
			vcpus->recalled |= bit(i);
		}
		vcpus->down &= ~bit(i);
	}
}

/* One the guest has not heard of stays in `up`, which it reads first: it may be called back. */
static void shrink(struct vcpus *vcpus)
{
	unsigned n = vcpus_plugged(vcpus);

	for (unsigned i = vcpus->n_max - 1; i > 0 && n > vcpus->target; i--) {
		if (!(present(vcpus) & bit(i)))
			continue;
		n--;
		vcpus->asked |= bit(i);
		vcpus->recalled &= ~bit(i);
		vcpus->down |= bit(i);
	}
}

/* After vcpus_stop() requests may still come until the runner's socket is closed. */
static bool is_over(const struct vcpus *vcpus)
{
	return atomic_load(&vcpus->bus->released);
}

int vcpus_set_target(struct vcpus *vcpus, unsigned n, struct error *err)
{
	if (n < 1 || n > vcpus->n_max)
		return error_set(err, -ERANGE, "the zone can have 1 to %u vCPUs, not %u",
				 vcpus->n_max, n);
	if (is_over(vcpus))
		return error_set(err, -ESHUTDOWN, "the zone has ended");
	vcpus->target = n;
	ask_back(vcpus);
	grow(vcpus);
	shrink(vcpus);
	event_line_raise(&vcpus->line);
	return 0;
}

static void eject(struct vcpus *vcpus, uint32_t index)
{
	if (index >= vcpus->n_max || !(vcpus->asked & ~vcpus->down & bit(index))) {
		if (log_allowed(&vcpus->ejects, EJECT_LOG_BURST, NULL))
			log_warning("dev=vcpus msg=\"the guest ejects a vCPU that it was not asked "
				    "for\" vcpu=%u",
				    index);
		return;
	}
	atomic_fetch_and(&vcpus->present, ~bit(index));
	vcpus->asked &= ~bit(index);
	vcpus->up &= ~bit(index);
	vcpus->leaving |= bit(index);
	vcpu_park(vcpus->all[index]);
	log_info("dev=vcpus msg=ejected vcpu=%u", index);
	ask_back(vcpus);
	grow(vcpus);
}

static uint32_t take(uint64_t *bits, unsigned shift)
{
	uint32_t taken = (uint32_t)(*bits >> shift);

	*bits &= ~((uint64_t)taken << shift);
	return taken;
}

static bool hotplug_fast(void *user, struct bus_access *access)
{
	const struct vcpus *vcpus = user;
	uint32_t value;

	if (access->write || access->len != sizeof(value) || access->off % sizeof(value) ||
	    access->off < HOTPLUG_PRESENT || access->off >= HOTPLUG_EJECT)
		return false;
	value = (uint32_t)(atomic_load(&vcpus->present) >> (access->off - HOTPLUG_PRESENT) * 8);
	memcpy(access->data, &value, sizeof(value));
	return true;
}

static void hotplug_access(void *user, struct bus_access *access)
{
	struct vcpus *vcpus = user;
	uint32_t value = 0;

	if (access->len != sizeof(value) || access->off % sizeof(value))
		return;
	if (access->write) {
		memcpy(&value, access->data, sizeof(value));
		if (access->off == HOTPLUG_EJECT)
			eject(vcpus, value);
		return;
	}
	if (access->off < HOTPLUG_DOWN)
		value = take(&vcpus->up, (unsigned)(access->off - HOTPLUG_UP) * 8);
	else if (access->off < HOTPLUG_PRESENT)
		value = take(&vcpus->down, (unsigned)(access->off - HOTPLUG_DOWN) * 8);
	memcpy(access->data, &value, sizeof(value));
}

static bool all_parked(const struct vcpus *vcpus)
{
	for (unsigned i = 0; i < vcpus->n_max; i++)
		if (!vcpu_is_parked(vcpus->all[i]))
			return false;
	return true;
}

static void end_pause(struct vcpus *vcpus, int code)
{
	void (*on_paused)(void *user, int code) = vcpus->on_paused;

	vcpus->on_paused = NULL;
	if (on_paused)
		on_paused(vcpus->user, code);
}

/* A vCPU may have parked. */
static void on_ring(void *user)
{
	struct vcpus *vcpus = user;

	if (vcpus->on_paused && all_parked(vcpus))
		end_pause(vcpus, 0);
	if (vcpus->leaving && vcpus_plugged(vcpus) < vcpus->target)
		grow(vcpus);
}

static int check_max(const struct vcpus *vcpus, struct error *err)
{
	int max = ioctl(vcpus->kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

	if (max > 0 && vcpus->n_max > (unsigned)max)
		return error_set(err, -ERANGE,
				 "this host's KVM gives a zone at most %d vCPUs, not %u", max,
				 vcpus->n_max);
	return 0;
}

int vcpus_init(struct vcpus *vcpus, struct kvm *kvm, struct bus *bus, int event_fd, unsigned n_boot,
	       unsigned n_max, struct error *err)
{
	_cleanup_(cpuid_deinit) struct cpuid cpuid = {.supported = NULL};
	int r;

	assert(n_boot >= 1 && n_boot <= n_max && n_max <= VCPUS_MAX);
	*vcpus = (struct vcpus){.kvm = kvm, .bus = bus, .n_max = n_max, .target = n_boot};
	event_line_init(&vcpus->line, bus->loop, event_fd, is_unread, vcpus);
	bus->on_ring = on_ring;
	bus->ring_user = vcpus;
	bus_add_range(bus, &(struct bus_range){.start = PORT_CPU_HOTPLUG,
					       .len = HOTPLUG_SIZE,
					       .port = true,
					       .access = hotplug_access,
					       .fast = hotplug_fast,
					       .user = vcpus});
	r = check_max(vcpus, err);
	if (r == 0)
		r = cpuid_init(&cpuid, kvm->fd, err);
	for (unsigned i = 0; i < n_max && r == 0; i++) {
		r = make(vcpus, i, &cpuid, err);
		if (i < n_boot)
			atomic_fetch_or(&vcpus->present, bit(i));
		else
			vcpus->leaving |= bit(i);
	}
	return r;
}

void vcpus_deinit(struct vcpus *vcpus)
{
	for (unsigned i = 0; i < VCPUS_MAX; i++) {
		if (vcpus->all[i])
			vcpu_deinit(vcpus->all[i]);
		free(vcpus->all[i]);
		vcpus->all[i] = NULL;
	}
}

int vcpus_start(struct vcpus *vcpus, struct error *err)
{
	int r = 0;

	for (unsigned i = 0; i < vcpus->n_max && r == 0; i++)
		r = vcpu_start(vcpus->all[i], vcpus->paused || !(present(vcpus) & bit(i)), err);
	return r;
}

void vcpus_stop(struct vcpus *vcpus)
{
	if (!vcpus->bus)
		return;
	vcpus->bus->on_ring = NULL;
	end_pause(vcpus, -ECANCELED);
	for (unsigned i = 0; i < VCPUS_MAX; i++)
		if (vcpus->all[i])
			vcpu_kick_out(vcpus->all[i]);
	bus_release(vcpus->bus);
	for (unsigned i = 0; i < VCPUS_MAX; i++)
		if (vcpus->all[i])
			vcpu_stop(vcpus->all[i]);
}

unsigned vcpus_plugged(const struct vcpus *vcpus)
{
	return (unsigned)__builtin_popcountll(present(vcpus));
}

unsigned vcpus_target(const struct vcpus *vcpus)
{
	return vcpus->target;
}

int vcpus_pause(struct vcpus *vcpus, void (*on_paused)(void *user, int code), void *user)
{
	if (is_over(vcpus))
		return -ESHUTDOWN;
	if (vcpus->on_paused)
		return -EBUSY;
	if (vcpus->paused && all_parked(vcpus))
		return 1;
	vcpus->paused = true;
	vcpus->on_paused = on_paused;
	vcpus->user = user;
	for (unsigned i = 0; i < vcpus->n_max; i++)
		vcpu_park(vcpus->all[i]);
	/* All may be parked already. */
	bus_ring(vcpus->bus);
	return 0;
}

int vcpus_resume(struct vcpus *vcpus)
{
	if (!vcpus->paused)
		return 1;
	vcpus->paused = false;
	for (unsigned i = 0; i < vcpus->n_max; i++)
		if (present(vcpus) & bit(i))
			vcpu_unpark(vcpus->all[i]);
	end_pause(vcpus, -ECANCELED);
	return 0;
}

bool vcpus_are_paused(const struct vcpus *vcpus)
{
	return vcpus->paused && !vcpus->on_paused;
}

void vcpus_info(const struct vcpus *vcpus, unsigned index, struct vcpus_info *info)
{
	const struct vcpu *vcpu = vcpus->all[index];

	*info = (struct vcpus_info){.state = VCPU_STATE_ABSENT,
				    .asked = vcpus->asked & ~vcpus->recalled & bit(index)};
	if (!vcpu) /* vcpus_init() has failed */
		return;
	info->exits = atomic_load(&vcpu->counters.exits);
	info->port_accesses = atomic_load(&vcpu->counters.port_accesses);
	info->memory_accesses = atomic_load(&vcpu->counters.memory_accesses);
	info->interrupted = atomic_load(&vcpu->counters.interrupted);
	if (!(present(vcpus) & bit(index)))
		return;
	info->state = VCPU_STATE_RUNNING;
	if (vcpus->paused)
		info->state = vcpu_is_parked(vcpu) ? VCPU_STATE_PARKED : VCPU_STATE_PARKING;
	info->has_registers =
		info->state == VCPU_STATE_PARKED && vcpu_registers(vcpu, &info->registers) == 0;
}
