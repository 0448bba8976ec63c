// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/harness.h"
#include "tests/unit/virtio_driver.h"

#include <string.h>

#include <linux/virtio_config.h>

#include "virtio/console.h"

UNIT_SUITE(virtio_console);

struct output {
	uint64_t len;
	uint64_t sum;
	size_t chunk_max;
};

static void on_output(void *user, const void *data, size_t len)
{
	struct output *output = user;

	output->len += len;
	if (len > output->chunk_max)
		output->chunk_max = len;
	for (size_t i = 0; i < len; i++)
		output->sum = output->sum * 31 + ((const uint8_t *)data)[i];
}

static void start(struct driver *d, struct output *output, uint64_t features)
{
	struct virtio_dev *dev;

	cr_assert_eq(driver_init(d), 0);
	cr_assert_eq(virtio_console_new(&dev, on_output, output), 0);
	cr_assert_eq(driver_attach(d, dev), 0);
	driver_start(d, features, 64);
}

Test(virtio_console, output_in_order_from_many_segments)
{
	struct driver d;
	struct output output = {0}, expected = {0};
	struct segment segments[5];

	start(&d, &output, DRIVER_COMMON_FEATURES | DRIVER_EVENT_IDX);
	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 0; i < 5; i++) {
			uint32_t len = 1 + (round * 7 + i * 13) % 100;

			segments[i] = (struct segment){driver_alloc(&d, len), len, false};
			memset(driver_at(&d, segments[i].gpa), 'a' + (int)(round + i) % 26, len);
			on_output(&expected, driver_at(&d, segments[i].gpa), len);
		}
		if (round % 2)
			driver_add_indirect(&d, 1, segments, 5);
		else
			driver_add(&d, 1, segments, 5);
		driver_kick(&d, 1);
		cr_assert(driver_wait_used(&d, 1, NULL, NULL));
	}
	cr_assert_eq(output.len, expected.len);
	cr_assert_eq(output.sum, expected.sum);
	driver_deinit(&d);
}

/* CVE-2020-27174: what is passed on in one go is bounded; a huge chain takes turns. */
Test(virtio_console, huge_chains_take_turns)
{
	struct driver d;
	struct output output = {0};
	struct segment segments[32];

	start(&d, &output, DRIVER_COMMON_FEATURES);
	for (unsigned i = 0; i < 32; i++) /* overlapping, and over the border of two regions */
		segments[i] = (struct segment){DRIVER_DATA, 0x180000, false};
	driver_add(&d, 1, segments, 32);
	driver_kick(&d, 1);
	driver_run(&d, 1);
	cr_assert_lt(output.len, 32u * 0x180000, "not all in one turn");
	cr_assert(driver_wait_used(&d, 1, NULL, NULL));
	cr_assert_eq(output.len, 32u * 0x180000);
	cr_assert_leq(output.chunk_max, 65536);
	driver_deinit(&d);
}

Test(virtio_console, reset_in_the_middle_of_a_chain)
{
	struct driver d;
	struct output output = {0};
	struct segment segments[32];

	start(&d, &output, DRIVER_COMMON_FEATURES);
	for (unsigned i = 0; i < 32; i++)
		segments[i] = (struct segment){DRIVER_DATA, 0x180000, false};
	driver_add(&d, 1, segments, 32);
	driver_kick(&d, 1);
	driver_run(&d, 1);
	cr_assert(driver_reset(&d));
	driver_start(&d, DRIVER_COMMON_FEATURES, 64);
	output.len = 0;
	driver_add(&d, 1, &(struct segment){DRIVER_DATA, 3, false}, 1);
	driver_kick(&d, 1);
	cr_assert(driver_wait_used(&d, 1, NULL, NULL));
	cr_assert_eq(output.len, 3);
	driver_deinit(&d);
}

Test(virtio_console, destroyed_while_busy)
{
	struct driver d;
	struct output output = {0};
	struct segment segments[32];

	start(&d, &output, DRIVER_COMMON_FEATURES);
	for (unsigned i = 0; i < 32; i++)
		segments[i] = (struct segment){DRIVER_DATA, 0x180000, false};
	driver_add(&d, 1, segments, 32);
	driver_kick(&d, 1);
	driver_deinit(&d);
}

Test(virtio_console, input_buffers_are_left_alone)
{
	struct driver d;
	struct output output = {0};

	start(&d, &output, DRIVER_COMMON_FEATURES);
	driver_add(&d, 0, &(struct segment){DRIVER_DATA, 64, true}, 1);
	driver_kick(&d, 0);
	driver_run(&d, 3);
	cr_assert(!driver_take_used(&d, 0, NULL, NULL));
	cr_assert_eq(driver_status(&d), 15);
	driver_deinit(&d);
}
