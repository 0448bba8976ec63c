// SPDX-License-Identifier: Apache-2.0
/* The PCI bus as a vCPU reaches it: absent functions, odd accesses, plugging and ejecting through
 * the ACPI registers. */
#include "tests/unit/harness.h"

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/util.h"
#include "vmm/layout.h"
#include "vmm/pci_bus.h"

UNIT_SUITE(pci_bus);

struct toy {
	struct pci_dev dev;
	unsigned config_reads, bar_reads;
};

static uint32_t toy_config_read(struct pci_dev *dev, unsigned off, unsigned len)
{
	(void)len;
	container_of(dev, struct toy, dev)->config_reads++;
	return off == 0 ? 0x12345678 : 0;
}

static void toy_config_write(struct pci_dev *dev, unsigned off, unsigned len, uint32_t value)
{
	(void)dev, (void)off, (void)len, (void)value;
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
	pthread_t thread;

	memset(f, 0, sizeof(*f));
	f->as_vcpu = as_vcpu;
	f->toy.dev = (struct pci_dev){.ops = &toy_ops,
				      .memory_enabled = true,
				      .bars[0] = {.len = 4096, .address = 0xc0100000}};
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
	struct fixture f;

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
	struct fixture f;

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
	struct fixture f;

	run(&f, ejects_fixed, false);
}
