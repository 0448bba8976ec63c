// SPDX-License-Identifier: Apache-2.0
/* Disks whose rate is limited, and what is held back when its queue, device or memory goes. */
#include "tests/unit/harness.h"
#include "tests/unit/virtio_blk_disk.h"

#include "base/clock.h"
#include "virtio/regs.h"

UNIT_SUITE(virtio_blk_limits);

static uint64_t run_ms(struct disk *disk, unsigned n, uint32_t len)
{
	uint64_t begin_ns = clock_now_ns();

	for (unsigned i = 0; i < n; i++)
		disk_add(disk, i % 2, VIRTIO_BLK_T_IN, i, DATA, len);
	driver_kick(&disk->d, 0);
	driver_kick(&disk->d, 1);
	for (unsigned i = 0; i < n; i++)
		cr_assert(driver_wait_used(&disk->d, i % 2, NULL, NULL));
	return (clock_now_ns() - begin_ns) / NS_PER_MS;
}

Test(virtio_blk_limits, operations_are_limited)
{
	struct disk disk;
	uint64_t ms;

	disk_start(&disk, &(struct virtio_blk_params){.n_queues = 2,
						      .rate = {.ops_per_s = 200, .burst_ops = 4}});
	ms = run_ms(&disk, 44, 512); /* 40 at 5 ms each */
	cr_assert_geq(ms, 195, "%lu", ms);
	cr_assert_leq(ms, 3000, "%lu", ms);
	cr_assert_geq(disk_counter(&disk, "throttled"), 10);
	cr_assert_leq(disk_counter(&disk, "throttled"), 40);
	disk_end(&disk);
}

/* A queue with much to do leaves the others their share. */
Test(virtio_blk_limits, queues_share_a_limit)
{
	struct disk disk;
	unsigned n = 0;

	disk_start(&disk, &(struct virtio_blk_params){.n_queues = 2,
						      .rate = {.ops_per_s = 200, .burst_ops = 2}});
	for (unsigned i = 0; i < 54; i++)
		disk_add(&disk, i < 50 ? 0 : 1, VIRTIO_BLK_T_IN, i, DATA, 512);
	driver_kick(&disk.d, 0);
	driver_kick(&disk.d, 1);
	for (unsigned i = 0; i < 4; i++)
		cr_assert(driver_wait_used(&disk.d, 1, NULL, NULL));
	while (driver_take_used(&disk.d, 0, NULL, NULL))
		n++;
	cr_assert_lt(n, 25, "%u", n);
	disk_end(&disk);
}

Test(virtio_blk_limits, bytes_are_limited)
{
	struct disk disk;
	uint64_t ms;

	disk_start(&disk, &(struct virtio_blk_params){
				  .n_queues = 2,
				  .rate = {.bytes_per_s = 1 << 20, .burst_bytes = 64 << 10}});
	ms = run_ms(&disk, 16, 16 << 10); /* 192 KiB at 1 MiB/s */
	cr_assert_geq(ms, 180, "%lu", ms);
	cr_assert_leq(ms, 3000, "%lu", ms);
	/* More than the burst in one: from a full bucket. */
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, 0, DATA, 256 << 10), 0);
	disk_end(&disk);
}

/* What is held back ends with its queue, or its device, at once; the others are not forgotten. */
Test(virtio_blk_limits, resets_of_what_is_held_back)
{
	struct disk disk;
	uint64_t begin_ns;

	disk_start(&disk, &(struct virtio_blk_params){.n_queues = 2,
						      .rate = {.ops_per_s = 4, .burst_ops = 1}});
	begin_ns = clock_now_ns();
	disk_add(&disk, 0, VIRTIO_BLK_T_IN, 0, DATA, 512);
	disk_add(&disk, 0, VIRTIO_BLK_T_IN, 1, DATA, 512);
	driver_kick(&disk.d, 0);
	cr_assert(driver_wait_used(&disk.d, 0, NULL, NULL));
	disk_add(&disk, 1, VIRTIO_BLK_T_IN, 9, DATA + 512, 512);
	driver_kick(&disk.d, 1);
	driver_run(&disk.d, 5);
	cr_assert_eq(disk_counter(&disk, "in_flight"), 1, "the other is not even looked at");
	disk_reset_queue(&disk, 0);
	cr_assert_eq(disk_counter(&disk, "in_flight"), 0);
	cr_assert(driver_wait_used(&disk.d, 1, NULL, NULL));
	cr_assert_eq(disk_number(&disk, DATA + 512), 9);
	disk_add(&disk, 1, VIRTIO_BLK_T_IN, 0, DATA, 512);
	driver_kick(&disk.d, 1);
	driver_run(&disk.d, 5);
	cr_assert_eq(disk_counter(&disk, "in_flight"), 1);
	cr_assert(driver_reset(&disk.d));
	cr_assert_leq(clock_now_ns() - begin_ns, 2 * NS_PER_S);
	driver_start(&disk.d, FEATURES, 256);
	cr_assert_eq(disk_request(&disk, 1, VIRTIO_BLK_T_IN, 5, DATA, 512), 0);
	cr_assert_eq(disk_number(&disk, DATA), 5);
	/* And the end of all of it. */
	disk_add(&disk, 1, VIRTIO_BLK_T_IN, 0, DATA, 512);
	disk_add(&disk, 1, VIRTIO_BLK_T_IN, 0, DATA, 512);
	driver_kick(&disk.d, 1);
	driver_run(&disk.d, 1);
	disk_end(&disk);
}

