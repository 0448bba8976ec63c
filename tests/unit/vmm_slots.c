// SPDX-License-Identifier: Apache-2.0
/* The life of hot-plugged functions against guests that consent, refuse, and eject unasked. */
#include "tests/unit/harness.h"
#include "tests/unit/vmm_pci_host.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "virtio/pci.h"
#include "virtio/rng.h"
#include "vmm/layout.h"
#include "vmm/slots.h"

UNIT_SUITE(slots, .timeout = 60);

enum { UP = 0, DOWN = 4, EJECT = 8, EVENTS = 12 };

struct fixture {
	struct loop *loop;
	struct bus bus;
	struct pci_bus pci;
	struct slots slots;
	struct slot slot;
	struct mem mem;
	struct loop_timer stop;
	int event_fd;
	unsigned n_gone, n_answers;
	int answer;
};

static struct fixture *the_fixture; /* for gone(), which gets only the slot */

static void gone(struct slot *slot)
{
	cr_assert_eq(slot->state, SLOT_FREE);
	the_fixture->n_gone++;
}

static void detached(void *user, int error)
{
	struct fixture *f = user;

	f->n_answers++;
	f->answer = error;
}

static void on_ejected(void *user, unsigned number, struct pci_dev *dev)
{
	struct fixture *f = user;

	(void)number;
	slots_ejected(&f->slots, dev);
}

static void ended(void *user, const char *reason, const char *detail)
{
	(void)user, (void)reason, (void)detail;
}

static void stop_now(struct loop_op *op, int res, uint32_t cqe_flags)
{
	(void)res, (void)cqe_flags;
	loop_stop(container_of(op, struct fixture, stop.op)->loop);
}

static void run(struct fixture *f, unsigned ms)
{
	f->stop.op.done = stop_now;
	loop_timer_start(f->loop, &f->stop, clock_now_ns() + ms * NS_PER_MS);
	cr_assert_eq(loop_run(f->loop), 0);
}

static uint32_t guest(struct fixture *f, uint64_t off, bool write, uint32_t value)
{
	struct bus_access access = {.write = write, .len = 4, .off = off};

	memcpy(access.data, &value, sizeof(value));
	for (unsigned i = 0; i < f->bus.n_ranges; i++)
		if (f->bus.ranges[i].port && f->bus.ranges[i].start == PORT_PCI_HOTPLUG)
			f->bus.ranges[i].access(f->bus.ranges[i].user, &access);
	memcpy(&value, access.data, sizeof(value));
	return value;
}

static void plug(struct fixture *f, struct slot *slot, bool hot)
{
	struct virtio_dev *dev;

	cr_assert_eq(virtio_rng_new(&dev, f->loop), 0);
	cr_assert_eq(slot_plug(&f->slots, slot, dev, hot, gone), 0);
}

static void make(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	the_fixture = f;
	cr_assert_eq(loop_new(&f->loop, 64, 64), 0);
	cr_assert_eq(bus_init(&f->bus, f->loop, ended, f), 0);
	f->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pci_bus_init(&f->pci, &f->bus, f->event_fd, on_ejected, f);
	slots_init(&f->slots, f->loop, &f->mem, &f->pci, &inert_pci_host_ops, f);
}

static void finish(struct fixture *f)
{
	loop_free(f->loop);
	bus_deinit(&f->bus);
	close(f->event_fd);
}

Test(slots, a_guest_that_consents)
{
	struct fixture f;
	uint32_t bit;

	make(&f);
	plug(&f, &f.slot, true);
	bit = 1u << f.slot.number;
	cr_assert_eq(guest(&f, UP, false, 0), bit);
	cr_assert_eq(slot_detach(&f.slot, 5000, false, detached, &f), 0);
	cr_assert_eq(slot_detach(&f.slot, 5000, false, detached, &f), -EBUSY);
	run(&f, 5);
	cr_assert_eq(guest(&f, DOWN, false, 0), bit);
	cr_assert_eq(f.n_answers, 0);
	guest(&f, EJECT, true, bit);
	guest(&f, EJECT, true, bit);
	cr_assert_null(f.slots.at[f.slot.number]);
	run(&f, 20);
	cr_assert_eq(f.n_gone, 1);
	cr_assert_eq(f.n_answers, 1);
	cr_assert_eq(f.answer, 0);
	cr_assert(slots_are_settled(&f.slots));
	cr_assert_null(f.slots.first);
	finish(&f);
}

