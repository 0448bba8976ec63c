// SPDX-License-Identifier: Apache-2.0
#include "virtio/device.h"

#include <string.h>

#include "base/log.h"
#include "base/util.h"

void virtio_dev_broken(struct virtio_dev *dev, const char *why)
{
	uint32_t suppressed;

	if (dev->broken)
		return;
	dev->broken = true;
	if (log_allowed(&dev->log_limit, 5, &suppressed))
		log_warning("dev=%s err=guest-broke-device why=\"%s\" suppressed=%u",
			    dev->ops->name, why, suppressed);
	if (dev->on_broken)
		dev->on_broken(dev);
}

void virtio_config_copy(const void *config, size_t config_len, uint32_t off, void *data,
			uint32_t len)
{
	memset(data, 0, len);
	if (off >= config_len)
		return;
	if (len > config_len - off)
		len = (uint32_t)(config_len - off);
	memcpy(data, (const uint8_t *)config + off, len);
}

uint16_t virtio_queue_size(unsigned wanted)
{
	if (wanted == 0)
		return VIRTIO_QUEUE_SIZE;
	if (!is_power_of_two(wanted) || wanted < VIRTIO_QUEUE_SIZE || wanted > VQ_SIZE_MAX)
		return 0;
	return (uint16_t)wanted;
}

unsigned virtio_counters_copy(const struct virtio_counter *all, size_t n,
			      struct virtio_counter *out, unsigned max)
{
	if (n > max)
		n = max;
	memcpy(out, all, n * sizeof(all[0]));
	return (unsigned)n;
}
