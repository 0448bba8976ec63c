// SPDX-License-Identifier: Apache-2.0
#include "vmm/disks.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "virtio/blk.h"

/* One thread serves them all: more would only take interrupts away from the zone's other disks. */
#define QUEUES_DEFAULT_MAX 4u

void disks_init(struct disks *disks, struct slots *slots, unsigned n_vcpus)
{
	memset(disks, 0, sizeof(*disks));
	disks->slots = slots;
	disks->n_queues = n_vcpus < QUEUES_DEFAULT_MAX ? n_vcpus : QUEUES_DEFAULT_MAX;
}

static struct disk *find(struct disks *disks, const char *serial)
{
	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (strcmp(disks->disks[i].serial, serial) == 0)
			return &disks->disks[i];
	return NULL;
}

/* The disk with this serial that is there, for a request; NULL with *err. */
static struct disk *find_present(struct disks *disks, const char *serial, struct error *err)
{
	struct disk *disk = serial[0] ? find(disks, serial) : NULL;

	if (!disk || disk->slot.state == SLOT_LEAVING) {
		error_set(err, -ENOENT, "the zone has no disk '%s'", serial);
		return NULL;
	}
	return disk;
}

static void gone(struct slot *slot)
{
	container_of(slot, struct disk, slot)->serial[0] = '\0';
}

static int plug(struct disks *disks, struct disk *disk, const struct spec_disk *spec, bool hot)
{
	const struct virtio_blk_params params = {
		.fd = spec->fd,
		.read_only = spec->read_only,
		.direct = spec->direct,
		.serial = spec->serial,
		.n_queues = spec->n_queues ? spec->n_queues : disks->n_queues,
		.queue_size = spec->queue_size,
		.rate = spec->rate,
	};
	struct virtio_dev *dev;
	int r = virtio_blk_new(&dev, disks->slots->loop, &params);

	return r < 0 ? r : slot_plug(disks->slots, &disk->slot, dev, hot, gone);
}

int disks_attach(struct disks *disks, const struct spec_disk *spec, bool hot, struct error *err)
{
	struct disk *disk;
	int r;

	if (!spec_is_serial(spec->serial))
		return error_set(err, -EINVAL, "a serial is 1 to %d printable characters",
				 SPEC_SERIAL_MAX);
	if (!spec_is_rate(&spec->rate))
		return error_set(err, -EINVAL, "a rate of disk '%s' is above 2^40", spec->serial);
	disk = find(disks, spec->serial);
	if (disk && slot_is_leaving(&disk->slot))
		return error_set(err, -EBUSY, "disk '%s' is just being detached", spec->serial);
	if (disk)
		return error_set(err, -EEXIST, "a disk '%s' is attached already", spec->serial);
	disk = find(disks, "");
	if (!disk)
		return error_set(err, -ENOSPC, "the zone has no free slot for disk '%s'",
				 spec->serial);
	r = plug(disks, disk, spec, hot);
	if (r < 0)
		return error_set_errno(err, r, "cannot attach disk '%s'", spec->serial);
	disk->read_only = spec->read_only;
	memcpy(disk->serial, spec->serial, strlen(spec->serial) + 1);
	return 0;
}

struct slot *disks_slot(struct disks *disks, const char *serial)
{
	struct disk *disk = serial[0] ? find(disks, serial) : NULL;

	return disk ? &disk->slot : NULL;
}

int disks_swap(struct disks *disks, const char *serial, int fd, struct error *err)
{
	struct disk *disk = find_present(disks, serial, err);
	int r = disk ? virtio_blk_swap(disk->slot.dev, fd) : -ENOENT;

	if (r < 0)
		return error_set_errno(err, r, "cannot swap disk '%s'", serial);
	return 0;
}

int disks_resize(struct disks *disks, const char *serial, struct error *err)
{
	struct disk *disk = find_present(disks, serial, err);
	int r = disk ? virtio_blk_resize(disk->slot.dev) : -ENOENT;

	if (r < 0)
		return error_set_errno(err, r, "cannot resize disk '%s'", serial);
	return 0;
}
