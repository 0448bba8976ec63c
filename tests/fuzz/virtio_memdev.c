// SPDX-License-Identifier: Apache-2.0
/* Requests of a hostile driver to virtio-mem, beside a host that keeps its own books: blocks change
 * only as they may, and the device's count is the host's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_mem.h>

#include "tests/unit/virtio_driver.h"
#include "virtio/memdev.h"

#define STEPS_MAX 100
#define START	  (UINT64_C(4) << 30)
#define BLOCK	  MEMDEV_BLOCK_MIN
#define BLOCKS	  100u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One request of an input. */
struct step {
	uint8_t type, odd;
	uint16_t n_blocks;
	uint32_t block; /* at which it starts */
	uint16_t req_len, resp_len;
	uint16_t target, fails_at;
};

struct host {
	struct driver d;
	uint64_t plugged[MEMDEV_BLOCKS_MAX / 64];
	unsigned n_plugged, fails_at;
};

static void flip(struct host *host, unsigned block, bool plugged)
{
	uint64_t bit = UINT64_C(1) << (block % 64);

	if (block >= BLOCKS || !(host->plugged[block / 64] & bit) != plugged)
		abort();
	host->plugged[block / 64] ^= bit;
	host->n_plugged += plugged ? 1u : -1u;
}

static int plug(void *user, unsigned block)
{
	struct host *host = user;

	if (block == host->fails_at)
		return -ENOMEM;
	flip(host, block, true);
	return 0;
}

static int unplug(void *user, unsigned block)
{
	struct host *host = user;

	if (block == host->fails_at + 1)
		return -ENOMEM;
	flip(host, block, false);
	return 0;
}

static void run_step(struct host *host, const struct step *step)
{
	struct driver *d = &host->d;
	struct virtio_mem_req req = {
		.type = step->odd & 1 ? step->type : step->type % 4,
		.u.plug = {.addr = START + step->block % (BLOCKS + 8) * BLOCK,
			   .nb_blocks = step->odd & 2 ? step->n_blocks : step->n_blocks % 16}};
	struct segment segments[] = {{DRIVER_DATA, sizeof(req), false},
				     {DRIVER_DATA + 64, sizeof(struct virtio_mem_resp), true}};

	if (step->odd & 4)
		req.u.plug.addr += (uint64_t)step->block << 32 | step->req_len;
	if (step->odd & 8) {
		segments[0].len = step->req_len;
		segments[1].len = step->resp_len;
	}
	host->fails_at = step->odd & 16 ? step->fails_at : UINT32_MAX - 1;
	virtio_memdev_set_target(d->dev, step->target * BLOCK);
	memcpy(driver_at(d, DRIVER_DATA), &req, sizeof(req));
	driver_add(d, 0, segments, 2);
	driver_kick(d, 0);
	if (step->odd & 32)
		driver_run(d, 0);
	if (virtio_memdev_plugged(d->dev) != host->n_plugged * BLOCK)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct host host = {.fails_at = UINT32_MAX - 1};
	const struct memdev_host ops = {plug, unplug, &host, host.plugged};
	struct virtio_dev *dev;

	if (driver_init(&host.d) < 0 ||
	    virtio_memdev_new(&dev, START, BLOCKS * BLOCK, BLOCK, &ops) < 0)
		abort();
	dev->log_limit.used = UINT32_MAX / 2;
	if (driver_attach(&host.d, dev) < 0)
		abort();
	driver_start(&host.d, dev->offered, 16);
	for (unsigned n = 0; size >= sizeof(struct step) && n < STEPS_MAX; n++) {
		struct step step;

		memcpy(&step, data, sizeof(step));
		data += sizeof(step);
		size -= sizeof(step);
		run_step(&host, &step);
		if (dev->broken || step.odd == 0xff) {
			if (!driver_reset(&host.d))
				abort();
			driver_start(&host.d, dev->offered, 16);
		}
	}
	driver_run(&host.d, 0);
	driver_deinit(&host.d);
	return 0;
}
