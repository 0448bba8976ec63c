// SPDX-License-Identifier: Apache-2.0
/* Sequences of accesses to a function's configuration space and BAR, with resets and turns of the
 * loop in between. */
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_pci.h>

#include "tests/unit/virtio_driver.h"
#include "virtio/console.h"
#include "virtio/rng.h"

#define STEPS_MAX 400

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One step of an input. */
struct step {
	uint8_t what, len_bits;
	uint16_t off;
	uint32_t value;
};

static void on_output(void *user, unsigned port, const void *data, size_t len)
{
	(void)user;
	(void)port;
	(void)data;
	(void)len;
}

static void run_step(struct driver *d, const struct step *step)
{
	unsigned len = 1u << (step->len_bits % 4), off;
	uint64_t value = step->value | (uint64_t)step->value << 32;
	uint16_t head = (uint16_t)step->value;

	switch (step->what % 8) {
	case 0:
		len = len > 4 ? 4 : len;
		off = step->off % PCI_CONFIG_SIZE & ~(len - 1);
		d->pci->ops->config_write(d->pci, off, len, step->value);
		break;
	case 1:
		len = len > 4 ? 4 : len;
		off = step->off % PCI_CONFIG_SIZE & ~(len - 1);
		(void)d->pci->ops->config_read(d->pci, off, len);
		break;
	case 2: /* the common structure, where most happens */
		d->pci->ops->bar_write(d->pci, 0, step->off % 64, &value, len);
		break;
	case 3:
		off = step->off % (VIRTIO_PCI_BAR_SIZE - 8);
		d->pci->ops->bar_write(d->pci, 0, off, &value, len);
		break;
	case 4:
		off = step->off % (VIRTIO_PCI_BAR_SIZE - 8);
		d->pci->ops->bar_read(d->pci, 0, off, &value, len);
		break;
	case 5:
		driver_run(d, 0);
		break;
	case 6:
		driver_start(d, DRIVER_COMMON_FEATURES, 16);
		break;
	case 7:
		if (d->queues[0].avail) {
			driver_make_available(d, step->off % 2 && d->queues[1].avail, head);
			driver_kick(d, step->off % 2);
		}
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_dev *dev;
	struct driver d;
	unsigned n = 0;
	int r;

	if (size < 1 || driver_init(&d) < 0)
		return 0;
	r = data[0] % 2 ? virtio_rng_new(&dev, d.loop) : virtio_console_new(&dev, on_output, NULL);
	if (r < 0 || driver_attach(&d, dev) < 0)
		abort();
	dev->log_limit.used = UINT32_MAX / 2;
	data++;
	size--;
	for (; size >= sizeof(struct step) && n < STEPS_MAX; n++) {
		struct step step;

		memcpy(&step, data, sizeof(step));
		data += sizeof(step);
		size -= sizeof(step);
		run_step(&d, &step);
	}
	driver_deinit(&d);
	return 0;
}
