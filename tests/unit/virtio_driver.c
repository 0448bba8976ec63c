// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/virtio_driver.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "base/clock.h"
#include "base/util.h"
#include "virtio/regs.h"

#define MSIX_CAP 0x98u
#define RINGS	 0x10000u

static int irq_alloc(void *host, int *fd)
{
	struct driver *d = host;

	for (unsigned i = 0; i < ARRAY_SIZE(d->irqs); i++) {
		if (d->irqs[i].used)
			continue;
		*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (*fd < 0)
			return -errno;
		d->irqs[i] = (struct driver_irq){.used = true, .eventfd = *fd};
		return (int)i;
	}
	return -ENOSPC;
}

static int irq_route(void *host, int irq, uint64_t address, uint32_t data)
{
	struct driver *d = host;

	if (address < 0xfee00000 || address > 0xfeefffff)
		return -EINVAL;
	d->irqs[irq].routed = true;
	d->irqs[irq].address = address;
	d->irqs[irq].data = data;
	return 0;
}

static void irq_unroute(void *host, int irq)
{
	((struct driver *)host)->irqs[irq].routed = false;
}

static void irq_free(void *host, int irq)
{
	struct driver *d = host;

	close(d->irqs[irq].eventfd);
	d->irqs[irq] = (struct driver_irq){.used = false};
}

static int doorbell_add(void *host, gpa_t gpa, int fd)
{
	struct driver *d = host;

	for (unsigned i = 0; i < ARRAY_SIZE(d->doorbells); i++) {
		if (d->doorbells[i].used && d->doorbells[i].gpa == gpa)
			return -EEXIST;
		if (d->doorbells[i].used)
			continue;
		d->doorbells[i] = (struct driver_doorbell){.used = true, .gpa = gpa, .eventfd = fd};
		return 0;
	}
	return -ENOSPC;
}

static void doorbell_remove(void *host, gpa_t gpa, int fd)
{
	struct driver *d = host;

	for (unsigned i = 0; i < ARRAY_SIZE(d->doorbells); i++)
		if (d->doorbells[i].used && d->doorbells[i].gpa == gpa &&
		    d->doorbells[i].eventfd == fd)
			d->doorbells[i].used = false;
}

static const struct pci_host_ops host_ops = {
	.irq_alloc = irq_alloc,
	.irq_route = irq_route,
	.irq_unroute = irq_unroute,
	.irq_free = irq_free,
	.doorbell_add = doorbell_add,
	.doorbell_remove = doorbell_remove,
};