Test(slots, a_guest_that_refuses_is_asked_again_and_keeps_it)
{
	struct fixture f;
	uint32_t bit;

	make(&f);
	plug(&f, &f.slot, true);
	bit = 1u << f.slot.number;
	cr_assert_eq(slot_detach(&f.slot, 1500, false, detached, &f), 0);
	run(&f, 100);
	cr_assert_eq(guest(&f, DOWN, false, 0), bit);
	cr_assert_eq(guest(&f, DOWN, false, 0), 0);
	run(&f, 1100);
	cr_assert_eq(guest(&f, DOWN, false, 0), bit, "it was asked again");
	run(&f, 600);
	cr_assert_eq(f.n_answers, 1);
	cr_assert_eq(f.answer, -ETIMEDOUT);
	cr_assert_eq(f.slot.state, SLOT_PLUGGED);
	cr_assert_eq(f.n_gone, 0);
	/* It lets go at last, unasked: a detach has nothing to do but wait. */
	guest(&f, EJECT, true, bit);
	if (f.slot.state == SLOT_LEAVING)
		cr_assert_eq(slot_detach(&f.slot, 0, false, detached, &f), 0);
	run(&f, 20);
	cr_assert_eq(f.n_gone, 1);
	finish(&f);
}

Test(slots, a_guest_that_slept_over_all_of_it_finds_the_function)
{
	struct fixture f;
	uint32_t bit;

	make(&f);
	plug(&f, &f.slot, true);
	bit = 1u << f.slot.number;
	cr_assert_eq(slot_detach(&f.slot, 10, false, detached, &f), 0);
	run(&f, 50);
	cr_assert_eq(f.n_answers, 1);
	cr_assert_eq(f.answer, -ETIMEDOUT);
	cr_expect_eq(guest(&f, UP, false, 0), bit, "it was never told of it");
	cr_expect_eq(guest(&f, DOWN, false, 0), bit, "nor that it may let go");
	guest(&f, EJECT, true, bit);
	run(&f, 20);
	finish(&f);
}

/* Every place but those that were emptied by force. */
static void fill_bus(struct fixture *f)
{
	static struct slot many[PCI_SLOTS];

	for (unsigned i = 0; i < PCI_SLOTS - 3; i++)
		plug(f, &many[i], true);
}

/* The first register of a slot's BAR where it starts out. */
static uint32_t read_bar(struct fixture *f, unsigned number)
{
	struct bus_access access = {.len = 4, .off = (uint64_t)number * VIRTIO_PCI_BAR_SIZE};
	uint32_t value;

	for (unsigned i = 0; i < f->bus.n_ranges; i++)
		if (f->bus.ranges[i].start == LAYOUT_PCI_WINDOW)
			f->bus.ranges[i].access(f->bus.ranges[i].user, &access);
	memcpy(&value, access.data, sizeof(value));
	return value;
}

Test(slots, what_was_pulled_reads_as_zeroes_unless_another_is_there)
{
	struct slot next = {.state = SLOT_FREE};
	unsigned number;
	struct fixture f;

	make(&f);
	plug(&f, &f.slot, true);
	number = f.slot.number;
	f.slot.function->ops->config_write(f.slot.function, 4, 2, 2);
	cr_assert_eq(slot_detach(&f.slot, 0, true, detached, &f), 0);
	run(&f, 50);
	cr_assert_eq(read_bar(&f, number), 0);
	cr_assert_eq(read_bar(&f, number + 1), UINT32_MAX);
	/* The guest puts the next one's BAR there. */
	plug(&f, &next, true);
	next.function->ops->config_write(next.function, 0x10, 4,
					 LAYOUT_PCI_WINDOW + number * VIRTIO_PCI_BAR_SIZE);
	next.function->ops->config_write(next.function, 4, 2, 2);
	next.function->ops->bar_write(next.function, 0, 0, &(uint32_t){1}, 4);
	cr_assert_eq(read_bar(&f, number), 1, "device_feature_select");
	guest(&f, EJECT, true, ~0u);
	run(&f, 50);
	finish(&f);
}

