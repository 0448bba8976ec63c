// SPDX-License-Identifier: Apache-2.0
#include "virtio/regs.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "base/util.h"

#define ISR_QUEUE     1u
#define ISR_CONFIG    2u
#define OFFSET(field) offsetof(struct virtio_pci_common_cfg, field)
#define RING_RESET    (UINT64_C(1) << VIRTIO_F_RING_RESET)

/* With what virtio 1.2 added. */
struct common_cfg {
	struct virtio_pci_common_cfg base;
	uint16_t queue_notify_data, queue_reset;
};
_Static_assert(sizeof(struct common_cfg) == VIRTIO_REGS_LEN &&
		       offsetof(struct common_cfg, queue_reset) == VIRTIO_REGS_QUEUE_RESET,
	       "layout of virtio 1.2 §4.1.4.3");

static void signal_queue(void *user)
{
	struct virtio_regs_queue *queue = user;

	/* With MSI-X in use the driver does not look at the ISR (§4.1.4.5.1). */
	if (!queue->regs->msix->enabled)
		queue->regs->isr |= ISR_QUEUE;
	msix_signal(queue->regs->msix, queue->vector);
}

static void signal_config(struct virtio_regs *regs)
{
	regs->config_pending = false;
	if (!regs->msix->enabled)
		regs->isr |= ISR_CONFIG;
	msix_signal(regs->msix, regs->config_vector);
}

static void on_config_changed(struct virtio_dev *dev)
{
	struct virtio_regs *regs = dev->transport;

	regs->generation++;
	if (regs->status & VIRTIO_CONFIG_S_DRIVER_OK)
		signal_config(regs);
	else /* it is told at DRIVER_OK, if it may have read what was there before */
		regs->config_pending = regs->status != 0;
}

static void on_broken(struct virtio_dev *dev)
{
	struct virtio_regs *regs = dev->transport;

	regs->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	on_config_changed(dev);
}

static void set_queue_defaults(struct virtio_regs *regs, unsigned index)
{
	struct vq *vq = &regs->queues[index];

	vq_reset(vq);
	vq->size = vq->max_size;
	vq->desc_gpa = vq->driver_gpa = vq->device_gpa = 0;
	regs->queue_info[index].vector = VIRTIO_MSI_NO_VECTOR;
}

static void set_defaults(struct virtio_regs *regs)
{
	regs->device_feature_select = regs->driver_feature_select = 0;
	regs->driver_features = 0;
	regs->config_vector = VIRTIO_MSI_NO_VECTOR;
	regs->queue_select = 0;
	regs->status = 0;
	regs->isr = 0;
	regs->config_pending = false;
	regs->reset_wanted = false;
	for (unsigned i = 0; i < regs->dev->n_queues; i++) {
		set_queue_defaults(regs, i);
		regs->queue_info[i].reset_after = false;
	}
	regs->dev->negotiated = 0;
	regs->dev->active = regs->dev->broken = false;
}

int virtio_regs_init(struct virtio_regs *regs, struct virtio_dev *dev, const struct mem *mem,
		     struct msix *msix)
{
	unsigned n = dev->n_queues;

	*regs = (struct virtio_regs){.dev = dev, .msix = msix};
	regs->queues = calloc(n, sizeof(*regs->queues));
	regs->queue_info = calloc(n, sizeof(*regs->queue_info));
	if (!regs->queues || !regs->queue_info)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		regs->queue_info[i] = (struct virtio_regs_queue){.regs = regs, .index = i};
		regs->queues[i].mem = mem;
		regs->queues[i].max_size = dev->queue_size_max;
		regs->queues[i].stopped = true;
		regs->queues[i].interrupt = signal_queue;
		regs->queues[i].interrupt_user = &regs->queue_info[i];
	}
	dev->queues = regs->queues;
	dev->transport = regs;
	dev->config_changed = on_config_changed;
	dev->on_broken = on_broken;
	if (dev->ops->reset_queue)
		dev->offered |= RING_RESET;
	set_defaults(regs);
	return 0;
}

