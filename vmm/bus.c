// SPDX-License-Identifier: Apache-2.0
#include "vmm/bus.h"

#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/runner.h"
#include "base/util.h"

/*
 * Accesses come in bursts (a driver that sets up its device), and waking a thread costs more than
 * most of them: so both sides look for a while before they sleep.
 */
#define LOOP_LOOKS_NS	   100000u /* since it served the last one */
#define LOOP_LOOKS_MOST_NS 500000u /* in all: other work waits meanwhile */
#define VCPU_LOOKS_NS	   50000u

enum { CALL_IDLE, CALL_PENDING, CALL_ASLEEP /* pending, and its vCPU sleeps */ };

/*
 * #syscalls vcpu: futex(_, FUTEX_WAIT_PRIVATE) write
 * #syscalls loop: futex(_, FUTEX_WAKE_PRIVATE) write
 */
static void futex_wait(_Atomic uint32_t *word, uint32_t while_value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void release(struct bus_call *call)
{
	if (atomic_exchange(&call->state, CALL_IDLE) == CALL_ASLEEP)
		futex_wake(&call->state);
}

static bool serve(struct bus *bus, struct bus_call *call)
{
	if (atomic_load(&call->state) == CALL_IDLE)
		return false;
	if (atomic_load(&bus->released))
		; /* the vCPU has gone on without an answer */
	else if (call->end_reason)
		bus->on_end(bus->user, call->end_reason, call->end_detail);
	else
		call->range->access(call->range->user, &call->access);
	release(call);
	return true;
}

static bool serve_all(struct bus *bus)
{
	bool served = false;

	for (unsigned i = 0; i < bus->n_calls; i++)
		served |= serve(bus, bus->calls[i]);
	return served;
}

/* Serves calls for as long as they come one right after another. */
static void serve_burst(struct bus *bus)
{
	uint64_t start = clock_now_ns(), now = start, last = start;

	atomic_store(&bus->attentive, true);
	while (now - last < LOOP_LOOKS_NS && now - start < LOOP_LOOKS_MOST_NS) {
		if (serve_all(bus))
			last = now;
		__builtin_ia32_pause();
		now = clock_now_ns();
	}
	/* Sequentially consistent: a call that did not ring because of it is seen from here. */
	atomic_store(&bus->attentive, false);
}

/* Without this read under way every vCPU would sleep for ever: it is tried until it starts. */
static void listen_again(struct bus *bus)
{
	if (loop_read(bus->loop, &bus->doorbell_op, bus->doorbell_slot, &bus->doorbell_count,
		      sizeof(bus->doorbell_count), 0) < 0)
		loop_defer(bus->loop, &bus->doorbell_op);
}

static void doorbell_rang(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct bus *bus = container_of(op, struct bus, doorbell_op);

	(void)cqe_flags;
	if (res < 0 && res != -EINTR && res != -EAGAIN && res != -ECANCELED) {
		bus->on_end(bus->user, RUNNER_EXIT_ERROR, "the vCPUs cannot be heard");
		return;
	}
	if (bus->looks)
		serve_burst(bus);
	serve_all(bus);
	if (bus->on_ring)
		bus->on_ring(bus->ring_user);
	listen_again(bus);
}

/* With one processor, whoever looks keeps the other from working. */
static bool has_several_cpus(void)
{
	cpu_set_t cpus;

	return sched_getaffinity(0, sizeof(cpus), &cpus) < 0 || CPU_COUNT(&cpus) > 1;
}

int bus_init(struct bus *bus, struct loop *loop,
	     void (*on_end)(void *user, const char *reason, const char *detail), void *user)
{
	memset(bus, 0, sizeof(*bus));
	bus->loop = loop;
	bus->on_end = on_end;
	bus->user = user;
	bus->looks = has_several_cpus();
	bus->doorbell_op.done = doorbell_rang;
	bus->doorbell = eventfd(0, EFD_CLOEXEC);
	if (bus->doorbell < 0)
		return -errno;
	bus->doorbell_slot = loop_slot_add(loop, bus->doorbell);
	if (bus->doorbell_slot < 0)
		return bus->doorbell_slot;
	listen_again(bus);
	return 0;
}

void bus_deinit(struct bus *bus)
{
	close_fdp(&bus->doorbell);
}

void bus_add_range(struct bus *bus, const struct bus_range *range)
{
	assert(bus->n_ranges < BUS_RANGES_MAX);
	bus->ranges[bus->n_ranges++] = *range;
}

void bus_add_call(struct bus *bus, struct bus_call *call)
{
	assert(bus->n_calls < BUS_VCPUS_MAX);
	bus->calls[bus->n_calls++] = call;
}

static const struct bus_range *find(const struct bus *bus, bool port, uint64_t addr, unsigned len)
{
	for (unsigned i = 0; i < bus->n_ranges; i++) {
		const struct bus_range *range = &bus->ranges[i];

		if (range->port == port && addr >= range->start &&
		    range_fits(addr - range->start, len, range->len))
			return range;
	}
	return NULL;
}

void bus_ring(struct bus *bus)
{
	const uint64_t one = 1;

	if (write(bus->doorbell, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN); /* a full counter rings as well */
}

static void ring(struct bus *bus, struct bus_call *call)
{
	/* Sequentially consistent, as in bus_release(): one of the two sees what the other stored.
	 */
	atomic_store(&call->state, CALL_PENDING);
	if (!atomic_load(&bus->attentive))
		bus_ring(bus);
}

static void await(struct bus *bus, struct bus_call *call)
{
	uint64_t until = bus->looks ? clock_now_ns() + VCPU_LOOKS_NS : 0;
	uint32_t state;

	while ((state = atomic_load(&call->state)) != CALL_IDLE && !atomic_load(&bus->released)) {
		if (until && clock_now_ns() < until)
			__builtin_ia32_pause();
		else if (state == CALL_ASLEEP ||
			 atomic_compare_exchange_strong(&call->state, &state, CALL_ASLEEP))
			futex_wait(&call->state, CALL_ASLEEP);
	}
}

void bus_do(struct bus *bus, struct bus_call *call, bool port, bool write, uint64_t addr,
	    void *data, unsigned len)
{
	const struct bus_range *range = find(bus, port, addr, len);

	if (!range) {
		if (!write)
			memset(data, 0xff, len);
		return;
	}
	call->range = range;
	call->access = (struct bus_access){
		.write = write, .len = (uint8_t)len, .off = addr - range->start};
	if (write)
		memcpy(call->access.data, data, len);
	if (!range->fast || !range->fast(range->user, &call->access)) {
		ring(bus, call);
		await(bus, call);
	}
	if (!write)
		memcpy(data, call->access.data, len);
}

void bus_end(struct bus *bus, struct bus_call *call, const char *reason, const char *detail)
{
	call->end_reason = reason;
	snprintf(call->end_detail, sizeof(call->end_detail), "%s", detail);
	ring(bus, call);
}

void bus_release(struct bus *bus)
{
	atomic_store(&bus->released, true);
	for (unsigned i = 0; i < bus->n_calls; i++)
		release(bus->calls[i]);
}
