// SPDX-License-Identifier: Apache-2.0
/* The reset of single queues (virtio 1.2 §2.6.1), alone and beside a reset of the device, and what
 * bus mastering is needed for. The device behind PCI is the test's own: it takes what is available,
 * and drains when the test says so. */
#include "tests/unit/harness.h"
#include "tests/unit/virtio_driver.h"

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>

#include "base/util.h"
#include "virtio/regs.h"

UNIT_SUITE(virtio_pci_reset);

#define N_QUEUES     3u
#define QUEUE_RESET  58u
#define RING_RESET   (1ull << VIRTIO_F_RING_RESET)
#define FEATURES     (DRIVER_COMMON_FEATURES | RING_RESET)
#define ALL_COMMANDS (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

struct slow {
	struct virtio_dev dev;
	unsigned n_served[N_QUEUES], n_resets, n_queue_resets[N_QUEUES];
	bool hold; /* drain later */
	void (*drained[N_QUEUES + 1])(void *user);
	void *user[N_QUEUES + 1]; /* the last one: of the device */
};

static int activate(struct virtio_dev *dev)
{
	(void)dev;
	return 0;
}

static void kick(struct virtio_dev *dev, unsigned queue)
{
	struct slow *slow = container_of(dev, struct slow, dev);
	struct vq_chain chain;

	while (vq_pop(&dev->queues[queue], &chain) > 0) {
		slow->n_served[queue]++;
		vq_push(&dev->queues[queue], chain.head, 0);
	}
	vq_flush(&dev->queues[queue]);
	(void)vq_want_kicks(&dev->queues[queue]);
}

static void drain(struct slow *slow, unsigned index)
{
	void (*drained)(void *user) = slow->drained[index];

	slow->drained[index] = NULL;
	drained(slow->user[index]);
}

static void stop(struct slow *slow, unsigned index, void (*drained)(void *user), void *user)
{
	cr_assert_null(slow->drained[index]);
	slow->drained[index] = drained;
	slow->user[index] = user;
	if (!slow->hold)
		drain(slow, index);
}

static void reset(struct virtio_dev *dev, void (*drained)(void *user), void *user)
{
	struct slow *slow = container_of(dev, struct slow, dev);

	slow->n_resets++;
	for (unsigned i = 0; i < N_QUEUES; i++)
		cr_assert_null(slow->drained[i], "no reset beside one of a queue");
	stop(slow, N_QUEUES, drained, user);
}

static void reset_queue(struct virtio_dev *dev, unsigned queue, void (*drained)(void *user),
			void *user)
{
	struct slow *slow = container_of(dev, struct slow, dev);

	slow->n_queue_resets[queue]++;
	stop(slow, queue, drained, user);
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *data, uint32_t len)
{
	(void)dev;
	virtio_config_copy(NULL, 0, off, data, len);
}

static void destroy(struct virtio_dev *dev)
{
	(void)dev;
}

static const struct virtio_ops slow_ops = {
	.id = VIRTIO_ID_RNG,
	.pci_class = 0xff0000,
	.name = "slow",
	.config_read = config_read,
	.activate = activate,
	.kick = kick,
	.reset = reset,
	.reset_queue = reset_queue,
	.destroy = destroy,
};

struct setting {
	struct driver d;
	struct slow slow;
};

static void begin(struct setting *s, uint64_t features)
{
	s->slow = (struct slow){.dev = {.ops = &slow_ops,
					.offered = DRIVER_COMMON_FEATURES | DRIVER_EVENT_IDX,
					.n_queues = N_QUEUES,
					.queue_size_max = 1024}};
	cr_assert_eq(driver_init(&s->d), 0);
	cr_assert_eq(driver_attach(&s->d, &s->slow.dev), 0);
	driver_start(&s->d, features, 16);
	driver_run(&s->d, 1);
}

static void end(struct setting *s)
{
	s->slow.hold = false;
	driver_deinit(&s->d);
}