int driver_init(struct driver *d)
{
	*d = (struct driver){.next_data = DRIVER_DATA};
	d->ram = mmap(NULL, DRIVER_RAM_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (d->ram == MAP_FAILED)
		return -errno;
	d->mem.n_regions = 2;
	for (unsigned i = 0; i < 2; i++)
		d->mem.regions[i] = (struct mem_region){.start = i * DRIVER_REGION_LEN,
							.len = DRIVER_REGION_LEN,
							.host = d->ram + i * DRIVER_REGION_LEN};
	return loop_new(&d->loop, 256, 256);
}

int driver_attach(struct driver *d, struct virtio_dev *dev)
{
	d->dev = dev;
	return virtio_pci_new(&d->pci, dev, d->loop, &d->mem, &host_ops, d, DRIVER_BAR);
}

static void on_gone(void *user)
{
	((struct driver *)user)->gone = true;
}

static bool is_gone(struct driver *d, void *user)
{
	(void)user;
	return d->gone;
}

void driver_detach(struct driver *d)
{
	if (!d->pci)
		return;
	d->gone = false;
	d->pci->ops->destroy(d->pci, on_gone, d);
	if (!driver_wait(d, is_gone, NULL))
		abort();
	d->pci = NULL;
	d->dev = NULL;
}

void driver_deinit(struct driver *d)
{
	driver_detach(d);
	d->loop = loop_free(d->loop);
	munmap(d->ram, DRIVER_RAM_LEN);
}

uint64_t driver_reg_read(struct driver *d, unsigned off, unsigned len)
{
	uint64_t value = 0;

	d->pci->ops->bar_read(d->pci, 0, off, &value, len);
	return value;
}

void driver_reg_write(struct driver *d, unsigned off, unsigned len, uint64_t value)
{
	d->pci->ops->bar_write(d->pci, 0, off, &value, len);
}

uint8_t driver_status(struct driver *d)
{
	return (uint8_t)driver_reg_read(d, VIRTIO_PCI_COMMON_STATUS, 1);
}

void driver_set_status(struct driver *d, uint8_t status)
{
	driver_reg_write(d, VIRTIO_PCI_COMMON_STATUS, 1, status);
}

void driver_enable_msix(struct driver *d)
{
	uint32_t control = d->pci->ops->config_read(d->pci, MSIX_CAP + PCI_MSIX_FLAGS, 2);

	for (unsigned i = 0; i <= (control & PCI_MSIX_FLAGS_QSIZE); i++) {
		driver_reg_write(d, DRIVER_TABLE + i * 16, 4, 0xfee00000);
		driver_reg_write(d, DRIVER_TABLE + i * 16 + 4, 4, 0);
		driver_reg_write(d, DRIVER_TABLE + i * 16 + 8, 4, 0x40 + i);
		driver_reg_write(d, DRIVER_TABLE + i * 16 + 12, 4, 0);
	}
	d->pci->ops->config_write(d->pci, MSIX_CAP + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
}

void driver_setup_queue(struct driver *d, unsigned queue, uint16_t size)
{
	struct driver_queue *q = &d->queues[queue];
	gpa_t rings = RINGS * (queue + 1);

	*q = (struct driver_queue){.size = size};
	q->desc_gpa = rings;
	q->driver_gpa = rings + 0x8000;
	q->device_gpa = rings + 0xc000;
	memset(driver_at(d, rings), 0, RINGS);
	q->desc = driver_at(d, q->desc_gpa);
	q->avail = driver_at(d, q->driver_gpa);
	q->used = driver_at(d, q->device_gpa);
	driver_reg_write(d, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	driver_reg_write(d, VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
	driver_reg_write(d, VIRTIO_PCI_COMMON_Q_MSIX, 2, queue + 1);
	driver_reg_write(d, VIRTIO_PCI_COMMON_Q_DESCLO, 8, q->desc_gpa);
	driver_reg_write(d, VIRTIO_PCI_COMMON_Q_AVAILLO, 8, q->driver_gpa);
	driver_reg_write(d, VIRTIO_PCI_COMMON_Q_USEDLO, 8, q->device_gpa);
	driver_reg_write(d, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

void driver_start(struct driver *d, uint64_t features, uint16_t queue_size)
{
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	d->pci->ops->config_write(d->pci, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	driver_enable_msix(d);
	driver_set_status(d, status);
	for (unsigned i = 0; i < 2; i++) {
		driver_reg_write(d, VIRTIO_PCI_COMMON_GFSELECT, 4, i);
		driver_reg_write(d, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> (32 * i)));
	}
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	driver_set_status(d, status);
	driver_reg_write(d, VIRTIO_PCI_COMMON_MSIX, 2, 0);
	for (unsigned i = 0; i < driver_reg_read(d, VIRTIO_PCI_COMMON_NUMQ, 2); i++)
		driver_setup_queue(d, i, queue_size);
	driver_set_status(d, status | VIRTIO_CONFIG_S_DRIVER_OK);
}

static bool is_reset(struct driver *d, void *user)
{
	(void)user;
	return driver_status(d) == 0;
}

bool driver_reset(struct driver *d)
{
	driver_set_status(d, 0);
	return driver_wait(d, is_reset, NULL);
}

static bool queue_is_reset(struct driver *d, void *user)
{
	const unsigned *queue = user;

	driver_reg_write(d, VIRTIO_PCI_COMMON_Q_SELECT, 2, *queue);
	return driver_reg_read(d, VIRTIO_REGS_QUEUE_RESET, 2) == 0 &&
	       driver_reg_read(d, VIRTIO_PCI_COMMON_Q_ENABLE, 2) == 0;
}

bool driver_reset_queue(struct driver *d, unsigned queue)
{
	driver_reg_write(d, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	driver_reg_write(d, VIRTIO_REGS_QUEUE_RESET, 2, 1);
	return driver_wait(d, queue_is_reset, &queue);
}

gpa_t driver_alloc(struct driver *d, uint32_t len)
{
	gpa_t gpa = d->next_data;

	d->next_data += align_up(len, 16);
	if (d->next_data > DRIVER_RAM_LEN)
		abort();
	return gpa;
}

void *driver_at(struct driver *d, gpa_t gpa)
{
	return d->ram + gpa;
}

void driver_make_available(struct driver *d, unsigned queue, uint16_t head)
{
	struct driver_queue *q = &d->queues[queue];

	q->avail->ring[q->avail_idx % q->size] = head;
	q->avail_idx++;
	__atomic_store_n(&q->avail->idx, q->avail_idx, __ATOMIC_RELEASE);
}

static struct vring_desc make_desc(const struct segment *segment, bool last, uint16_t next)
{
	return (struct vring_desc){.addr = segment->gpa,
				   .len = segment->len,
				   .flags =
					   (uint16_t)((segment->writable ? VRING_DESC_F_WRITE : 0) |
						      (last ? 0 : VRING_DESC_F_NEXT)),
				   .next = next};
}

uint16_t driver_add(struct driver *d, unsigned queue, const struct segment *segments, unsigned n)
{
	struct driver_queue *q = &d->queues[queue];
	uint16_t head = q->next_desc;

	for (unsigned i = 0; i < n; i++) {
		uint16_t at = q->next_desc;

		q->next_desc = (uint16_t)((at + 1) % q->size);
		q->desc[at] = make_desc(&segments[i], i + 1 == n, q->next_desc);
	}
	driver_make_available(d, queue, head);
	return head;
}

uint16_t driver_add_indirect(struct driver *d, unsigned queue, const struct segment *segments,
			     unsigned n)
{
	struct driver_queue *q = &d->queues[queue];
	uint32_t len = n * (uint32_t)sizeof(struct vring_desc);
	gpa_t table_gpa = driver_alloc(d, len);
	struct vring_desc *table = driver_at(d, table_gpa);
	uint16_t head = q->next_desc;

	for (unsigned i = 0; i < n; i++)
		table[i] = make_desc(&segments[i], i + 1 == n, (uint16_t)(i + 1));
	q->next_desc = (uint16_t)((head + 1) % q->size);
	q->desc[head] =
		(struct vring_desc){.addr = table_gpa, .len = len, .flags = VRING_DESC_F_INDIRECT};
	driver_make_available(d, queue, head);
	return head;
}

void driver_kick(struct driver *d, unsigned queue)
{
	gpa_t gpa = d->pci->bars[0].address + 0x2000 + queue * 4;
	uint64_t one = 1;

	for (unsigned i = 0; i < ARRAY_SIZE(d->doorbells); i++)
		if (d->doorbells[i].used && d->doorbells[i].gpa == gpa) {
			if (write(d->doorbells[i].eventfd, &one, sizeof(one)) < 0)
				abort();
			return;
		}
	driver_reg_write(d, 0x2000 + queue * 4, 2, queue);
}

bool driver_take_used(struct driver *d, unsigned queue, uint32_t *id, uint32_t *len)
{
	struct driver_queue *q = &d->queues[queue];
	const struct vring_used_elem *elem;

	if (__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE) == q->last_used)
		return false;
	elem = &q->used->ring[q->last_used % q->size];
	if (id)
		*id = elem->id;
	if (len)
		*len = elem->len;
	q->last_used++;
	return true;
}

struct turn {
	struct loop_timer timer;
	struct loop *loop;
};

static void on_turn(struct loop_op *op, int res, uint32_t flags)
{
	(void)res;
	(void)flags;
	loop_stop(container_of(op, struct turn, timer.op)->loop);
}

void driver_run(struct driver *d, unsigned ms)
{
	struct turn turn = {.timer.op.done = on_turn, .loop = d->loop};

	if (loop_timer_start(d->loop, &turn.timer, clock_now_ns() + ms * NS_PER_MS) < 0)
		abort();
	loop_run(d->loop);
}

bool driver_wait(struct driver *d, bool (*condition)(struct driver *d, void *user), void *user)
{
	for (unsigned i = 0; i < 5000; i++) {
		if (condition(d, user))
			return true;
		driver_run(d, 1);
	}
	return condition(d, user);
}

bool driver_wait_used(struct driver *d, unsigned queue, uint32_t *id, uint32_t *len)
{
	for (unsigned i = 0; i < 5000; i++) {
		if (driver_take_used(d, queue, id, len))
			return true;
		driver_run(d, 1);
	}
	return false;
}

uint64_t driver_interrupts(struct driver *d, unsigned vector)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(d->irqs); i++)
		if (d->irqs[i].used && vector-- == 0) {
			if (read(d->irqs[i].eventfd, &count, sizeof(count)) < 0)
				return 0;
			return count;
		}
	return 0;
}
