// SPDX-License-Identifier: Apache-2.0
#include "virtio/pci.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "virtio/msix.h"
#include "virtio/regs.h"

#define VENDOR_ID      0x1af4
#define DEVICE_ID_BASE 0x1040 /* virtio 1.2 §4.1.2 */

/* BAR 0. */
#define COMMON_OFF    0x0000u
#define ISR_OFF	      0x0100u
#define DEVICE_OFF    0x1000u
#define DEVICE_LEN    0x1000u
#define NOTIFY_OFF    0x2000u
#define NOTIFY_STRIDE 4u
#define TABLE_OFF     0x3000u
#define TABLE_LEN     (MSIX_VECTORS_MAX * PCI_MSIX_ENTRY_SIZE)
#define PBA_OFF	      0x3800u
#define PBA_LEN	      8u

/* Capabilities in configuration space. Nothing lies beyond the first 256 bytes. */
#define CONFIG_LEN   256u
#define CAP_COMMON   0x40u
#define CAP_ISR	     0x50u
#define CAP_DEVICE   0x60u
#define CAP_NOTIFY   0x70u
#define CAP_PCI_CFG  0x84u
#define CAP_MSIX     0x98u
#define PCI_CFG_DATA (CAP_PCI_CFG + 16)

/* A queue's doorbell: an eventfd that the loop always has a read under way on. */
struct doorbell {
	struct loop_op op;
	struct virtio_pci *pci;
	unsigned queue;
	int fd, slot;
	uint64_t count;
	bool armed;  /* a read, or another try to start one, is under way */
	bool mapped; /* the host signals it by itself */
};

struct virtio_pci {
	struct pci_dev dev;
	struct virtio_dev *virtio;
	struct loop *loop;
	const struct pci_host_ops *host_ops;
	void *host;
	struct msix msix;
	struct virtio_regs regs;
	bool dying;
	void (*gone)(void *user);
	void *gone_user;
	uint8_t config[CONFIG_LEN];
	uint8_t writable[CONFIG_LEN]; /* bits the guest may change */
	unsigned n_doorbells;
	struct doorbell doorbells[];
};

static struct virtio_pci *from_dev(struct pci_dev *dev)
{
	return container_of(dev, struct virtio_pci, dev);
}

static void put16(uint8_t *p, uint16_t value)
{
	value = htole16(value);
	memcpy(p, &value, sizeof(value));
}

