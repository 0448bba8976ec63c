// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/harness.h"
#include "tests/unit/virtio_driver.h"

#include <errno.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mem.h>

#include "base/util.h"
#include "virtio/memdev.h"

UNIT_SUITE(virtio_memdev);

#define CONFIG 0x1000u
#define START  (UINT64_C(4) << 30)
#define BLOCK  MEMDEV_BLOCK_MIN
#define BLOCKS 256u
#define ALL    (DRIVER_COMMON_FEATURES | 1u << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE)

struct host {
	struct driver d;
	struct virtio_dev *dev;
	uint64_t plugged[MEMDEV_BLOCKS_MAX / 64];
	unsigned n_calls;
	unsigned fails_at; /* this block cannot be plugged */
	bool stuck;	   /* nothing can be unplugged */
};

static bool bit(const struct host *h, unsigned block)
{
	return h->plugged[block / 64] & (UINT64_C(1) << (block % 64));
}

static int plug(void *user, unsigned block)
{
	struct host *h = user;

	cr_assert_lt(block, BLOCKS);
	cr_assert_not(bit(h, block));
	h->n_calls++;
	if (block == h->fails_at)
		return -ENOMEM;
	h->plugged[block / 64] |= UINT64_C(1) << (block % 64);
	return 0;
}

static int unplug(void *user, unsigned block)
{
	struct host *h = user;

	cr_assert_lt(block, BLOCKS);
	cr_assert(bit(h, block));
	h->n_calls++;
	if (h->stuck)
		return -ENOMEM;
	h->plugged[block / 64] &= ~(UINT64_C(1) << (block % 64));
	return 0;
}

static void begin(struct host *h, uint64_t features)
{
	struct memdev_host host = {plug, unplug, h, h->plugged};

	memset(h, 0, sizeof(*h));
	h->fails_at = UINT32_MAX;
	cr_assert_eq(driver_init(&h->d), 0);
	cr_assert_eq(virtio_memdev_new(&h->dev, START, BLOCKS * BLOCK, BLOCK, &host), 0);
	virtio_memdev_set_target(h->dev, BLOCKS * BLOCK);
	cr_assert_eq(driver_attach(&h->d, h->dev), 0);
	driver_start(&h->d, features, 16);
}

static void submit(struct host *h, uint16_t type, uint64_t gpa, uint16_t n)
{
	const struct virtio_mem_req req = {.type = type, .u.plug = {.addr = gpa, .nb_blocks = n}};
	const struct segment segments[] = {
		{DRIVER_DATA, sizeof(req), false},
		{DRIVER_DATA + 64, sizeof(struct virtio_mem_resp), true}};

	memcpy(driver_at(&h->d, DRIVER_DATA), &req, sizeof(req));
	memset(driver_at(&h->d, DRIVER_DATA + 64), 0xff, sizeof(struct virtio_mem_resp));
	driver_add(&h->d, 0, segments, 2);
}

/* The answer to a request, its state in the upper half. */
static unsigned ask(struct host *h, uint16_t type, uint64_t gpa, uint16_t n)
{
	const struct virtio_mem_resp *resp = driver_at(&h->d, DRIVER_DATA + 64);
	uint32_t len;

	submit(h, type, gpa, n);
	driver_kick(&h->d, 0);
	cr_assert(driver_wait_used(&h->d, 0, NULL, &len));
	cr_assert_eq(len, sizeof(*resp));
	return resp->type | (unsigned)resp->u.state.state << 16;
}

static unsigned ask_state(struct host *h, unsigned first, uint16_t n)
{
	unsigned answer = ask(h, VIRTIO_MEM_REQ_STATE, START + first * BLOCK, n);

	cr_assert_eq(answer & 0xffff, VIRTIO_MEM_RESP_ACK);
	return answer >> 16;
}

