// SPDX-License-Identifier: Apache-2.0
/* Requests of a hostile driver to a small disk of two queues, limited and direct or not: any
 * header, any framing, resets of one queue and of all, and the disk taken away. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "base/cleanup.h"
#include "tests/unit/virtio_driver.h"
#include "virtio/blk.h"

#define DISK_LEN     (64u << 10)
#define STEPS_MAX    100
#define SEGMENTS_MAX 6u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One request of an input. */
struct step {
	/* n_segments: the highest bit is the queue; writable: a bit a segment */
	uint8_t type, odd, n_segments, writable;
	uint16_t sector;
	uint16_t lens[SEGMENTS_MAX];
};

static void run_step(struct driver *d, const struct step *step)
{
	struct virtio_blk_outhdr header = {.type = step->odd & 1 ? step->type : step->type % 14,
					   .sector = step->sector % 160};
	struct segment segments[SEGMENTS_MAX + 2] = {{DRIVER_DATA, sizeof(header), false}};
	unsigned n = 1, queue = step->n_segments >> 7;

	if (step->odd & 2)
		header.sector = ~header.sector;
	memcpy(driver_at(d, DRIVER_DATA), &header, sizeof(header));
	for (unsigned i = 0; i < step->n_segments % (SEGMENTS_MAX + 1); i++) {
		uint32_t len = step->odd & 4 ? step->lens[i] : step->lens[i] / 512 * 512u;

		segments[n++] =
			(struct segment){DRIVER_REGION_LEN - 1024, len, step->writable & (1u << i)};
	}
	if (!(step->odd & 8))
		segments[n++] = (struct segment){DRIVER_DATA + 64, 1, true};
	if (step->odd & 16)
		driver_add_indirect(d, queue, segments, n);
	else
		driver_add(d, queue, segments, n);
	driver_kick(d, queue);
	if (step->odd & 32)
		driver_run(d, 0);
}

static int attach_disk(struct driver *d, uint8_t settings)
{
	_cleanup_(close_fdp) int fd = memfd_create("disk", MFD_CLOEXEC);
	struct virtio_blk_params params;
	struct virtio_dev *dev;
	int r;

	if (fd < 0 || ftruncate(fd, DISK_LEN) < 0)
		return -1;
	params = (struct virtio_blk_params){.fd = fd,
					    .read_only = settings & 1,
					    .direct = settings & 8,
					    .serial = "fuzz",
					    .n_queues = 2,
					    .rate.ops_per_s = settings & 4 ? 20000 : 0,
					    .rate.burst_ops = 2};
	r = virtio_blk_new(&dev, d->loop, &params);
	if (r == -EOPNOTSUPP) {
		params.direct = false;
		r = virtio_blk_new(&dev, d->loop, &params);
	}
	if (r < 0)
		return r;
	dev->log_limit.used = UINT32_MAX / 2;
	r = driver_attach(d, dev);
	if (r == 0)
		driver_start(d, settings & 2 ? dev->offered : dev->offered & 3ull << 32, 256);
	return r;
}

static void reset_queue(struct driver *d, unsigned queue)
{
	if (!driver_reset_queue(d, queue))
		abort();
	driver_setup_queue(d, queue, 256);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct driver d;
	uint64_t features;

	if (size < 1)
		return 0;
	if (driver_init(&d) < 0 || attach_disk(&d, data[0]) < 0)
		abort();
	d.next_data = DRIVER_DATA + 4096; /* behind the header and the status */
	features = d.dev->offered;
	data++;
	size--;
	for (unsigned n = 0; size >= sizeof(struct step) && n < STEPS_MAX; n++) {
		struct step step;

		memcpy(&step, data, sizeof(step));
		data += sizeof(step);
		size -= sizeof(step);
		run_step(&d, &step);
		if (step.odd == 0xfe && d.dev->negotiated & 1ull << VIRTIO_F_RING_RESET)
			reset_queue(&d, step.type % 2);
		if (step.odd == 0xfd)
			d.dev->ops->revoke(d.dev);
		if (d.dev->broken || step.odd == 0xff) {
			if (!driver_reset(&d))
				abort();
			d.next_data = DRIVER_DATA + 4096;
			driver_start(&d, features, 256);
		}
	}
	driver_deinit(&d);
	return 0;
}