Test(slots, by_force_it_goes_and_its_place_is_taken_last)
{
	struct fixture f;
	struct slot next = {.state = SLOT_FREE};
	uint32_t bit;

	make(&f);
	plug(&f, &f.slot, true);
	bit = 1u << f.slot.number;
	guest(&f, UP, false, 0);
	cr_assert_eq(slot_detach(&f.slot, 400, true, detached, &f), 0);
	run(&f, 20);
	cr_assert_eq(f.n_answers, 0, "the guest has its time");
	run(&f, 600);
	cr_assert_eq(f.n_answers, 1);
	cr_assert_eq(f.answer, 0);
	cr_assert_eq(f.n_gone, 1);
	cr_assert_eq(atomic_load(&f.pci.present) & bit, 0);
	cr_assert_eq(guest(&f, DOWN, false, 0), 0);
	cr_assert_eq(guest(&f, EVENTS, false, 0), PCI_EVENT_BUS_CHECK);
	guest(&f, EJECT, true, bit); /* too late, and nothing there */
	plug(&f, &next, true);
	cr_assert_neq(1u << next.number, bit);
	cr_assert_eq(slot_detach(&next, 0, true, detached, &f), 0);
	run(&f, 50);
	cr_assert_eq(f.n_answers, 2);
	cr_assert_eq(f.slots.burnt, bit | 1u << next.number);
	fill_bus(&f);
	/* When no other is free, an emptied place is used again. */
	plug(&f, &next, true);
	cr_assert_eq(1u << next.number, bit);
	cr_assert_eq(f.slots.burnt & bit, 0);
	cr_assert_neq(atomic_load(&f.pci.present) & bit, 0);
	guest(&f, EJECT, true, ~0u);
	run(&f, 50);
	cr_assert_eq(f.n_gone, PCI_SLOTS);
	finish(&f);
}

Test(slots, an_eject_nobody_asked_for_answers_who_asks_meanwhile)
{
	struct fixture f;

	make(&f);
	plug(&f, &f.slot, true);
	guest(&f, EJECT, true, 1u << f.slot.number);
	cr_assert_eq(f.slot.state, SLOT_LEAVING);
	cr_assert_eq(slot_detach(&f.slot, 0, true, detached, &f), 0);
	run(&f, 20);
	cr_assert_eq(f.n_answers, 1);
	cr_assert_eq(f.answer, 0);
	finish(&f);
}

Test(slots, what_the_zone_started_with_stays)
{
	struct fixture f;

	make(&f);
	plug(&f, &f.slot, false);
	cr_assert_eq(slot_detach(&f.slot, 0, true, detached, &f), -EPERM);
	guest(&f, EJECT, true, ~0u);
	cr_assert_eq(f.slot.state, SLOT_PLUGGED);
	f.pci.removable = 1u << f.slot.number; /* so that the test can end it */
	cr_assert_eq(slot_detach(&f.slot, 0, true, detached, &f), 0);
	run(&f, 20);
	cr_assert_eq(f.n_gone, 1);
	finish(&f);
}

Test(slots, the_end_of_the_machine_answers)
{
	struct fixture f;

	make(&f);
	plug(&f, &f.slot, true);
	cr_assert_eq(slot_detach(&f.slot, 60000, true, detached, &f), 0);
	slots_abandon(&f.slots);
	cr_assert_eq(f.n_answers, 1);
	cr_assert_eq(f.answer, -ECANCELED);
	guest(&f, EJECT, true, ~0u);
	run(&f, 20);
	cr_assert_eq(f.n_gone, 1);
	cr_assert_eq(f.n_answers, 1);
	finish(&f);
}

Test(slots, a_full_bus_takes_no_more)
{
	static struct slot many[PCI_SLOTS];
	struct virtio_dev *dev;
	struct fixture f;

	make(&f);
	for (unsigned i = 0; i < PCI_SLOTS - 1; i++)
		plug(&f, &many[i], true);
	cr_assert_eq(virtio_rng_new(&dev, f.loop), 0);
	cr_assert_eq(slot_plug(&f.slots, &f.slot, dev, true, gone), -ENOSPC);
	cr_assert_eq(f.slot.state, SLOT_FREE);
	guest(&f, EJECT, true, ~0u);
	run(&f, 50);
	cr_assert_eq(f.n_gone, PCI_SLOTS - 1);
	finish(&f);
}