static unsigned ask_plug(struct host *h, unsigned first, uint16_t n)
{
	return ask(h, VIRTIO_MEM_REQ_PLUG, START + first * BLOCK, n);
}

static unsigned ask_unplug(struct host *h, unsigned first, uint16_t n)
{
	return ask(h, VIRTIO_MEM_REQ_UNPLUG, START + first * BLOCK, n);
}

static uint64_t config(struct host *h, unsigned off)
{
	return driver_reg_read(&h->d, CONFIG + off, 8);
}

#define CONFIG_OF(h, field) config(h, offsetof(struct virtio_mem_config, field))

Test(virtio_memdev, blocks_come_and_go)
{
	struct host h;

	begin(&h, ALL);
	cr_assert_eq(ask_state(&h, 0, BLOCKS), VIRTIO_MEM_STATE_UNPLUGGED);
	cr_assert_eq(ask_plug(&h, 10, 100), VIRTIO_MEM_RESP_ACK);
	cr_assert_eq(ask_state(&h, 0, BLOCKS), VIRTIO_MEM_STATE_MIXED);
	cr_assert_eq(ask_state(&h, 10, 100), VIRTIO_MEM_STATE_PLUGGED);
	cr_assert(!bit(&h, 9) && bit(&h, 10) && bit(&h, 109) && !bit(&h, 110));
	cr_assert_eq(CONFIG_OF(&h, plugged_size), 100 * BLOCK);
	cr_assert_eq(virtio_memdev_plugged(h.dev), 100 * BLOCK);
	cr_assert_eq(ask_unplug(&h, 20, 10), VIRTIO_MEM_RESP_ACK);
	cr_assert_eq(ask_state(&h, 20, 10), VIRTIO_MEM_STATE_UNPLUGGED);
	cr_assert_eq(virtio_memdev_plugged(h.dev), 90 * BLOCK);
	cr_assert_eq(ask(&h, VIRTIO_MEM_REQ_UNPLUG_ALL, 12345, 0), VIRTIO_MEM_RESP_ACK);
	cr_assert_eq(ask_state(&h, 0, BLOCKS), VIRTIO_MEM_STATE_UNPLUGGED);
	cr_assert_eq(virtio_memdev_plugged(h.dev), 0);
	driver_deinit(&h.d);
}

Test(virtio_memdev, requests_that_do_not_fit_are_errors)
{
	static const struct {
		uint16_t type;
		uint64_t gpa;
		uint16_t n;
	} bad[] = {
		{VIRTIO_MEM_REQ_PLUG, START, 0},
		{VIRTIO_MEM_REQ_PLUG, START + 4096, 1},
		{VIRTIO_MEM_REQ_PLUG, START - BLOCK, 1},
		{VIRTIO_MEM_REQ_PLUG, START - BLOCK, 2},
		{VIRTIO_MEM_REQ_PLUG, 0, 1},
		{VIRTIO_MEM_REQ_PLUG, START + BLOCKS * BLOCK, 1},
		{VIRTIO_MEM_REQ_PLUG, START + (BLOCKS - 1) * BLOCK, 2},
		{VIRTIO_MEM_REQ_PLUG, START, BLOCKS + 1},
		{VIRTIO_MEM_REQ_PLUG, START, UINT16_MAX},
		{VIRTIO_MEM_REQ_PLUG, -BLOCK, UINT16_MAX},
		{VIRTIO_MEM_REQ_PLUG, START, 51}, /* block 50 is plugged */
		{VIRTIO_MEM_REQ_PLUG, START + 50 * BLOCK, 1},
		{VIRTIO_MEM_REQ_UNPLUG, START + 50 * BLOCK, 2},
		{VIRTIO_MEM_REQ_UNPLUG, START + 51 * BLOCK, 1},
		{VIRTIO_MEM_REQ_UNPLUG, START + 50 * BLOCK + 1, 1},
		{VIRTIO_MEM_REQ_STATE, START, 0},
		{VIRTIO_MEM_REQ_STATE, START + BLOCKS * BLOCK, 1},
		{VIRTIO_MEM_REQ_STATE + 1, START, 1},
		{UINT16_MAX, START, 1},
	};
	struct host h;

	begin(&h, ALL);
	cr_assert_eq(ask_plug(&h, 50, 1), VIRTIO_MEM_RESP_ACK);
	h.n_calls = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert_eq(ask(&h, bad[i].type, bad[i].gpa, bad[i].n), VIRTIO_MEM_RESP_ERROR,
			     "request %u", i);
	cr_assert_eq(h.n_calls, 0);
	cr_assert_not(h.dev->broken);
	driver_deinit(&h.d);
}

