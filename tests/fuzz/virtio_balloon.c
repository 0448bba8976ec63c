// SPDX-License-Identifier: Apache-2.0
/* A hostile driver at all four queues of the balloon; what is discarded must be whole pages of its
 * memory, the rings' among them. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "tests/unit/virtio_driver.h"
#include "virtio/balloon.h"

#define STEPS_MAX    100
#define SEGMENTS_MAX 4u
#define QUEUES	     4u
#define PAGE	     4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One buffer of an input; what it says of page numbers is copied to where the segments begin. */
struct step {
	uint8_t queue, odd, n_segments, writable; /* writable: a bit a segment */
	uint32_t pfns[4];
	uint32_t offs[SEGMENTS_MAX], lens[SEGMENTS_MAX];
};

static void on_discard(void *user, void *host, uint64_t len)
{
	struct driver *d = user;
	uint64_t off = (uint64_t)((uint8_t *)host - d->ram);

	if (len == 0 || off % PAGE || len % PAGE || !range_fits(off, len, DRIVER_RAM_LEN))
		abort();
	memset(host, 0, len);
}

static void run_step(struct driver *d, const struct step *step)
{
	unsigned queue = step->queue % QUEUES;
	struct segment segments[SEGMENTS_MAX];
	unsigned n = step->n_segments % SEGMENTS_MAX + 1;

	for (unsigned i = 0; i < n; i++) {
		uint32_t off = step->offs[i] % DRIVER_RAM_LEN;

		if (!(step->odd & 1))
			off = off / PAGE * PAGE;
		if (off + sizeof(step->pfns) <= DRIVER_RAM_LEN && off >= DRIVER_DATA)
			memcpy(driver_at(d, off), step->pfns, sizeof(step->pfns));
		segments[i] = (struct segment){
			off, step->odd & 2 ? step->lens[i] : step->lens[i] % (64 * PAGE),
			step->writable & (1u << i)};
	}
	if ((step->odd & 4) && d->next_data + 4096 < DRIVER_RAM_LEN)
		driver_add_indirect(d, queue, segments, n);
	else
		driver_add(d, queue, segments, n);
	driver_kick(d, queue);
	if (step->odd & 8)
		driver_reg_write(d, 0x1004, 4, step->pfns[0]);
	if (step->odd & 16)
		virtio_balloon_set_target(d->dev, (uint64_t)step->pfns[1] << 12);
	if (step->odd & 32)
		driver_run(d, 0);
	virtio_balloon_stats(d->dev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct driver d;
	struct virtio_dev *dev;
	uint64_t features;

	if (size < 1)
		return 0;
	if (driver_init(&d) < 0 || virtio_balloon_new(&dev, on_discard, &d) < 0)
		abort();
	dev->log_limit.used = UINT32_MAX / 2;
	if (driver_attach(&d, dev) < 0)
		abort();
	features = dev->offered & (data[0] | ~UINT64_C(0xff));
	driver_start(&d, features, 64);
	data++;
	size--;
	for (unsigned n = 0; size >= sizeof(struct step) && n < STEPS_MAX; n++) {
		struct step step;

		memcpy(&step, data, sizeof(step));
		data += sizeof(step);
		size -= sizeof(step);
		run_step(&d, &step);
		if (dev->broken || step.odd == 0xff) {
			if (!driver_reset(&d))
				abort();
			d.next_data = DRIVER_DATA;
			driver_start(&d, features, 64);
		}
	}
	driver_run(&d, 0);
	driver_deinit(&d);
	return 0;
}
