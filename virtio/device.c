// SPDX-License-Identifier: Apache-2.0
#include "virtio/device.h"

#include "base/log.h"

void virtio_dev_broken(struct virtio_dev *dev, const char *why)
{
	uint32_t suppressed;

	if (dev->broken)
		return;
	dev->broken = true;
	if (log_allowed(&dev->log_limit, 5, &suppressed))
		log_warning("dev=%s err=guest-broke-device why=\"%s\" suppressed=%u", dev->ops->name,
			    why, suppressed);
	if (dev->on_broken)
		dev->on_broken(dev);
}
