// SPDX-License-Identifier: Apache-2.0
#include "vmm/resources.h"

#include <errno.h>

#include "base/util.h"
#include "virtio/balloon.h"
#include "virtio/memdev.h"
#include "runner/spec.h"

void resources_init(struct resources *resources, uint64_t boot_bytes, uint64_t max_bytes,
		    struct virtio_dev *balloon, struct virtio_dev *memdev)
{
	*resources = (struct resources){
		.boot_bytes = boot_bytes,
		.max_bytes = max_bytes,
		.target_bytes = boot_bytes,
		.balloon = balloon,
		.memdev = memdev,
	};
}

int resources_check_memory(const struct resources *resources, uint64_t bytes, struct error *err)
{
	if (bytes < SPEC_MEMORY_MIB_MIN * MIB || bytes > resources->max_bytes)
		return error_set(err, -ERANGE, "the zone's memory may be %u to %llu MiB",
				 SPEC_MEMORY_MIB_MIN,
				 (unsigned long long)(resources->max_bytes / MIB));
	if (bytes < resources->boot_bytes && !resources->balloon)
		return error_set(err, -ENOTSUP,
				 "the zone has no balloon: its memory cannot be below %llu MiB",
				 (unsigned long long)(resources->boot_bytes / MIB));
	return 0;
}

int resources_set_memory(struct resources *resources, uint64_t bytes, struct error *err)
{
	uint64_t boot = resources->boot_bytes;
	int r = resources_check_memory(resources, bytes, err);

	if (r < 0)
		return r;
	resources->target_bytes = bytes;
	if (resources->memdev)
		virtio_memdev_set_target(resources->memdev, bytes > boot ? bytes - boot : 0);
	if (resources->balloon)
		virtio_balloon_set_target(resources->balloon, bytes < boot ? boot - bytes : 0);
	return 0;
}

uint64_t resources_used_memory(const struct resources *resources)
{
	uint64_t used = resources->boot_bytes, given = 0;

	if (resources->memdev)
		used += virtio_memdev_plugged(resources->memdev);
	if (resources->balloon)
		given = virtio_balloon_given(resources->balloon);
	return given < used ? used - given : 0;
}
