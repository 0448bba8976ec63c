// SPDX-License-Identifier: Apache-2.0
/* Chains of a hostile driver to the rng, with resets between: it writes no more than it says, into
 * no other memory, and comes to rest. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/virtio_driver.h"
#include "virtio/rng.h"

#define STEPS_MAX    100
#define SEGMENTS_MAX 4u
#define QUEUE_SIZE   16
#define CANARY_LEN   4096u
#define MEMORY_END   (DRIVER_RAM_LEN - CANARY_LEN) /* what lies behind is no memory of the guest */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One request of an input. */
struct step {
	uint8_t n_segments, writable, odd, turn;
	uint16_t lens[SEGMENTS_MAX];
	uint16_t places[SEGMENTS_MAX];
};

static void run_step(struct driver *d, const struct step *step)
{
	struct segment segments[SEGMENTS_MAX];
	unsigned n = step->n_segments % SEGMENTS_MAX + 1;

	for (unsigned i = 0; i < n; i++) {
		gpa_t gpa = DRIVER_DATA + step->places[i] * 16u;

		if (step->odd & 1)
			gpa = DRIVER_REGION_LEN - step->lens[i] / 2;
		segments[i] = (struct segment){gpa, step->lens[i], !(step->writable & (1u << i))};
	}
	if (step->odd & 16)
		segments[0].gpa = MEMORY_END - step->lens[0] / 2;
	if (step->odd & 2)
		segments[0].gpa = (gpa_t)DRIVER_RAM_LEN + ((gpa_t)step->places[0] << 32);
	if (step->odd & 4)
		driver_make_available(d, 0, step->places[0]);
	else if (step->odd & 8)
		driver_add_indirect(d, 0, segments, n);
	else
		driver_add(d, 0, segments, n);
	driver_kick(d, 0);
	if (step->turn & 1)
		driver_run(d, 0);
}

static void take_all(struct driver *d)
{
	uint32_t id, len;

	while (driver_take_used(d, 0, &id, &len))
		if (id >= QUEUE_SIZE || len > SEGMENTS_MAX * UINT16_MAX)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_dev *dev;
	struct driver d;

	if (driver_init(&d) < 0 || virtio_rng_new(&dev, d.loop) < 0)
		abort();
	dev->log_limit.used = UINT32_MAX / 2;
	if (driver_attach(&d, dev) < 0)
		abort();
	d.mem.regions[1].len -= CANARY_LEN;
	driver_start(&d, DRIVER_COMMON_FEATURES | DRIVER_RING_RESET, QUEUE_SIZE);
	for (unsigned n = 0; size >= sizeof(struct step) && n < STEPS_MAX; n++) {
		struct step step;

		memcpy(&step, data, sizeof(step));
		data += sizeof(step);
		size -= sizeof(step);
		run_step(&d, &step);
		take_all(&d);
		if (step.turn == 0xfe && dev->active) {
			if (!driver_reset_queue(&d, 0))
				abort();
			driver_setup_queue(&d, 0, QUEUE_SIZE);
		}
		if (dev->broken || step.turn == 0xff) {
			if (!driver_reset(&d))
				abort();
			d.next_data = DRIVER_DATA;
			driver_start(&d, DRIVER_COMMON_FEATURES | DRIVER_RING_RESET, QUEUE_SIZE);
		}
	}
	for (unsigned i = 0; i < CANARY_LEN; i++)
		if (d.ram[MEMORY_END + i])
			abort();
	driver_deinit(&d);
	return 0;
}
