// SPDX-License-Identifier: Apache-2.0
#include "virtio.h"

#define PCI_COMMAND_MEMORY	 2u
#define PCI_COMMAND_MASTER	 4u
#define PCI_CAPABILITIES	 0x34u
#define CAP_VENDOR		 9u
#define VIRTIO_VENDOR_DEVICE(id) (0x10401af4u + ((id) << 16))
#define SPINS			 2000u
#define PATIENCE		 100000u
#define PORT_UART_STATUS	 0x3fdu

static uint32_t structure(uint32_t config, uint32_t cap)
{
	uint32_t bar = read8(config + cap + 4);

	return (read32(config + 0x10 + bar * 4) & ~15u) + read32(config + cap + 8);
}

static void find_structures(struct device *dev)
{
	for (uint32_t cap = read8(dev->config + PCI_CAPABILITIES); cap;
	     cap = read8(dev->config + cap + 1)) {
		if (read8(dev->config + cap) != CAP_VENDOR)
			continue;
		switch (read8(dev->config + cap + 3)) {
		case 1:
			dev->common = structure(dev->config, cap);
			break;
		case 2:
			dev->notify = structure(dev->config, cap);
			dev->notify_multiplier = read32(dev->config + cap + 16);
			break;
		case 4:
			dev->device = structure(dev->config, cap);
			break;
		default:
			break;
		}
	}
}

bool virtio_at(struct device *dev, unsigned slot, unsigned id)
{
	dev->config = ECAM + (slot << 15);
	if (read32(dev->config) != VIRTIO_VENDOR_DEVICE(id))
		return false;
	write16(dev->config + 4, read16(dev->config + 4) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	find_structures(dev);
	return true;
}

bool virtio_find(struct device *dev, unsigned id)
{
	for (unsigned slot = 0; slot < 32; slot++)
		if (virtio_at(dev, slot, id))
			return true;
	return false;
}

uint8_t virtio_status(const struct device *dev)
{
	return read8(dev->common + COMMON_STATUS);
}

static void add_status(struct device *dev, uint8_t bit)
{
	write8(dev->common + COMMON_STATUS, virtio_status(dev) | bit);
}

void virtio_start(struct device *dev)
{
	virtio_start_with(dev, 0, 1);
}

void virtio_start_with(struct device *dev, uint32_t low, uint32_t high)
{
	write8(dev->common + COMMON_STATUS, 0);
	while (virtio_status(dev))
		;
	add_status(dev, STATUS_ACKNOWLEDGE);
	add_status(dev, STATUS_DRIVER);
	write32(dev->common + COMMON_DRIVER_FEATURE_SELECT, 0);
	write32(dev->common + COMMON_DRIVER_FEATURE, low);
	write32(dev->common + COMMON_DRIVER_FEATURE_SELECT, 1);
	write32(dev->common + COMMON_DRIVER_FEATURE, high);
	add_status(dev, STATUS_FEATURES_OK);
	CHECK(virtio_status(dev) & STATUS_FEATURES_OK, virtio_status(dev));
}

static void write_address(uint32_t at, const volatile void *address)
{
	write32(at, (uint32_t)address);
	write32(at + 4, 0);
}

uint32_t virtio_enable_queue(struct device *dev, uint16_t index, uint16_t size,
			     const volatile void *desc, const volatile void *avail,
			     const volatile void *used)
{
	write16(dev->common + COMMON_QUEUE_SELECT, index);
	write16(dev->common + COMMON_QUEUE_SIZE, size);
	write_address(dev->common + COMMON_QUEUE_DESC, desc);
	write_address(dev->common + COMMON_QUEUE_DRIVER, avail);
	write_address(dev->common + COMMON_QUEUE_DEVICE, used);
	write16(dev->common + COMMON_QUEUE_ENABLE, 1);
	return dev->notify + read16(dev->common + COMMON_QUEUE_NOTIFY_OFF) * dev->notify_multiplier;
}

void virtio_queue(struct device *dev, struct queue *queue, uint16_t index)
{
	queue->index = index;
	queue->avail_idx = queue->used_idx = queue->seen = 0;
	queue->doorbell = virtio_enable_queue(dev, index, QUEUE_SIZE, queue->desc,
					      &queue->avail_flags, &queue->used_flags);
}

void virtio_driver_ok(struct device *dev)
{
	add_status(dev, STATUS_DRIVER_OK);
}

void virtio_submit(struct queue *queue, uint16_t head)
{
	queue->avail_ring[queue->avail_idx % QUEUE_SIZE] = head;
	queue->avail_idx++;
	write16(queue->doorbell, queue->index);
}

/* Looks first as fast as it can, then between exits to the VMM, so that hosts fast and slow are
 * given about a second. */
bool virtio_wait(struct queue *queue, uint32_t *len)
{
	for (uint32_t i = 0; i < SPINS + PATIENCE; i++) {
		if (queue->used_idx != queue->seen) {
			*len = queue->used_ring[queue->seen % QUEUE_SIZE].len;
			queue->seen++;
			return true;
		}
		if (i >= SPINS)
			(void)inb(PORT_UART_STATUS);
	}
	return false;
}

bool virtio_wait_broken(const struct device *dev)
{
	for (uint32_t i = 0; i < PATIENCE / 5; i++)
		if (virtio_status(dev) & STATUS_NEEDS_RESET)
			return true;
	return false;
}
