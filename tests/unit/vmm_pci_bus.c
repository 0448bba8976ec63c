// SPDX-License-Identifier: Apache-2.0
/* The PCI bus as a vCPU reaches it: absent functions, odd accesses, plugging and ejecting through
 * the ACPI registers. */
#include "tests/unit/harness.h"

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "vmm/layout.h"
#include "vmm/pci_bus.h"

UNIT_SUITE(pci_bus);

struct toy {
	struct pci_dev dev;
	unsigned config_reads, bar_reads;
	uint32_t written; /* to any register; read back from dword 1 and 2 */
};

static uint32_t toy_config_read(struct pci_dev *dev, unsigned off, unsigned len)
{
	struct toy *toy = container_of(dev, struct toy, dev);

	(void)len;
	toy->config_reads++;
	return off == 0 ? 0x12345678 : off == 4 || off == 8 ? toy->written : 0;
}

static void toy_config_write(struct pci_dev *dev, unsigned off, unsigned len, uint32_t value)
{
	(void)off, (void)len;
	container_of(dev, struct toy, dev)->written = value;
}

static void toy_bar_read(struct pci_dev *dev, unsigned bar, uint64_t off, void *data, unsigned len)
{
	container_of(dev, struct toy, dev)->bar_reads++;
	memset(data, (int)(bar + off), len);
}

static void toy_bar_write(struct pci_dev *dev, unsigned bar, uint64_t off, const void *data,
			  unsigned len)
{
	(void)dev, (void)bar, (void)off, (void)data, (void)len;
}

static const struct pci_dev_ops toy_ops = {.config_read = toy_config_read,
					   .config_write = toy_config_write,
					   .bar_read = toy_bar_read,
					   .bar_write = toy_bar_write};

struct fixture {
	struct loop *loop;
	struct bus bus;
	struct bus_call call;
	struct pci_bus pci;
	struct toy toy;
	int event_fd;
	unsigned ejected;
	void (*as_vcpu)(struct fixture *f);
};

static void ejected(void *user, unsigned slot, struct pci_dev *dev)
{
	struct fixture *f = user;

	cr_assert_eq(dev, &f->toy.dev);
	f->ejected = slot;
}

static void ended(void *user, const char *reason, const char *detail)
{
	struct fixture *f = user;

	(void)reason, (void)detail;
	loop_stop(f->loop);
}

static void *vcpu_thread(void *user)
{
	struct fixture *f = user;

	f->as_vcpu(f);
	bus_end(&f->bus, &f->call, "poweroff", "");
	return NULL;
}

/* Runs as_vcpu in a thread of its own against a bus with a toy function in slot 5, until it ends.
 */
static void run(struct fixture *f, void (*as_vcpu)(struct fixture *f), bool hot)
{
	uint64_t stable = f->toy.dev.config_stable;
	pthread_t thread;

	memset(f, 0, sizeof(*f));
	f->as_vcpu = as_vcpu;
	f->toy.dev = (struct pci_dev){.ops = &toy_ops,
				      .memory_enabled = true,
				      .bars[0] = {.len = 4096, .address = 0xc0100000},
				      .config_stable = stable};
	cr_assert_eq(loop_new(&f->loop, 8, 8), 0);
	cr_assert_eq(bus_init(&f->bus, f->loop, ended, f), 0);
	bus_add_call(&f->bus, &f->call);
	f->event_fd = eventfd(0, EFD_NONBLOCK);
	pci_bus_init(&f->pci, &f->bus, f->event_fd, ejected, f);
	pci_bus_plug(&f->pci, 5, &f->toy.dev, hot);
	pthread_create(&thread, NULL, vcpu_thread, f);
	cr_assert_eq(loop_run(f->loop), 0);
	pthread_join(thread, NULL);
	loop_free(f->loop);
	bus_deinit(&f->bus);
	close(f->event_fd);
}

static uint64_t access_at(struct fixture *f, bool port, bool write, uint64_t addr, uint64_t value,
			  unsigned len)
{
	bus_do(&f->bus, &f->call, port, write, addr, &value, len);
	return value;
}

static uint64_t ecam(unsigned slot, unsigned function, unsigned reg)
{
	return LAYOUT_ECAM + (slot << 15) + (function << 12) + reg;
}

/* Dwords 0 and 1 are stable, 2 is not. */
static void copies(struct fixture *f)
{
	unsigned before = f->toy.config_reads;

	cr_expect_eq(access_at(f, false, false, ecam(5, 0, 0), 0, 4), 0x12345678);
	cr_expect_eq(access_at(f, false, false, ecam(5, 0, 2), 0, 2), 0x1234);
	cr_expect_eq(access_at(f, false, false, ecam(5, 0, 3), 0, 1), 0x12);
	cr_expect_eq(access_at(f, false, false, ecam(5, 0, 1), 0, 2), 0xffff); /* not aligned */
	cr_expect_eq(f->toy.config_reads, before, "%u", f->toy.config_reads);
	access_at(f, false, true, ecam(5, 0, 4), 0xa5b6c7d8, 4);
	before = f->toy.config_reads;
	cr_expect_eq(access_at(f, false, false, ecam(5, 0, 4), 0, 4), 0xa5b6c7d8);
	cr_expect_eq(access_at(f, false, false, ecam(5, 0, 6), 0, 1), 0xb6);
	cr_expect_eq(f->toy.config_reads, before);
	f->toy.written = 7; /* by itself, as an unstable register may */
	cr_expect_eq(access_at(f, false, false, ecam(5, 0, 8), 0, 4), 7);
	cr_expect_eq(f->toy.config_reads, before + 1);
	cr_expect_eq(access_at(f, false, false, ecam(5, 0, 0x100), 0, 4), 0);
	cr_expect_eq(f->toy.config_reads, before + 2);
	pci_bus_unplug(&f->pci, 5);
	cr_expect_eq(access_at(f, false, false, ecam(5, 0, 0), 0, 4), 0xffffffff);
}