static uint16_t reg(struct setting *s, unsigned queue, unsigned off)
{
	driver_reg_write(&s->d, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	return (uint16_t)driver_reg_read(&s->d, off, 2);
}

static void ask_reset(struct setting *s, unsigned queue, unsigned value)
{
	driver_reg_write(&s->d, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	driver_reg_write(&s->d, QUEUE_RESET, 2, value);
}

/* One buffer through a queue: whether it came back. */
static bool works(struct setting *s, unsigned queue)
{
	const struct segment segment = {DRIVER_DATA, 16, true};

	driver_add(&s->d, queue, &segment, 1);
	driver_kick(&s->d, queue);
	driver_run(&s->d, 2);
	return driver_take_used(&s->d, queue, NULL, NULL);
}

Test(virtio_pci_reset, a_queue_comes_back_with_another_size)
{
	struct setting s;

	begin(&s, FEATURES);
	cr_assert(works(&s, 1));
	ask_reset(&s, 1, 1);
	cr_assert_eq(s.slow.n_queue_resets[1], 1);
	cr_assert_eq(reg(&s, 1, QUEUE_RESET), 0);
	cr_assert_eq(reg(&s, 1, VIRTIO_PCI_COMMON_Q_ENABLE), 0);
	cr_assert_eq(reg(&s, 1, VIRTIO_PCI_COMMON_Q_SIZE), 1024);
	cr_assert_eq(reg(&s, 1, VIRTIO_PCI_COMMON_Q_MSIX), VIRTIO_MSI_NO_VECTOR);
	cr_assert_eq(driver_reg_read(&s.d, VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0);
	cr_assert_not(works(&s, 1));
	cr_assert(works(&s, 0), "the others go on");
	cr_assert(works(&s, 2));
	driver_setup_queue(&s.d, 1, 1024);
	cr_assert_eq(reg(&s, 1, VIRTIO_PCI_COMMON_Q_SIZE), 1024);
	cr_assert(works(&s, 1));
	cr_assert_gt(driver_interrupts(&s.d, 2), 0);
	/* And it is locked again. */
	driver_reg_write(&s.d, VIRTIO_PCI_COMMON_Q_SIZE, 2, 8);
	cr_assert_eq(reg(&s, 1, VIRTIO_PCI_COMMON_Q_SIZE), 1024);
	cr_assert_eq(s.slow.n_resets, 0);
	end(&s);
}

Test(virtio_pci_reset, nothing_happens_to_a_queue_while_it_drains)
{
	struct setting s;

	begin(&s, FEATURES);
	s.slow.hold = true;
	ask_reset(&s, 1, 1);
	cr_assert_eq(reg(&s, 1, QUEUE_RESET), 1);
	cr_assert_eq(reg(&s, 0, QUEUE_RESET), 0);
	ask_reset(&s, 1, 1);
	cr_assert_eq(s.slow.n_queue_resets[1], 1, "once");
	cr_assert_not(works(&s, 1), "no kick");
	driver_setup_queue(&s.d, 1, 8);
	cr_assert_eq(reg(&s, 1, VIRTIO_PCI_COMMON_Q_SIZE), 16);
	cr_assert(works(&s, 0));
	drain(&s.slow, 1);
	cr_assert_eq(reg(&s, 1, QUEUE_RESET), 0);
	driver_setup_queue(&s.d, 1, 8);
	cr_assert(works(&s, 1));
	end(&s);
}

Test(virtio_pci_reset, of_the_device_waits_for_those_of_queues)
{
	struct setting s;

	begin(&s, FEATURES);
	s.slow.hold = true;
	ask_reset(&s, 0, 1);
	ask_reset(&s, 2, 1);
	driver_set_status(&s.d, 0);
	cr_assert_neq(driver_status(&s.d), 0);
	cr_assert_eq(s.slow.n_resets, 0);
	drain(&s.slow, 2);
	cr_assert_eq(s.slow.n_resets, 0);
	drain(&s.slow, 0);
	cr_assert_eq(s.slow.n_resets, 1);
	cr_assert_neq(driver_status(&s.d), 0);
	drain(&s.slow, N_QUEUES);
	cr_assert_eq(driver_status(&s.d), 0);
	s.slow.hold = false;
	driver_start(&s.d, FEATURES, 16);
	cr_assert(works(&s, 0));
	end(&s);
}

Test(virtio_pci_reset, orders_out_of_place_are_ignored)
{
	struct setting s;

	begin(&s, FEATURES);
	ask_reset(&s, N_QUEUES, 1);
	ask_reset(&s, 0xffff, 1);
	ask_reset(&s, 0, 0);
	ask_reset(&s, 0, 2);
	driver_reg_write(&s.d, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	driver_reg_write(&s.d, QUEUE_RESET, 1, 1);
	driver_reg_write(&s.d, QUEUE_RESET - 2, 4, 0x10001);
	driver_reg_write(&s.d, 56, 8, UINT64_MAX);
	cr_assert_eq(s.slow.n_queue_resets[0], 0);
	ask_reset(&s, 0, 1);
	ask_reset(&s, 0, 1); /* of a queue that is not enabled */
	cr_assert_eq(s.slow.n_queue_resets[0], 1);
	/* A queue that cannot be enabled again breaks the device, no more. */
	driver_reg_write(&s.d, VIRTIO_PCI_COMMON_Q_DESCLO, 8, UINT64_MAX);
	driver_reg_write(&s.d, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	cr_assert(driver_status(&s.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	ask_reset(&s, 1, 1);
	cr_assert(driver_reset(&s.d));
	/* Not negotiated, and before DRIVER_OK. */
	driver_start(&s.d, DRIVER_COMMON_FEATURES, 16);
	ask_reset(&s, 2, 1);
	cr_assert_eq(s.slow.n_queue_resets[2], 0);
	cr_assert(works(&s, 2));
	driver_reg_write(&s.d, VIRTIO_PCI_COMMON_Q_SIZE, 2, 8);
	cr_assert_eq(reg(&s, 2, VIRTIO_PCI_COMMON_Q_SIZE), 16, "and it stays locked");
	end(&s);
}

Test(virtio_pci_reset, before_driver_ok)
{
	struct setting s;

	begin(&s, FEATURES);
	cr_assert(driver_reset(&s.d));
	driver_set_status(&s.d, 3);
	for (unsigned i = 0; i < 2; i++) {
		driver_reg_write(&s.d, VIRTIO_PCI_COMMON_GFSELECT, 4, i);
		driver_reg_write(&s.d, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(FEATURES >> (32 * i)));
	}
	driver_set_status(&s.d, 11);
	driver_setup_queue(&s.d, 0, 16);
	ask_reset(&s, 0, 1);
	cr_assert_eq(s.slow.n_queue_resets[0], 0, "the device knows nothing of it yet");
	cr_assert_eq(reg(&s, 0, VIRTIO_PCI_COMMON_Q_ENABLE), 0);
	driver_setup_queue(&s.d, 0, 32);
	driver_set_status(&s.d, 15);
	cr_assert(works(&s, 0));
	cr_assert_eq(reg(&s, 0, VIRTIO_PCI_COMMON_Q_SIZE), 32);
	end(&s);
}

static void set_command(struct setting *s, uint32_t value)
{
	s->d.pci->ops->config_write(s->d.pci, PCI_COMMAND, 2, value);
}

Test(virtio_pci_reset, without_bus_mastering_queues_and_interrupts_rest)
{
	struct setting s;
	const struct vring_used *used;

	begin(&s, FEATURES);
	cr_assert(works(&s, 0));
	(void)driver_interrupts(&s.d, 1);
	set_command(&s, PCI_COMMAND_MEMORY);
	cr_assert_not(works(&s, 0));
	cr_assert_eq(s.slow.n_served[0], 1);
	used = s.d.queues[0].used;
	cr_assert_eq(used->idx, 1);
	/* What a device finishes meanwhile is published later. */
	s.slow.dev.queues[0].stopped = false;
	kick(&s.slow.dev, 0);
	s.slow.dev.queues[0].stopped = true;
	s.slow.dev.config_changed(&s.slow.dev);
	cr_assert_eq(driver_interrupts(&s.d, 0), 0);
	cr_assert_eq(driver_interrupts(&s.d, 1), 0);
	set_command(&s, ALL_COMMANDS);
	driver_run(&s.d, 2);
	cr_assert_eq(s.slow.n_served[0], 2);
	cr_assert_eq(used->idx, 2);
	cr_assert_gt(driver_interrupts(&s.d, 1), 0);
	cr_assert_gt(driver_interrupts(&s.d, 0), 0);
	cr_assert(works(&s, 1));
	end(&s);
}

/* A driver may turn it on last. */
Test(virtio_pci_reset, bus_mastering_after_the_notification)
{
	struct setting s;
	const struct segment segment = {DRIVER_DATA, 16, true};

	begin(&s, FEATURES);
	set_command(&s, PCI_COMMAND_MEMORY);
	driver_add(&s.d, 2, &segment, 1);
	driver_kick(&s.d, 2);
	driver_run(&s.d, 2);
	cr_assert_eq(s.slow.n_served[2], 0);
	set_command(&s, ALL_COMMANDS);
	cr_assert(driver_wait_used(&s.d, 2, NULL, NULL));
	end(&s);
}

#define BLOCK_SHIFT 16u /* of the first region: a block a queue's rings */

/* Unplugs the rings of the first queue, of a device that drains slowly. */
static void unplug_rings(struct setting *s, uint64_t *plugged)
{
	struct virtio_regs *regs;

	begin(s, FEATURES);
	regs = s->slow.dev.transport;
	*plugged = UINT64_MAX;
	s->d.mem.regions[0].plugged = plugged;
	s->d.mem.regions[0].block_shift = BLOCK_SHIFT;
	*plugged &= ~(UINT64_C(1) << 20); /* where no ring is */
	cr_assert_not(virtio_regs_memory_unplugged(regs));
	cr_assert_not(s->slow.dev.broken);
	s->slow.hold = true;
	*plugged &= ~(UINT64_C(1) << 1);
	cr_assert(virtio_regs_memory_unplugged(regs));
	cr_assert(driver_status(&s->d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	cr_assert_eq(s->slow.n_resets, 1);
	cr_assert(virtio_regs_memory_unplugged(regs), "it may still write");
	cr_assert_eq(s->slow.n_resets, 1);
	cr_assert_not(s->slow.dev.active);
}

Test(virtio_pci_reset, a_device_with_rings_in_unplugged_memory_is_stopped)
{
	struct setting s;
	uint64_t plugged;

	unplug_rings(&s, &plugged);
	s.slow.hold = false;
	drain(&s.slow, N_QUEUES);
	cr_assert_not(virtio_regs_memory_unplugged(s.slow.dev.transport));
	cr_assert(driver_status(&s.d) & VIRTIO_CONFIG_S_NEEDS_RESET, "until the driver resets it");
	cr_assert_eq(reg(&s, 0, VIRTIO_PCI_COMMON_Q_ENABLE), 0);
	driver_setup_queue(&s.d, 0, 16);
	cr_assert_eq(reg(&s, 0, VIRTIO_PCI_COMMON_Q_ENABLE), 0, "nothing else brings it back");
	plugged = UINT64_MAX;
	cr_assert(driver_reset(&s.d));
	driver_start(&s.d, FEATURES, 16);
	cr_assert_eq(driver_status(&s.d), 15);
	end(&s);
}

/* Its driver resets it at once, and waits for that as for any other reset. */
Test(virtio_pci_reset, while_it_is_stopped_it_may_be_reset)
{
	struct setting s;
	uint64_t plugged;

	unplug_rings(&s, &plugged);
	driver_set_status(&s.d, 1);
	driver_set_status(&s.d, 0);
	cr_assert_neq(driver_status(&s.d), 0);
	s.slow.hold = false;
	drain(&s.slow, N_QUEUES);
	cr_assert_eq(driver_status(&s.d), 0);
	plugged = UINT64_MAX;
	driver_start(&s.d, FEATURES, 16);
	cr_assert_eq(driver_status(&s.d), 15);
	end(&s);
}