Test(virtio_memdev, no_more_than_the_target)
{
	struct host h;

	begin(&h, ALL);
	driver_interrupts(&h.d, 0);
	virtio_memdev_set_target(h.dev, 8 * BLOCK + BLOCK - 1);
	cr_assert_eq(driver_interrupts(&h.d, 0), 1);
	cr_assert_eq(CONFIG_OF(&h, requested_size), 8 * BLOCK);
	virtio_memdev_set_target(h.dev, 8 * BLOCK);
	cr_assert_eq(driver_interrupts(&h.d, 0), 0);
	cr_assert_eq(ask_plug(&h, 0, 9), VIRTIO_MEM_RESP_NACK);
	cr_assert_eq(ask_plug(&h, 0, 8), VIRTIO_MEM_RESP_ACK);
	cr_assert_eq(ask_plug(&h, 8, 1), VIRTIO_MEM_RESP_NACK);
	virtio_memdev_set_target(h.dev, 4 * BLOCK);
	cr_assert_eq(ask_unplug(&h, 0, 4), VIRTIO_MEM_RESP_ACK);
	cr_assert_eq(ask_plug(&h, 0, 1), VIRTIO_MEM_RESP_NACK);
	virtio_memdev_set_target(h.dev, UINT64_MAX);
	cr_assert_eq(virtio_memdev_target(h.dev), BLOCKS * BLOCK);
	driver_deinit(&h.d);
}

Test(virtio_memdev, plugging_is_all_or_nothing)
{
	struct host h;

	begin(&h, ALL);
	h.fails_at = 70;
	cr_assert_eq(ask_plug(&h, 0, 100), VIRTIO_MEM_RESP_BUSY);
	cr_assert_eq(ask_state(&h, 0, BLOCKS), VIRTIO_MEM_STATE_UNPLUGGED);
	cr_assert_eq(virtio_memdev_plugged(h.dev), 0);
	cr_assert_eq(ask_plug(&h, 70, 1), VIRTIO_MEM_RESP_BUSY);
	h.fails_at = UINT32_MAX;
	cr_assert_eq(ask_plug(&h, 0, 100), VIRTIO_MEM_RESP_ACK);
	driver_deinit(&h.d);
}