Test(pci_bus, what_cannot_change_is_read_without_the_loop)
{
	struct fixture f = {.toy.dev.config_stable = 3};

	run(&f, copies, false);
}

static void reads(struct fixture *f)
{
	cr_expect_eq(access_at(f, false, false, ecam(5, 0, 0), 0, 4), 0x12345678);
	cr_expect_eq(access_at(f, false, false, ecam(6, 0, 0), 0, 4), 0xffffffff);
	cr_expect_eq(access_at(f, false, false, ecam(5, 1, 0), 0, 4), 0xffffffff);
	cr_expect_eq(f->toy.config_reads, 1);
	cr_expect_eq(access_at(f, false, false, ecam(5, 0, 1), 0, 4), 0xffffffff); /* not aligned */
	cr_expect_eq(access_at(f, false, false, ecam(5, 0, 0), 0, 8), UINT64_MAX);
	cr_expect_eq(access_at(f, false, false, 0xc0100003, 0, 1), 3);
	cr_expect_eq(access_at(f, false, false, 0xc0100ffd, 0, 4), 0xffffffff); /* over the end */
	cr_expect_eq(f->toy.bar_reads, 1);
	cr_expect_eq(access_at(f, false, false, 0xe0200000, 0, 4), 0xffffffff); /* nobody's */
	cr_expect_eq(access_at(f, true, false, 0xcf8, 0, 4), 0xffffffff);
}

Test(pci_bus, answers_for_what_is_there_and_what_is_not)
{
	struct fixture f = {0};

	run(&f, reads, false);
}

static void ejects(struct fixture *f)
{
	cr_expect_eq(access_at(f, true, false, PORT_PCI_HOTPLUG, 0, 4), 1u << 5);
	cr_expect_eq(access_at(f, true, false, PORT_PCI_HOTPLUG, 0, 4), 0, "read once");
	access_at(f, true, true, PORT_PCI_HOTPLUG + 8, ~(1u << 5), 4);
	cr_expect_eq(f->ejected, 0);
	access_at(f, true, true, PORT_PCI_HOTPLUG + 8, 1u << 5, 4);
	cr_expect_eq(f->ejected, 5);
	cr_expect_eq(access_at(f, false, false, ecam(5, 0, 0), 0, 4), 0xffffffff);
	cr_expect_eq(access_at(f, false, false, 0xc0100003, 0, 1), 0xff);
}

Test(pci_bus, a_removable_function_is_announced_and_ejected)
{
	struct fixture f = {0};

	run(&f, ejects, true);
}

static void ejects_fixed(struct fixture *f)
{
	access_at(f, true, true, PORT_PCI_HOTPLUG + 8, 0xffffffff, 4);
	cr_expect_eq(f->ejected, 0);
	cr_expect_eq(access_at(f, false, false, ecam(5, 0, 0), 0, 4), 0x12345678);
}

Test(pci_bus, a_fixed_function_cannot_be_ejected)
{
	struct fixture f = {0};

	run(&f, ejects_fixed, false);
}

struct waiting {
	struct fixture f;
	struct loop_timer stop;
};

static void stop_waiting(struct loop_op *op, int res, uint32_t cqe_flags)
{
	(void)res, (void)cqe_flags;
	loop_stop(container_of(op, struct waiting, stop.op)->f.loop);
}

/* How often the interrupt was raised within this time. */
static uint64_t raised_within(struct waiting *w, unsigned ms)
{
	uint64_t n = 0;

	w->stop.op.done = stop_waiting;
	loop_timer_start(w->f.loop, &w->stop, clock_now_ns() + ms * NS_PER_MS);
	cr_assert_eq(loop_run(w->f.loop), 0);
	return read(w->f.event_fd, &n, sizeof(n)) < 0 ? 0 : n;
}

/* The guest's driver may come after the first edge, which is lost on it. */
Test(pci_bus, an_event_that_nobody_reads_is_raised_again)
{
	struct waiting w = {0};
	struct fixture *f = &w.f;

	cr_assert_eq(loop_new(&f->loop, 8, 8), 0);
	cr_assert_eq(bus_init(&f->bus, f->loop, ended, f), 0);
	f->event_fd = eventfd(0, EFD_NONBLOCK);
	pci_bus_init(&f->pci, &f->bus, f->event_fd, ejected, f);
	pci_bus_event(&f->pci, PCI_EVENT_POWER_BUTTON);
	cr_expect_eq(raised_within(&w, 20), 1);
	cr_expect_eq(raised_within(&w, 1000), 2, "after 250 and 500 ms more");
	f->pci.events = 0; /* as the guest's reading does */
	cr_expect_eq(raised_within(&w, 1500), 0);
	bus_deinit(&f->bus);
	loop_free(f->loop);
	close(f->event_fd);
}
