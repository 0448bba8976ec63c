// SPDX-License-Identifier: Apache-2.0
/* The PCI transport before drivers that keep the rules and drivers that do not; the device behind
 * it is a console. */
#include "tests/unit/harness.h"
#include "tests/unit/virtio_driver.h"

#include <string.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "virtio/console.h"

UNIT_SUITE(virtio_pci);

#define MSIX_CAP    0x98u
#define PCI_CFG_CAP 0x84u

#define N_QUEUES  6u /* the console's */
#define N_VECTORS (N_QUEUES + 1)

struct output {
	size_t len;
};

static void on_output(void *user, unsigned port, const void *data, size_t len)
{
	(void)port;
	(void)data;
	((struct output *)user)->len += len;
}

static void attach_console(struct driver *d, struct output *output)
{
	struct virtio_dev *dev;

	cr_assert_eq(driver_init(d), 0);
	cr_assert_eq(virtio_console_new(&dev, on_output, output), 0);
	cr_assert_eq(driver_attach(d, dev), 0);
}

static uint32_t config_read(struct driver *d, unsigned off, unsigned len)
{
	return d->pci->ops->config_read(d->pci, off, len);
}

static void config_write(struct driver *d, unsigned off, unsigned len, uint32_t value)
{
	d->pci->ops->config_write(d->pci, off, len, value);
}

static unsigned n_mapped(const struct driver *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 16; i++)
		n += d->doorbells[i].used;
	return n;
}