Test(virtio_memdev, what_cannot_be_unplugged_breaks_it)
{
	struct host h;

	begin(&h, ALL);
	cr_assert_eq(ask_plug(&h, 0, 4), VIRTIO_MEM_RESP_ACK);
	h.stuck = true;
	submit(&h, VIRTIO_MEM_REQ_UNPLUG, START, 4);
	driver_kick(&h.d, 0);
	driver_run(&h.d, 5);
	cr_assert(driver_status(&h.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	cr_assert_eq(virtio_memdev_plugged(h.dev), 4 * BLOCK);
	driver_deinit(&h.d);
}

Test(virtio_memdev, a_reset_unplugs_nothing)
{
	struct host h;

	begin(&h, ALL);
	cr_assert_eq(ask_plug(&h, 0, 4), VIRTIO_MEM_RESP_ACK);
	cr_assert(driver_reset(&h.d));
	driver_start(&h.d, ALL, 16);
	cr_assert_eq(CONFIG_OF(&h, plugged_size), 4 * BLOCK);
	cr_assert_eq(ask_state(&h, 0, 4), VIRTIO_MEM_STATE_PLUGGED);
	cr_assert_eq(ask(&h, VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0), VIRTIO_MEM_RESP_ACK);
	cr_assert_eq(virtio_memdev_plugged(h.dev), 0);
	driver_deinit(&h.d);
}

Test(virtio_memdev, a_turn_is_bounded_and_a_reset_cuts_it_off)
{
	struct host h;

	begin(&h, ALL);
	submit(&h, VIRTIO_MEM_REQ_PLUG, START, BLOCKS);
	h.dev->ops->kick(h.dev, 0);
	cr_assert_gt(h.n_calls, 0);
	cr_assert_leq(h.n_calls, 32);
	cr_assert(driver_reset(&h.d));
	cr_assert_eq(virtio_memdev_plugged(h.dev), h.n_calls * BLOCK);
	driver_start(&h.d, ALL, 16);
	driver_run(&h.d, 5);
	cr_assert_leq(h.n_calls, 32);
	cr_assert_eq(ask(&h, VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0), VIRTIO_MEM_RESP_ACK);
	cr_assert_eq(ask_plug(&h, 0, BLOCKS), VIRTIO_MEM_RESP_ACK);
	driver_deinit(&h.d);
}

Test(virtio_memdev, short_requests_break_it)
{
	const struct segment short_req[] = {{DRIVER_DATA, sizeof(struct virtio_mem_req) - 1, false},
					    {DRIVER_DATA + 64, 64, true}};
	const struct segment short_resp[] = {
		{DRIVER_DATA, 64, false},
		{DRIVER_DATA + 64, sizeof(struct virtio_mem_resp) - 1, true}};
	struct host h;

	begin(&h, ALL);
	driver_add(&h.d, 0, short_req, 2);
	driver_kick(&h.d, 0);
	driver_run(&h.d, 5);
	cr_assert(driver_status(&h.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	cr_assert(driver_reset(&h.d));
	driver_start(&h.d, ALL, 16);
	driver_add(&h.d, 0, short_resp, 2);
	driver_kick(&h.d, 0);
	driver_run(&h.d, 5);
	cr_assert(driver_status(&h.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	driver_deinit(&h.d);
}

Test(virtio_memdev, a_driver_that_would_read_unplugged_memory_gets_none)
{
	struct host h;

	begin(&h, DRIVER_COMMON_FEATURES);
	cr_assert(driver_status(&h.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	submit(&h, VIRTIO_MEM_REQ_PLUG, START, 1);
	driver_kick(&h.d, 0);
	driver_run(&h.d, 5);
	cr_assert_eq(h.n_calls, 0);
	driver_deinit(&h.d);
}

Test(virtio_memdev, only_regions_that_can_be)
{
	const struct memdev_host host = {plug, unplug, NULL, NULL};
	struct virtio_dev *dev;

	cr_assert_eq(virtio_memdev_new(&dev, START + 4096, BLOCK, BLOCK, &host), -EINVAL);
	cr_assert_eq(virtio_memdev_new(&dev, START, BLOCK + 4096, BLOCK, &host), -EINVAL);
	cr_assert_eq(virtio_memdev_new(&dev, START, BLOCK * 3, BLOCK * 3, &host), -EINVAL);
	cr_assert_eq(virtio_memdev_new(&dev, START, BLOCK, BLOCK / 2, &host), -EINVAL);
	cr_assert_eq(virtio_memdev_new(&dev, START, 0, BLOCK, &host), -EINVAL);
	cr_assert_eq(virtio_memdev_new(&dev, START, BLOCK * 1025, BLOCK, &host), -EINVAL);
	cr_assert_eq(virtio_memdev_new(&dev, -BLOCK, BLOCK * 2, BLOCK, &host), -EINVAL);
}
