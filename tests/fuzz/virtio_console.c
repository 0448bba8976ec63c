// SPDX-License-Identifier: Apache-2.0
/* Control messages and output of a hostile guest to the console's ports. */
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_console.h>

#include "tests/unit/virtio_driver.h"
#include "virtio/console.h"

#define STEPS_MAX 300
#define TX_GPA	  0x200000u
#define MULTIPORT (1ull << VIRTIO_CONSOLE_F_MULTIPORT)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One step of an input. */
struct step {
	uint8_t what, odd;
	uint16_t event, value, len;
	uint32_t id;
};

static void on_output(void *user, unsigned port, const void *data, size_t len)
{
	(void)user;
	if (port >= CONSOLE_PORTS || len == 0 || !data)
		abort();
}

static void add(struct driver *d, unsigned queue, uint32_t len, bool writable)
{
	driver_add(d, queue, &(struct segment){TX_GPA, len, writable}, 1);
	driver_kick(d, queue);
}

static void reset_queue(struct driver *d, unsigned queue)
{
	if (!d->dev->active)
		return;
	if (!driver_reset_queue(d, queue))
		abort();
	driver_setup_queue(d, queue, 64);
}

static void run_step(struct driver *d, const struct step *step)
{
	const struct virtio_console_control message = {
		step->odd & 1 ? step->id : step->id % 3,
		(uint16_t)(step->odd & 2 ? step->event : step->event % 9), step->value};

	switch (step->what % 8) {
	case 0:
	case 1:
		memcpy(driver_at(d, TX_GPA), &message, sizeof(message));
		add(d, 3, step->odd & 4 ? step->len % 16 : sizeof(message), step->odd & 8);
		driver_run(d, 0);
		break;
	case 2:
		for (unsigned i = 0; i < step->len % 16; i++)
			add(d, 2, step->odd & 4 ? step->value % 32 : 64, !(step->odd & 8));
		break;
	case 3:
		add(d, step->odd & 1 ? 1 : 5, step->len, step->odd & 8);
		break;
	case 4:
		driver_run(d, 0);
		break;
	case 5:
		for (unsigned queue = 0; queue < 6; queue++)
			while (driver_take_used(d, queue, NULL, NULL))
				;
		break;
	case 6:
		if (step->odd & 16)
			reset_queue(d, step->len % 6);
		else
			driver_kick(d, step->len % 6);
		break;
	case 7:
		if (step->odd % 8)
			break;
		if (!driver_reset(d))
			abort();
		driver_start(d,
			     DRIVER_COMMON_FEATURES | DRIVER_RING_RESET |
				     (step->len % 4 ? MULTIPORT : 0),
			     64);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_dev *dev;
	struct driver d;

	if (driver_init(&d) < 0 || virtio_console_new(&dev, on_output, NULL) < 0)
		abort();
	if (driver_attach(&d, dev) < 0)
		abort();
	dev->log_limit.used = UINT32_MAX / 2;
	driver_start(&d, DRIVER_COMMON_FEATURES | DRIVER_EVENT_IDX | DRIVER_RING_RESET | MULTIPORT,
		     64);
	for (unsigned n = 0; size >= sizeof(struct step) && n < STEPS_MAX; n++) {
		struct step step;

		memcpy(&step, data, sizeof(step));
		data += sizeof(step);
		size -= sizeof(step);
		run_step(&d, &step);
	}
	driver_deinit(&d);
	return 0;
}