Test(virtio_pci, identity_and_capabilities)
{
	struct driver d;
	struct output output = {0};
	unsigned seen = 0, at;

	attach_console(&d, &output);
	cr_assert_eq(config_read(&d, PCI_VENDOR_ID, 4), 0x10431af4);
	cr_assert_eq(config_read(&d, PCI_REVISION_ID, 1), 1);
	cr_assert_eq(config_read(&d, PCI_CLASS_REVISION, 4) >> 8, 0x078000);
	cr_assert_eq(config_read(&d, PCI_INTERRUPT_PIN, 1), 0);
	cr_assert_eq(config_read(&d, 0x100, 4), 0, "no extended capability");
	for (at = config_read(&d, PCI_CAPABILITY_LIST, 1); at; at = config_read(&d, at + 1, 1)) {
		if (config_read(&d, at, 1) == PCI_CAP_ID_VNDR)
			seen |= 1u << config_read(&d, at + VIRTIO_PCI_CAP_CFG_TYPE, 1);
		else if (config_read(&d, at, 1) == PCI_CAP_ID_MSIX)
			seen |= 1;
	}
	cr_assert_eq(seen, 0x3f);
	cr_assert_eq(config_read(&d, MSIX_CAP + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE,
		     N_QUEUES);
	driver_deinit(&d);
}

Test(virtio_pci, bar_sizing_and_moves_take_the_doorbells_along)
{
	struct driver d;
	struct output output = {0};

	attach_console(&d, &output);
	config_write(&d, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	cr_assert_eq(config_read(&d, PCI_BASE_ADDRESS_0, 4), ~(VIRTIO_PCI_BAR_SIZE - 1));
	config_write(&d, PCI_BASE_ADDRESS_0, 4, 0xd0000000);
	cr_assert_eq(n_mapped(&d), 0);
	config_write(&d, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	cr_assert(d.pci->memory_enabled);
	cr_assert_eq(n_mapped(&d), N_QUEUES);
	cr_assert_eq(d.doorbells[0].gpa, 0xd0002000);
	config_write(&d, PCI_BASE_ADDRESS_0, 4, 0xc0000000);
	cr_assert_eq(d.pci->bars[0].address, 0xc0000000);
	cr_assert_eq(n_mapped(&d), N_QUEUES);
	cr_assert_eq(d.doorbells[1].gpa, 0xc0002004);
	config_write(&d, PCI_COMMAND, 2, 0);
	cr_assert_eq(n_mapped(&d), 0);
	driver_deinit(&d);
	cr_assert_eq(n_mapped(&d), 0);
}

Test(virtio_pci, read_only_registers_stay)
{
	struct driver d;
	struct output output = {0};

	attach_console(&d, &output);
	for (unsigned off = 0; off < PCI_CONFIG_SIZE; off += 4)
		if (off != PCI_COMMAND)
			config_write(&d, off, 4, 0xffffffff);
	cr_assert_eq(config_read(&d, PCI_VENDOR_ID, 4), 0x10431af4);
	cr_assert_eq(config_read(&d, PCI_BASE_ADDRESS_1, 4), 0);
	cr_assert_eq(config_read(&d, PCI_ROM_ADDRESS, 4), 0);
	cr_assert_eq(config_read(&d, PCI_CAPABILITY_LIST, 1), 0x40);
	cr_assert_eq(config_read(&d, MSIX_CAP + PCI_MSIX_FLAGS, 2), 0xc000 | N_QUEUES);
	driver_deinit(&d);
}

Test(virtio_pci, window_in_configuration_space)
{
	struct driver d;
	struct output output = {0};

	attach_console(&d, &output);
	config_write(&d, PCI_CFG_CAP + 8, 4, VIRTIO_PCI_COMMON_NUMQ);
	config_write(&d, PCI_CFG_CAP + 12, 4, 2);
	cr_assert_eq(config_read(&d, PCI_CFG_CAP + 16, 2), N_QUEUES);
	config_write(&d, PCI_CFG_CAP + 8, 4, VIRTIO_PCI_COMMON_STATUS);
	config_write(&d, PCI_CFG_CAP + 12, 4, 1);
	config_write(&d, PCI_CFG_CAP + 16, 1, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	cr_assert_eq(driver_status(&d), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	/* Out of the BAR, of no length, in no BAR. */
	config_write(&d, PCI_CFG_CAP + 8, 4, 0xfffffffc);
	config_write(&d, PCI_CFG_CAP + 12, 4, 4);
	(void)config_read(&d, PCI_CFG_CAP + 16, 4);
	config_write(&d, PCI_CFG_CAP + 16, 4, 1);
	config_write(&d, PCI_CFG_CAP + 12, 4, 0);
	(void)config_read(&d, PCI_CFG_CAP + 16, 4);
	config_write(&d, PCI_CFG_CAP + 4, 1, 7);
	(void)config_read(&d, PCI_CFG_CAP + 16, 4);
	driver_deinit(&d);
}

Test(virtio_pci, features_must_be_offered_and_modern)
{
	struct driver d;
	struct output output = {0};

	attach_console(&d, &output);
	driver_set_status(&d, 3);
	driver_reg_write(&d, VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	driver_reg_write(&d, VIRTIO_PCI_COMMON_GF, 4, 0xffffffff);
	driver_set_status(&d, 3 | VIRTIO_CONFIG_S_FEATURES_OK);
	cr_assert_eq(driver_status(&d), 3);
	driver_reg_write(&d, VIRTIO_PCI_COMMON_GF, 4, 0);
	driver_set_status(&d, 3 | VIRTIO_CONFIG_S_FEATURES_OK);
	cr_assert_eq(driver_status(&d), 3, "VERSION_1 is required");
	driver_set_status(&d, 7);
	cr_assert_eq(driver_status(&d), 3, "no DRIVER_OK without FEATURES_OK");
	driver_reg_write(&d, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	driver_reg_write(&d, VIRTIO_PCI_COMMON_GF, 4, 1);
	driver_set_status(&d, 3 | VIRTIO_CONFIG_S_FEATURES_OK);
	cr_assert_eq(driver_status(&d), 3 | VIRTIO_CONFIG_S_FEATURES_OK);
	driver_reg_write(&d, VIRTIO_PCI_COMMON_GF, 4, 0);
	cr_assert_eq(driver_reg_read(&d, VIRTIO_PCI_COMMON_GF, 4), 1, "locked");
	driver_reg_write(&d, VIRTIO_PCI_COMMON_GFSELECT, 4, 77);
	cr_assert_eq(driver_reg_read(&d, VIRTIO_PCI_COMMON_GF, 4), 0);
	driver_deinit(&d);
}

/* CVE-2026-5747: queue registers changed after DRIVER_OK. */
Test(virtio_pci, queue_registers_are_locked)
{
	struct driver d;
	struct output output = {0};
	uint64_t desc;

	attach_console(&d, &output);
	driver_start(&d, DRIVER_COMMON_FEATURES, 16);
	driver_reg_write(&d, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	desc = driver_reg_read(&d, VIRTIO_PCI_COMMON_Q_DESCLO, 8);
	cr_assert_eq(desc, d.queues[1].desc_gpa);
	driver_reg_write(&d, VIRTIO_PCI_COMMON_Q_DESCLO, 8, 0xfffffff0);
	driver_reg_write(&d, VIRTIO_PCI_COMMON_Q_DESCHI, 4, 1);
	driver_reg_write(&d, VIRTIO_PCI_COMMON_Q_SIZE, 2, 64);
	driver_reg_write(&d, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
	cr_assert_eq(driver_reg_read(&d, VIRTIO_PCI_COMMON_Q_DESCLO, 8), desc);
	cr_assert_eq(driver_reg_read(&d, VIRTIO_PCI_COMMON_Q_SIZE, 2), 16);
	cr_assert_eq(driver_reg_read(&d, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	cr_assert_eq(d.dev->queues[1].size, 16);
	driver_deinit(&d);
}

Test(virtio_pci, queue_select_out_of_range)
{
	struct driver d;
	struct output output = {0};

	attach_console(&d, &output);
	driver_set_status(&d, 3);
	for (unsigned select = N_QUEUES; select < 0x10000; select += 0x1ffd) {
		driver_reg_write(&d, VIRTIO_PCI_COMMON_Q_SELECT, 2, select);
		for (unsigned off = VIRTIO_PCI_COMMON_Q_SIZE; off < 56; off += 2) {
			driver_reg_write(&d, off, 2, 0xffff);
			cr_assert_eq(driver_reg_read(&d, off, 2), 0);
		}
	}
	driver_reg_write(&d, 0x2000 + 4 * 100, 2, 100); /* a doorbell of no queue */
	driver_deinit(&d);
}

Test(virtio_pci, bad_queue_addresses_break_the_device)
{
	const gpa_t bad[] = {DRIVER_RAM_LEN, DRIVER_RAM_LEN - 16, UINT64_MAX & ~15ull, 8,
			     DRIVER_REGION_LEN - 16};
	struct output output = {0};

	for (unsigned i = 0; i < 5; i++) {
		struct driver d;

		attach_console(&d, &output);
		driver_set_status(&d, 3);
		driver_reg_write(&d, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
		driver_reg_write(&d, VIRTIO_PCI_COMMON_GF, 4, 1);
		driver_set_status(&d, 11);
		driver_reg_write(&d, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
		driver_reg_write(&d, VIRTIO_PCI_COMMON_Q_SIZE, 2, 3); /* ignored: no power of two */
		driver_reg_write(&d, VIRTIO_PCI_COMMON_Q_DESCLO, 8, bad[i]);
		driver_reg_write(&d, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
		cr_assert(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
		driver_set_status(&d, 15);
		cr_assert(!d.dev->active);
		cr_assert(driver_reset(&d));
		driver_start(&d, DRIVER_COMMON_FEATURES, 16);
		cr_assert_eq(driver_status(&d), 15);
		driver_deinit(&d);
	}
}

static void say(struct driver *d)
{
	const struct segment segment = {DRIVER_DATA, 5, false};

	driver_add(d, 1, &segment, 1);
	driver_kick(d, 1);
}

Test(virtio_pci, masked_vectors_fire_when_unmasked)
{
	struct driver d;
	struct output output = {0};

	attach_console(&d, &output);
	driver_start(&d, DRIVER_COMMON_FEATURES, 16);
	say(&d);
	cr_assert(driver_wait_used(&d, 1, NULL, NULL));
	cr_assert_eq(driver_interrupts(&d, 2), 1);

	driver_reg_write(&d, DRIVER_TABLE + 2 * 16 + 12, 4, 1);
	cr_assert(!d.irqs[2].routed);
	say(&d);
	cr_assert(driver_wait_used(&d, 1, NULL, NULL));
	cr_assert_eq(driver_interrupts(&d, 2), 0);
	cr_assert_eq(driver_reg_read(&d, DRIVER_PBA, 4), 4);
	driver_reg_write(&d, DRIVER_TABLE + 2 * 16, 4, 0xfee01000);
	driver_reg_write(&d, DRIVER_TABLE + 2 * 16 + 12, 4, 0);
	cr_assert_eq(driver_reg_read(&d, DRIVER_PBA, 8), 0);
	cr_assert_eq(driver_interrupts(&d, 2), 1);
	cr_assert_eq(d.irqs[2].address, 0xfee01000);

	config_write(&d, MSIX_CAP + PCI_MSIX_FLAGS, 2,
		     PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	say(&d);
	cr_assert(driver_wait_used(&d, 1, NULL, NULL));
	cr_assert_eq(driver_interrupts(&d, 2), 0);
	config_write(&d, MSIX_CAP + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	cr_assert_eq(driver_interrupts(&d, 2), 1);
	cr_assert_eq(driver_reg_read(&d, 0x100, 1), 0, "no ISR with MSI-X");
	driver_deinit(&d);
}

/* CVE-2020-13754: accesses beyond the MSI-X table. */
Test(virtio_pci, msix_table_bounds)
{
	struct driver d;
	struct output output = {0};

	attach_console(&d, &output);
	driver_start(&d, DRIVER_COMMON_FEATURES, 16);
	for (unsigned off = DRIVER_TABLE + N_VECTORS * 16; off < 0x4000; off += 8) {
		driver_reg_write(&d, off, 8, UINT64_MAX);
		cr_assert_eq(driver_reg_read(&d, off, 8), 0);
	}
	driver_reg_write(&d, DRIVER_TABLE + 2, 2, 0xffff);
	driver_reg_write(&d, DRIVER_TABLE, 1, 0xff);
	cr_assert_eq(driver_reg_read(&d, DRIVER_TABLE, 4), 0xfee00000);
	driver_reg_write(&d, VIRTIO_PCI_COMMON_MSIX, 2, N_VECTORS);
	cr_assert_eq(driver_reg_read(&d, VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	/* A message the host refuses is one that is not sent. */
	driver_reg_write(&d, DRIVER_TABLE + 2 * 16, 4, 0x1000);
	cr_assert(!d.irqs[2].routed);
	say(&d);
	cr_assert(driver_wait_used(&d, 1, NULL, NULL));
	cr_assert_eq(driver_interrupts(&d, 2), 0);
	driver_deinit(&d);
}

Test(virtio_pci, without_msix_the_isr_tells)
{
	struct driver d;
	struct output output = {0};

	attach_console(&d, &output);
	driver_start(&d, DRIVER_COMMON_FEATURES, 16);
	config_write(&d, MSIX_CAP + PCI_MSIX_FLAGS, 2, 0);
	say(&d);
	cr_assert(driver_wait_used(&d, 1, NULL, NULL));
	cr_assert_eq(driver_reg_read(&d, 0x100, 1), 1);
	cr_assert_eq(driver_reg_read(&d, 0x100, 1), 0);
	driver_deinit(&d);
}

Test(virtio_pci, breaking_a_queue_needs_a_reset_and_that_is_all)
{
	struct driver d;
	struct output output = {0};

	attach_console(&d, &output);
	for (unsigned round = 0; round < 20; round++) {
		driver_start(&d, DRIVER_COMMON_FEATURES, 16);
		driver_make_available(&d, 1, 16); /* CVE-2021-45464: a head outside the table */
		driver_kick(&d, 1);
		driver_run(&d, 2);
		cr_assert(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
		cr_assert_eq(driver_interrupts(&d, 0), 1, "the configuration's vector");
		say(&d);
		driver_run(&d, 2);
		cr_assert_eq(output.len, 0);
		cr_assert(driver_reset(&d));
	}
	driver_start(&d, DRIVER_COMMON_FEATURES, 16);
	say(&d);
	cr_assert(driver_wait_used(&d, 1, NULL, NULL));
	cr_assert_eq(output.len, 5);
	driver_deinit(&d);
}

Test(virtio_pci, notification_by_a_register_write_works_too)
{
	struct driver d;
	struct output output = {0};
	const struct segment segment = {DRIVER_DATA, 5, false};

	attach_console(&d, &output);
	driver_start(&d, DRIVER_COMMON_FEATURES, 16);
	driver_add(&d, 1, &segment, 1);
	driver_reg_write(&d, 0x2004, 2, 1);
	cr_assert(driver_wait_used(&d, 1, NULL, NULL));
	driver_deinit(&d);
}

/* The driver reads the configuration before DRIVER_OK: what changes meanwhile it must hear of. */
Test(virtio_pci, configuration_that_changes_before_driver_ok)
{
	struct driver d;
	struct output output = {0};
	uint64_t generation;

	attach_console(&d, &output);
	d.dev->config_changed(d.dev);
	driver_start(&d, DRIVER_COMMON_FEATURES, 16);
	driver_run(&d, 1);
	cr_assert_eq(driver_interrupts(&d, 0), 0, "nobody had read it");
	cr_assert(driver_reset(&d));
	driver_set_status(&d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	generation = driver_reg_read(&d, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	d.dev->config_changed(d.dev);
	cr_assert_neq(driver_reg_read(&d, VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	driver_run(&d, 1);
	cr_assert_eq(driver_interrupts(&d, 0), 0);
	driver_start(&d, DRIVER_COMMON_FEATURES, 16);
	cr_assert_eq(driver_interrupts(&d, 0), 1);
	driver_deinit(&d);
}

Test(virtio_pci, kicks_before_driver_ok_and_in_a_reset_do_nothing)
{
	struct driver d;
	struct output output = {0};

	attach_console(&d, &output);
	driver_reg_write(&d, 0x2004, 2, 1);
	driver_run(&d, 1);
	driver_start(&d, DRIVER_COMMON_FEATURES, 16);
	cr_assert(driver_reset(&d));
	driver_reg_write(&d, 0x2004, 2, 1);
	driver_run(&d, 1);
	cr_assert_eq(output.len, 0);
	driver_deinit(&d);
}
