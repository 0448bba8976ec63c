// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/harness.h"
#include "tests/unit/virtio_driver.h"

#include <string.h>

#include <linux/virtio_config.h>

#include "base/clock.h"
#include "base/util.h"
#include "virtio/rng.h"

UNIT_SUITE(virtio_rng);

static void start_with(struct driver *d, uint64_t features)
{
	struct virtio_dev *dev;

	cr_assert_eq(driver_init(d), 0);
	cr_assert_eq(virtio_rng_new(&dev, d->loop), 0);
	cr_assert_eq(driver_attach(d, dev), 0);
	driver_start(d, features, 16);
}

static void start(struct driver *d)
{
	start_with(d, DRIVER_COMMON_FEATURES | DRIVER_EVENT_IDX);
}

Test(virtio_rng, fills_what_was_asked)
{
	struct driver d;
	uint32_t len;
	uint8_t *bytes;
	unsigned zeroes = 0;
	struct virtio_counter counters[VIRTIO_COUNTERS_MAX];

	start(&d);
	bytes = driver_at(&d, DRIVER_DATA);
	driver_add(&d, 0, &(struct segment){DRIVER_DATA, 1000, true}, 1);
	driver_kick(&d, 0);
	cr_assert(driver_wait_used(&d, 0, NULL, &len));
	cr_assert_eq(len, 1000);
	for (unsigned i = 0; i < 1000; i++)
		zeroes += bytes[i] == 0;
	cr_assert_lt(zeroes, 50);
	cr_assert_eq(bytes[1000] | bytes[1001] | bytes[1002], 0);
	cr_assert_eq(d.dev->ops->counters(d.dev, counters, ARRAY_SIZE(counters)), 3);
	cr_assert_eq(counters[0].value, 1, "requests");
	cr_assert_eq(counters[1].value, 1000, "bytes");
	cr_assert_eq(counters[2].value, 0, "throttled");
	driver_deinit(&d);
}

/* Request amplification: few descriptors may not cost much work. */
Test(virtio_rng, rate_is_bounded_and_service_goes_on)
{
	struct driver d;
	uint64_t start_ns, total = 0;
	uint32_t len;

	start(&d);
	start_ns = clock_now_ns();
	while (clock_now_ns() - start_ns < NS_PER_S / 2) {
		driver_add(&d, 0, &(struct segment){DRIVER_DATA, 0x200000, true}, 1);
		driver_kick(&d, 0);
		cr_assert(driver_wait_used(&d, 0, NULL, &len));
		cr_assert_gt(len, 0);
		total += len;
	}
	cr_assert_leq(total, 65536 + 65536 * (clock_now_ns() - start_ns) / NS_PER_S);
	cr_assert_gt(total, 65536);
	driver_deinit(&d);
}

Test(virtio_rng, reset_and_end_while_waiting)
{
	struct driver d;

	start(&d);
	for (unsigned i = 0; i < 4; i++)
		driver_add(&d, 0, &(struct segment){DRIVER_DATA, 65536, true}, 1);
	driver_kick(&d, 0);
	driver_run(&d, 2);
	cr_assert(driver_reset(&d));
	driver_start(&d, DRIVER_COMMON_FEATURES, 16);
	for (unsigned i = 0; i < 4; i++)
		driver_add(&d, 0, &(struct segment){DRIVER_DATA, 65536, true}, 1);
	driver_kick(&d, 0);
	driver_run(&d, 2);
	driver_deinit(&d);
}

/* Also while it waits for its budget, which a reset does not fill. */
Test(virtio_rng, reset_of_its_queue)
{
	struct driver d;
	uint64_t start_ns = clock_now_ns(), total = 0;
	uint32_t len;

	start_with(&d, DRIVER_COMMON_FEATURES | DRIVER_RING_RESET);
	for (unsigned round = 0; round < 8; round++) {
		for (unsigned i = 0; i < 4; i++)
			driver_add(&d, 0, &(struct segment){DRIVER_DATA, 65536, true}, 1);
		driver_kick(&d, 0);
		cr_assert(driver_wait_used(&d, 0, NULL, &len));
		total += len;
		driver_run(&d, 2);
		cr_assert(driver_reset_queue(&d, 0));
		while (driver_take_used(&d, 0, NULL, &len))
			total += len;
		driver_setup_queue(&d, 0, round % 2 ? 16 : 8);
	}
	cr_assert_leq(total, 65536 + 65536 * (clock_now_ns() - start_ns) / NS_PER_S);
	cr_assert_eq(driver_status(&d), 15);
	driver_deinit(&d);
}

Test(virtio_rng, readable_buffers_break_it)
{
	struct driver d;

	start(&d);
	driver_add(&d, 0, &(struct segment){DRIVER_DATA, 16, false}, 1);
	driver_kick(&d, 0);
	driver_run(&d, 2);
	cr_assert(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	driver_deinit(&d);
}