void virtio_regs_deinit(struct virtio_regs *regs)
{
	free(regs->queues);
	free(regs->queue_info);
	regs->queues = NULL;
	regs->queue_info = NULL;
}

/* The queue the driver selected, or NULL: there reads are 0 and writes ignored. */
static struct vq *selected(const struct virtio_regs *regs)
{
	return regs->queue_select < regs->dev->n_queues ? &regs->queues[regs->queue_select] : NULL;
}

static void snapshot_queue(const struct virtio_regs *regs, struct common_cfg *whole)
{
	struct virtio_pci_common_cfg *cfg = &whole->base;
	const struct vq *vq = selected(regs);

	if (!vq)
		return;
	whole->queue_reset = htole16(regs->queue_info[regs->queue_select].draining);
	cfg->queue_size = htole16(vq->size);
	cfg->queue_msix_vector = htole16(regs->queue_info[regs->queue_select].vector);
	cfg->queue_enable = htole16(vq->enabled);
	cfg->queue_notify_off = htole16(regs->queue_select);
	cfg->queue_desc_lo = htole32((uint32_t)vq->desc_gpa);
	cfg->queue_desc_hi = htole32((uint32_t)(vq->desc_gpa >> 32));
	cfg->queue_avail_lo = htole32((uint32_t)vq->driver_gpa);
	cfg->queue_avail_hi = htole32((uint32_t)(vq->driver_gpa >> 32));
	cfg->queue_used_lo = htole32((uint32_t)vq->device_gpa);
	cfg->queue_used_hi = htole32((uint32_t)(vq->device_gpa >> 32));
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

void virtio_regs_read(const struct virtio_regs *regs, uint64_t off, void *data, unsigned len)
{
	struct common_cfg cfg = {
		.base.device_feature_select = htole32(regs->device_feature_select),
		.base.device_feature =
			htole32(feature_word(regs->dev->offered, regs->device_feature_select)),
		.base.guest_feature_select = htole32(regs->driver_feature_select),
		.base.guest_feature =
			htole32(feature_word(regs->driver_features, regs->driver_feature_select)),
		.base.msix_config = htole16(regs->config_vector),
		.base.num_queues = htole16((uint16_t)regs->dev->n_queues),
		.base.device_status = regs->status,
		.base.config_generation = regs->generation,
		.base.queue_select = htole16(regs->queue_select),
	};

	snapshot_queue(regs, &cfg);
	memset(data, 0, len);
	if (range_fits(off, len, sizeof(cfg)))
		memcpy(data, (const uint8_t *)&cfg + off, len);
}

static void set_half(uint64_t *value, unsigned half, uint32_t bits)
{
	unsigned shift = 32 * half;

	*value = (*value & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)bits << shift;
}

static void write_features(struct virtio_regs *regs, uint32_t bits)
{
	if (regs->driver_feature_select < 2 && !(regs->status & VIRTIO_CONFIG_S_FEATURES_OK))
		set_half(&regs->driver_features, regs->driver_feature_select, bits);
}

static uint16_t valid_vector(const struct virtio_regs *regs, uint16_t vector)
{
	return vector < regs->msix->n_vectors ? vector : VIRTIO_MSI_NO_VECTOR;
}

static bool accept_features(struct virtio_regs *regs)
{
	uint64_t required = UINT64_C(1) << VIRTIO_F_VERSION_1;

	if ((regs->driver_features & ~regs->dev->offered) || !(regs->driver_features & required))
		return false;
	regs->dev->negotiated = regs->driver_features;
	return true;
}

static void start_device(struct virtio_regs *regs)
{
	struct virtio_dev *dev = regs->dev;

	if (dev->broken) /* a queue could not be enabled */
		return;
	if (dev->ops->activate(dev) < 0) {
		virtio_dev_broken(dev, "cannot be activated");
		return;
	}
	dev->active = true;
	/* Notifications that came before this were ignored. */
	for (unsigned i = 0; i < dev->n_queues; i++)
		dev->kick_again(dev, i);
}

static void on_drained(void *user)
{
	struct virtio_regs *regs = user;

	regs->draining = false;
	if (regs->reset_wanted)
		set_defaults(regs);
	else
		for (unsigned i = 0; i < regs->dev->n_queues; i++)
			vq_reset(&regs->queues[i]);
	if (regs->idle)
		regs->idle(regs->idle_user);
}

/* The device is asked only once no queue of it is draining any more. */
static void reset_device(struct virtio_regs *regs)
{
	if (regs->n_queues_draining == 0)
		regs->dev->ops->reset(regs->dev, on_drained, regs);
}

static void stop(struct virtio_regs *regs)
{
	regs->draining = true;
	if (!regs->dev->active) {
		on_drained(regs);
		return;
	}
	regs->dev->active = false;
	reset_device(regs);
}

void virtio_regs_reset(struct virtio_regs *regs)
{
	regs->reset_wanted = true;
	if (!regs->draining)
		stop(regs);
}

static bool uses_unplugged(const struct virtio_regs *regs)
{
	const struct virtio_dev *dev = regs->dev;

	for (unsigned i = 0; i < dev->n_queues; i++)
		if (vq_is_lost(&regs->queues[i]))
			return true;
	return dev->ops->writes_unplugged && dev->ops->writes_unplugged(dev, regs->queues[0].mem);
}

bool virtio_regs_memory_unplugged(struct virtio_regs *regs)
{
	if (!uses_unplugged(regs))
		return false;
	if (!regs->draining) {
		virtio_dev_broken(regs->dev, "it uses memory that was unplugged");
		stop(regs);
	}
	return regs->draining;
}

static void on_queue_drained(void *user)
{
	struct virtio_regs_queue *queue = user;
	struct virtio_regs *regs = queue->regs;

	queue->draining = false;
	queue->reset_after = true;
	regs->n_queues_draining--;
	set_queue_defaults(regs, queue->index);
	if (regs->draining)
		reset_device(regs);
}

/* virtio 1.2 §2.6.1. */
static void reset_queue(struct virtio_regs *regs)
{
	struct vq *vq = selected(regs);
	struct virtio_regs_queue *queue;

	if (!vq || !vq->enabled || !(regs->dev->negotiated & RING_RESET))
		return;
	queue = &regs->queue_info[regs->queue_select];
	if (queue->draining)
		return;
	queue->draining = true;
	regs->n_queues_draining++;
	if (regs->dev->active)
		regs->dev->ops->reset_queue(regs->dev, queue->index, on_queue_drained, queue);
	else
		on_queue_drained(queue);
}

static void write_status(struct virtio_regs *regs, uint8_t value)
{
	const uint8_t driver_bits = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
				    VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
				    VIRTIO_CONFIG_S_FAILED;
	/* The driver may set bits but not clear one (§2.1.1). */
	uint8_t added = (uint8_t)(value & driver_bits & ~regs->status);

	if (value == 0) {
		virtio_regs_reset(regs);
		return;
	}
	if ((added & VIRTIO_CONFIG_S_FEATURES_OK) && !accept_features(regs))
		added &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	if (!((regs->status | added) & VIRTIO_CONFIG_S_FEATURES_OK))
		added &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	regs->status |= added;
	if (!(added & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	start_device(regs);
	if (regs->config_pending)
		signal_config(regs);
}

static void enable_queue(struct virtio_regs *regs, struct vq *vq)
{
	if (!(regs->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return;
	vq->indirect = regs->dev->negotiated & (UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC);
	if (vq_enable(vq, regs->dev->negotiated & (UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)) < 0)
		virtio_dev_broken(regs->dev, "a queue's size or address");
	else if (regs->dev->active)
		regs->dev->kick_again(regs->dev, regs->queue_select);
}

/* Where a queue is and how long: fixed from its enabling on, and from DRIVER_OK on, until a reset
 * of the device or of this queue. */
static void write_queue(struct virtio_regs *regs, uint64_t off, uint32_t value)
{
	struct vq *vq = selected(regs);

	if (!vq || vq->enabled)
		return;
	if ((regs->status & VIRTIO_CONFIG_S_DRIVER_OK) &&
	    !regs->queue_info[regs->queue_select].reset_after)
		return;
	switch (off) {
	case OFFSET(queue_size):
		if (is_power_of_two(value) && value <= vq->max_size)
			vq->size = (uint16_t)value;
		break;
	case OFFSET(queue_enable):
		if (value == 1)
			enable_queue(regs, vq);
		break;
	case OFFSET(queue_desc_lo):
	case OFFSET(queue_desc_hi):
		set_half(&vq->desc_gpa, off == OFFSET(queue_desc_hi), value);
		break;
	case OFFSET(queue_avail_lo):
	case OFFSET(queue_avail_hi):
		set_half(&vq->driver_gpa, off == OFFSET(queue_avail_hi), value);
		break;
	case OFFSET(queue_used_lo):
	case OFFSET(queue_used_hi):
		set_half(&vq->device_gpa, off == OFFSET(queue_used_hi), value);
		break;
	}
}

static void write_8(struct virtio_regs *regs, uint64_t off, uint8_t value)
{
	if (off == OFFSET(device_status))
		write_status(regs, value);
}

static void write_16(struct virtio_regs *regs, uint64_t off, uint16_t value)
{
	switch (off) {
	case OFFSET(msix_config):
		regs->config_vector = valid_vector(regs, value);
		break;
	case OFFSET(queue_select):
		regs->queue_select = value;
		break;
	case OFFSET(queue_msix_vector):
		if (selected(regs))
			regs->queue_info[regs->queue_select].vector = valid_vector(regs, value);
		break;
	case OFFSET(queue_size):
	case OFFSET(queue_enable):
		write_queue(regs, off, value);
		break;
	case VIRTIO_REGS_QUEUE_RESET:
		if (value == 1)
			reset_queue(regs);
		break;
	}
}

static void write_32(struct virtio_regs *regs, uint64_t off, uint32_t value)
{
	switch (off) {
	case OFFSET(device_feature_select):
		regs->device_feature_select = value;
		break;
	case OFFSET(guest_feature_select):
		regs->driver_feature_select = value;
		break;
	case OFFSET(guest_feature):
		write_features(regs, value);
		break;
	default:
		if (off >= OFFSET(queue_desc_lo) && off <= OFFSET(queue_used_hi))
			write_queue(regs, off, value);
		break;
	}
}

void virtio_regs_write(struct virtio_regs *regs, uint64_t off, const void *data, unsigned len)
{
	uint64_t value = 0;

	if (!range_fits(off, len, VIRTIO_REGS_LEN))
		return;
	memcpy(&value, data, len);
	value = le64toh(value);
	if (regs->draining) { /* the driver of what was withdrawn waits for a status of 0 */
		if (off == OFFSET(device_status) && len == 1 && value == 0)
			regs->reset_wanted = true;
		return;
	}
	if (len == 1) {
		write_8(regs, off, (uint8_t)value);
	} else if (len == 2) {
		write_16(regs, off, (uint16_t)value);
	} else if (len == 4) {
		write_32(regs, off, (uint32_t)value);
	} else if (len == 8 && off >= OFFSET(queue_desc_lo) && off <= OFFSET(queue_used_lo)) {
		write_32(regs, off, (uint32_t)value);
		write_32(regs, off + 4, (uint32_t)(value >> 32));
	}
}

uint8_t virtio_regs_take_isr(struct virtio_regs *regs)
{
	uint8_t isr = regs->isr;

	regs->isr = 0;
	return isr;
}

void virtio_regs_kick(struct virtio_regs *regs, unsigned queue)
{
	struct virtio_dev *dev = regs->dev;

	if (queue < dev->n_queues && dev->active && !dev->broken && regs->queues[queue].enabled &&
	    !regs->queue_info[queue].draining)
		dev->ops->kick(dev, queue);
}

void virtio_regs_set_master(struct virtio_regs *regs, bool on)
{
	struct virtio_dev *dev = regs->dev;

	for (unsigned i = 0; i < dev->n_queues; i++) {
		regs->queues[i].stopped = !on;
		if (!on || !dev->active || regs->queue_info[i].draining)
			continue;
		vq_flush(&regs->queues[i]);
		dev->kick_again(dev, i);
	}
}