/* A read that waits, into memory that is unplugged meanwhile: it never lands, and neither does its
 * status. A write from there is only read. */
/* What is held back, what was not even looked at and what comes later: all of it at once, and with
 * an error, when the disk is taken away; also after a reset. */
Test(virtio_blk_limits, a_disk_that_is_taken_away_answers)
{
	struct disk disk;
	uint64_t begin_ns = clock_now_ns();
	unsigned places[2];

	disk_start(&disk, &(struct virtio_blk_params){.n_queues = 2,
						      .rate = {.ops_per_s = 1, .burst_ops = 1}});
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, 0, DATA, 512), 0);
	places[0] = disk_add(&disk, 0, VIRTIO_BLK_T_IN, 1, DATA, 512);
	driver_kick(&disk.d, 0);
	places[1] = disk_add(&disk, 1, VIRTIO_BLK_T_OUT, 9, DATA, 512);
	driver_kick(&disk.d, 1);
	driver_run(&disk.d, 5);
	disk.d.dev->ops->revoke(disk.d.dev);
	cr_assert(driver_wait_used(&disk.d, 0, NULL, NULL));
	cr_assert(driver_wait_used(&disk.d, 1, NULL, NULL));
	for (unsigned i = 0; i < 2; i++)
		cr_expect_eq(*disk_status(&disk, places[i]), VIRTIO_BLK_S_IOERR);
	cr_expect_eq(disk_request(&disk, 1, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	cr_assert(driver_reset(&disk.d));
	driver_start(&disk.d, FEATURES, 256);
	cr_expect_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, 0, DATA, 512), VIRTIO_BLK_S_IOERR);
	cr_expect_leq(clock_now_ns() - begin_ns, NS_PER_S, "nobody waited for the limit");
	cr_expect_eq(disk_counter(&disk, "writes"), 0);
	disk_end(&disk);
}

Test(virtio_blk_limits, requests_in_unplugged_memory_end)
{
	struct disk disk;
	uint64_t plugged = UINT64_MAX;
	struct virtio_regs *regs;

	for (unsigned writing = 0; writing < 2; writing++) {
		disk_start(&disk,
			   &(struct virtio_blk_params){.rate = {.ops_per_s = 4, .burst_ops = 1}});
		regs = disk.d.dev->transport;
		disk.d.mem.regions[1].plugged = &plugged;
		disk.d.mem.regions[1].block_shift = 16;
		plugged = UINT64_MAX;
		disk_add(&disk, 0, VIRTIO_BLK_T_IN, 0, DATA, 512);
		disk_add(&disk, 0, writing ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, 1,
			 DRIVER_REGION_LEN + 4096, 512);
		driver_kick(&disk.d, 0);
		cr_assert(driver_wait_used(&disk.d, 0, NULL, NULL));
		cr_assert_eq(disk_counter(&disk, "in_flight"), 1);
		cr_assert_not(virtio_regs_memory_unplugged(regs));
		plugged &= ~UINT64_C(1);
		virtio_regs_memory_unplugged(regs);
		driver_run(&disk.d, 5);
		cr_assert_not(virtio_regs_memory_unplugged(regs), "it was held by the limit only");
		cr_assert_eq(!!(driver_status(&disk.d) & VIRTIO_CONFIG_S_NEEDS_RESET), !writing);
		cr_assert_eq(disk_counter(&disk, "in_flight"), writing);
		cr_assert_eq(*(uint32_t *)driver_at(&disk.d, DRIVER_REGION_LEN + 4096), 0);
		disk_end(&disk);
	}
}