static void put32(uint8_t *p, uint32_t value)
{
	value = htole32(value);
	memcpy(p, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return le32toh(value);
}

/* Doorbells. */

static void ring(const struct doorbell *bell)
{
	uint64_t one = 1;
	ssize_t n = write(bell->fd, &one, sizeof(one));

	/* The counter cannot be full: the loop takes it in every turn. */
	(void)n;
}

static void kick_again(struct virtio_dev *virtio, unsigned queue)
{
	struct virtio_regs *regs = virtio->transport;

	ring(&container_of(regs, struct virtio_pci, regs)->doorbells[queue]);
}

static void maybe_free(struct virtio_pci *pci);

static void arm(struct doorbell *bell)
{
	bell->armed = true;
	if (loop_read(bell->pci->loop, &bell->op, bell->slot, &bell->count, sizeof(bell->count),
		      (uint64_t)-1) < 0)
		loop_defer(bell->pci->loop, &bell->op);
}

static void on_doorbell(struct loop_op *op, int res, uint32_t flags)
{
	struct doorbell *bell = container_of(op, struct doorbell, op);
	struct virtio_pci *pci = bell->pci;

	(void)flags;
	bell->armed = false;
	if (pci->dying) {
		maybe_free(pci);
		return;
	}
	if (res == sizeof(bell->count))
		virtio_regs_kick(&pci->regs, bell->queue);
	if (res >= 0 || res == -EINTR || res == -EAGAIN || res == -ECANCELED)
		arm(bell);
	else
		virtio_dev_broken(pci->virtio, "its doorbell cannot be read");
}

static gpa_t doorbell_gpa(const struct virtio_pci *pci, unsigned queue)
{
	return pci->dev.bars[0].address + NOTIFY_OFF + queue * NOTIFY_STRIDE;
}

static void unmap_doorbells(struct virtio_pci *pci)
{
	for (unsigned i = 0; i < pci->n_doorbells; i++) {
		struct doorbell *bell = &pci->doorbells[i];

		if (bell->mapped)
			pci->host_ops->doorbell_remove(pci->host, doorbell_gpa(pci, i), bell->fd);
		bell->mapped = false;
	}
}

/* What the host refuses (the guest laid two BARs over each other) still arrives by bar_write(). */
static void map_doorbells(struct virtio_pci *pci)
{
	for (unsigned i = 0; i < pci->n_doorbells; i++) {
		struct doorbell *bell = &pci->doorbells[i];

		bell->mapped =
			pci->host_ops->doorbell_add(pci->host, doorbell_gpa(pci, i), bell->fd) == 0;
	}
}

/* BAR 0. */

static void bar_read(struct pci_dev *dev, unsigned bar, uint64_t off, void *data, unsigned len)
{
	struct virtio_pci *pci = from_dev(dev);

	(void)bar;
	memset(data, 0, len);
	if (off < ISR_OFF)
		virtio_regs_read(&pci->regs, off - COMMON_OFF, data, len);
	else if (off == ISR_OFF)
		*(uint8_t *)data = virtio_regs_take_isr(&pci->regs);
	else if (off >= DEVICE_OFF && range_fits(off - DEVICE_OFF, len, DEVICE_LEN))
		pci->virtio->ops->config_read(pci->virtio, (uint32_t)(off - DEVICE_OFF), data, len);
	else if (off >= TABLE_OFF && range_fits(off - TABLE_OFF, len, TABLE_LEN))
		msix_table_read(&pci->msix, off - TABLE_OFF, data, len);
	else if (off >= PBA_OFF && range_fits(off - PBA_OFF, len, PBA_LEN))
		msix_pba_read(&pci->msix, off - PBA_OFF, data, len);
}

static void write_device(struct virtio_pci *pci, uint64_t off, const void *data, unsigned len)
{
	struct virtio_dev *virtio = pci->virtio;

	if (virtio->ops->config_write && !pci->regs.draining)
		virtio->ops->config_write(virtio, (uint32_t)off, data, len);
}

static void bar_write(struct pci_dev *dev, unsigned bar, uint64_t off, const void *data,
		      unsigned len)
{
	struct virtio_pci *pci = from_dev(dev);

	(void)bar;
	if (off < ISR_OFF) {
		virtio_regs_write(&pci->regs, off - COMMON_OFF, data, len);
	} else if (off >= DEVICE_OFF && range_fits(off - DEVICE_OFF, len, DEVICE_LEN)) {
		write_device(pci, off - DEVICE_OFF, data, len);
	} else if (off >= NOTIFY_OFF && off < TABLE_OFF) {
		/* Through the eventfd, as the host does it: a device is never entered from an
		 * access. */
		uint64_t queue = (off - NOTIFY_OFF) / NOTIFY_STRIDE;

		if (queue < pci->n_doorbells)
			ring(&pci->doorbells[queue]);
	} else if (off >= TABLE_OFF && range_fits(off - TABLE_OFF, len, TABLE_LEN)) {
		msix_table_write(&pci->msix, off - TABLE_OFF, data, len);
	}
}

/* Configuration space. */

static void add_cap(struct virtio_pci *pci, unsigned at, unsigned next, uint8_t type, unsigned len,
		    uint32_t offset, uint32_t length)
{
	uint8_t *cap = &pci->config[at];

	cap[VIRTIO_PCI_CAP_VNDR] = PCI_CAP_ID_VNDR;
	cap[VIRTIO_PCI_CAP_NEXT] = (uint8_t)next;
	cap[VIRTIO_PCI_CAP_LEN] = (uint8_t)len;
	cap[VIRTIO_PCI_CAP_CFG_TYPE] = type;
	put32(cap + VIRTIO_PCI_CAP_OFFSET, offset);
	put32(cap + VIRTIO_PCI_CAP_LENGTH, length);
}

static void make_caps(struct virtio_pci *pci)
{
	const unsigned plain = sizeof(struct virtio_pci_cap);
	uint8_t *msix = &pci->config[CAP_MSIX];

	add_cap(pci, CAP_COMMON, CAP_ISR, VIRTIO_PCI_CAP_COMMON_CFG, plain, COMMON_OFF,
		VIRTIO_REGS_LEN);
	add_cap(pci, CAP_ISR, CAP_DEVICE, VIRTIO_PCI_CAP_ISR_CFG, plain, ISR_OFF, 1);
	add_cap(pci, CAP_DEVICE, CAP_NOTIFY, VIRTIO_PCI_CAP_DEVICE_CFG, plain, DEVICE_OFF,
		DEVICE_LEN);
	add_cap(pci, CAP_NOTIFY, CAP_PCI_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG,
		sizeof(struct virtio_pci_notify_cap), NOTIFY_OFF, pci->n_doorbells * NOTIFY_STRIDE);
	put32(&pci->config[CAP_NOTIFY + VIRTIO_PCI_NOTIFY_CAP_MULT], NOTIFY_STRIDE);
	add_cap(pci, CAP_PCI_CFG, CAP_MSIX, VIRTIO_PCI_CAP_PCI_CFG,
		sizeof(struct virtio_pci_cfg_cap), 0, 0);
	pci->writable[CAP_PCI_CFG + VIRTIO_PCI_CAP_BAR] = 0xff;
	/* Its offset, length and data follow one another. */
	memset(&pci->writable[CAP_PCI_CFG + VIRTIO_PCI_CAP_OFFSET], 0xff, 12);

	msix[0] = PCI_CAP_ID_MSIX;
	put16(msix + PCI_MSIX_FLAGS, msix_control(&pci->msix));
	put32(msix + PCI_MSIX_TABLE, TABLE_OFF);
	put32(msix + PCI_MSIX_PBA, PBA_OFF);
	pci->writable[CAP_MSIX + PCI_MSIX_FLAGS + 1] =
		(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
}

static void make_config(struct virtio_pci *pci, uint32_t bar_address)
{
	const struct virtio_ops *ops = pci->virtio->ops;
	uint8_t *config = pci->config, *writable = pci->writable;

	put16(config + PCI_VENDOR_ID, VENDOR_ID);
	put16(config + PCI_DEVICE_ID, (uint16_t)(DEVICE_ID_BASE + ops->id));
	put16(config + PCI_STATUS, PCI_STATUS_CAP_LIST);
	put32(config + PCI_CLASS_REVISION, ops->pci_class << 8 | 1);
	put16(config + PCI_SUBSYSTEM_VENDOR_ID, VENDOR_ID);
	put16(config + PCI_SUBSYSTEM_ID, (uint16_t)(DEVICE_ID_BASE + ops->id));
	put32(config + PCI_BASE_ADDRESS_0, bar_address);
	config[PCI_CAPABILITY_LIST] = CAP_COMMON;
	put16(writable + PCI_COMMAND,
	      PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	/* The low bits stay 0, by which the guest finds the size. */
	put32(writable + PCI_BASE_ADDRESS_0, ~(VIRTIO_PCI_BAR_SIZE - 1));
	writable[PCI_CACHE_LINE_SIZE] = 0xff;
	writable[PCI_INTERRUPT_LINE] = 0xff;
	make_caps(pci);
	pci->dev.bars[0] = (struct pci_bar){.len = VIRTIO_PCI_BAR_SIZE, .address = bar_address};
}

/* The window into the BAR (§4.1.4.9): true with offset and length if the driver set a valid access
 * up. */
static bool pci_cfg_access(const struct virtio_pci *pci, uint32_t *off, uint32_t *len)
{
	const uint8_t *cap = &pci->config[CAP_PCI_CFG];

	*off = get32(cap + VIRTIO_PCI_CAP_OFFSET);
	*len = get32(cap + VIRTIO_PCI_CAP_LENGTH);
	return cap[VIRTIO_PCI_CAP_BAR] == 0 && (*len == 1 || *len == 2 || *len == 4) &&
	       *off % *len == 0 && range_fits(*off, *len, VIRTIO_PCI_BAR_SIZE);
}

static bool touches(unsigned off, unsigned len, unsigned at, unsigned at_len)
{
	return off < at + at_len && at < off + len;
}

static uint32_t config_read(struct pci_dev *dev, unsigned off, unsigned len)
{
	struct virtio_pci *pci = from_dev(dev);
	uint32_t bar_off, bar_len, value = 0;

	if (!range_fits(off, len, CONFIG_LEN))
		return 0;
	if (touches(off, len, PCI_CFG_DATA, 4) && pci_cfg_access(pci, &bar_off, &bar_len))
		bar_read(dev, 0, bar_off, &pci->config[PCI_CFG_DATA], bar_len);
	memcpy(&value, &pci->config[off], len);
	return le32toh(value);
}

static void update_decoding(struct virtio_pci *pci)
{
	bool enabled = pci->config[PCI_COMMAND] & PCI_COMMAND_MEMORY;
	gpa_t address = get32(&pci->config[PCI_BASE_ADDRESS_0]);

	if (enabled == pci->dev.memory_enabled && address == pci->dev.bars[0].address)
		return;
	unmap_doorbells(pci);
	pci->dev.memory_enabled = enabled;
	pci->dev.bars[0].address = address;
	if (enabled)
		map_doorbells(pci);
}

/* Interrupts first: turning it on may make them. */
static void update_master(struct virtio_pci *pci)
{
	bool on = pci->config[PCI_COMMAND] & PCI_COMMAND_MASTER;

	if (on == pci->msix.master)
		return;
	msix_set_master(&pci->msix, on);
	virtio_regs_set_master(&pci->regs, on);
}

static void config_write(struct pci_dev *dev, unsigned off, unsigned len, uint32_t value)
{
	struct virtio_pci *pci = from_dev(dev);
	uint32_t bar_off, bar_len;

	if (!range_fits(off, len, CONFIG_LEN))
		return;
	for (unsigned i = 0; i < len; i++, value >>= 8) {
		uint8_t mask = pci->writable[off + i], *byte = &pci->config[off + i];

		*byte = (uint8_t)((*byte & ~mask) | (value & mask));
	}
	if (touches(off, len, PCI_COMMAND, 2) || touches(off, len, PCI_BASE_ADDRESS_0, 4))
		update_decoding(pci);
	if (touches(off, len, PCI_COMMAND, 2))
		update_master(pci);
	if (touches(off, len, CAP_MSIX + PCI_MSIX_FLAGS, 2))
		msix_set_control(&pci->msix, (uint16_t)(get32(&pci->config[CAP_MSIX]) >> 16));
	/* The window is never asked for by most drivers: until then it is constant as well. */
	if (touches(off, len, CAP_PCI_CFG, PCI_CFG_DATA + 4 - CAP_PCI_CFG))
		dev->config_stable &= ~(UINT64_C(1) << PCI_CFG_DATA / 4);
	if (touches(off, len, PCI_CFG_DATA, 4) && pci_cfg_access(pci, &bar_off, &bar_len))
		bar_write(dev, 0, bar_off, &pci->config[PCI_CFG_DATA], bar_len);
}

/* Life. */

static void free_function(struct virtio_pci *pci)
{
	for (unsigned i = 0; i < pci->n_doorbells; i++) {
		loop_slot_remove(pci->loop, pci->doorbells[i].slot);
		close_fdp(&pci->doorbells[i].fd);
	}
	pci->virtio->ops->destroy(pci->virtio);
	virtio_regs_deinit(&pci->regs);
	msix_deinit(&pci->msix);
	free(pci);
}

/* The function goes when the device has drained and no read of a doorbell is under way. */
static void maybe_free(struct virtio_pci *pci)
{
	void (*gone)(void *user) = pci->gone;
	void *user = pci->gone_user;

	if (pci->regs.draining)
		return;
	for (unsigned i = 0; i < pci->n_doorbells; i++)
		if (pci->doorbells[i].armed)
			return;
	free_function(pci);
	gone(user);
}

static void on_idle(void *user)
{
	struct virtio_pci *pci = user;

	if (pci->dying)
		maybe_free(pci);
}

static void destroy(struct pci_dev *dev, void (*gone)(void *user), void *user)
{
	struct virtio_pci *pci = from_dev(dev);

	pci->gone = gone;
	pci->gone_user = user;
	unmap_doorbells(pci);
	virtio_regs_reset(&pci->regs);
	pci->dying = true;
	/* Waking the reads is what ends them: it cannot fail, as a cancellation could. */
	for (unsigned i = 0; i < pci->n_doorbells; i++)
		ring(&pci->doorbells[i]);
}

static const struct pci_dev_ops function_ops = {
	.config_read = config_read,
	.config_write = config_write,
	.bar_read = bar_read,
	.bar_write = bar_write,
	.destroy = destroy,
};

/* #syscalls loop: eventfd2(0, EFD_CLOEXEC) write close */
static int make_doorbells(struct virtio_pci *pci)
{
	for (unsigned i = 0; i < pci->virtio->n_queues; i++) {
		struct doorbell *bell = &pci->doorbells[i];

		*bell = (struct doorbell){
			.op.done = on_doorbell, .pci = pci, .queue = i, .slot = -1};
		bell->fd = eventfd(0, EFD_CLOEXEC);
		pci->n_doorbells = i + 1;
		if (bell->fd < 0)
			return -errno;
		bell->slot = loop_slot_add(pci->loop, bell->fd);
		if (bell->slot < 0)
			return bell->slot;
	}
	return 0;
}

int virtio_pci_new(struct pci_dev **out, struct virtio_dev *dev, struct loop *loop,
		   const struct mem *mem, const struct pci_host_ops *host_ops, void *host,
		   uint32_t bar_address)
{
	unsigned n = dev->n_queues;
	struct virtio_pci *pci;
	int r;

	pci = calloc(1, sizeof(*pci) + n * sizeof(pci->doorbells[0]));
	if (!pci) {
		dev->ops->destroy(dev);
		return -ENOMEM;
	}
	pci->dev.ops = &function_ops;
	pci->dev.config_stable = UINT64_MAX;
	pci->virtio = dev;
	pci->loop = loop;
	pci->host_ops = host_ops;
	pci->host = host;
	r = msix_init(&pci->msix, n + 1, host_ops, host);
	if (r == 0)
		r = virtio_regs_init(&pci->regs, dev, mem, &pci->msix);
	if (r == 0)
		r = make_doorbells(pci);
	if (r < 0) {
		free_function(pci);
		return r;
	}
	dev->kick_again = kick_again;
	pci->regs.idle = on_idle;
	pci->regs.idle_user = pci;
	make_config(pci, bar_address);
	for (unsigned i = 0; i < n; i++)
		arm(&pci->doorbells[i]);
	*out = &pci->dev;
	return 0;
}
