// SPDX-License-Identifier: Apache-2.0
/* What a disk lies on: files with direct I/O, files that change under it, block devices. */
#include "tests/unit/harness.h"
#include "tests/unit/virtio_blk_disk.h"
#include "tests/unit/open_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/loop.h>
#include <linux/virtio_pci.h>

UNIT_SUITE(virtio_blk_files);

/* Direct I/O. */

/* False where the file system cannot. */
static bool start_direct(struct disk *disk)
{
	*disk = (struct disk){.fd = disk_file(DISK_LEN, 0)};
	if (fcntl(disk->fd, F_SETFL, O_RDWR | O_DIRECT) < 0) {
		close(disk->fd);
		return false;
	}
	cr_assert_eq(fcntl(disk->fd, F_SETFL, O_RDWR), 0);
	disk_attach(disk, &(struct virtio_blk_params){.n_queues = 2, .direct = true});
	cr_assert(fcntl(disk->fd, F_GETFL) & O_DIRECT);
	if (disk_config(disk, offsetof(struct virtio_blk_config, blk_size), 4) == 512)
		return true;
	disk_end(disk);
	return false;
}

Test(virtio_blk_files, direct)
{
	struct disk disk;

	if (!start_direct(&disk))
		cr_skip_test("no direct I/O by sectors in /var/tmp");
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, 77, DATA, 4096), 0);
	cr_assert_eq(disk_number(&disk, DATA), 77);
	cr_assert_eq(disk_number(&disk, DATA + 512), 78);
	cr_assert_eq(disk_request(&disk, 1, VIRTIO_BLK_T_OUT, 3, DATA, 512), 0);
	cr_assert_eq(disk_request(&disk, 1, VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, 3, DATA + 4096, 512), 0);
	cr_assert_eq(disk_number(&disk, DATA + 4096), 77);
	disk_end(&disk);
}

/* Memory that direct I/O cannot use: several at once, longer than the buffer they share. */
Test(virtio_blk_files, direct_with_uneven_memory)
{
	const uint32_t len = 300 << 10;
	struct disk disk;

	if (!start_direct(&disk))
		cr_skip_test("no direct I/O by sectors in /var/tmp");
	for (unsigned i = 0; i < 6; i++)
		disk_add(&disk, i % 2, VIRTIO_BLK_T_IN, i * 100, DATA + 3 + i * (len + 3), len);
	driver_kick(&disk.d, 0);
	driver_kick(&disk.d, 1);
	for (unsigned i = 0; i < 6; i++)
		cr_assert(driver_wait_used(&disk.d, i % 2, NULL, NULL));
	for (unsigned i = 0; i < 6; i++) {
		cr_assert_eq(*disk_status(&disk, i), 0);
		for (unsigned sector = 0; sector < len / 512; sector++)
			cr_assert_eq(disk_number(&disk, DATA + 3 + i * (len + 3) + sector * 512),
				     i * 100 + sector);
	}
	/* And back: the numbers of 100 on are those of 5000 on then. */
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_OUT, 5000, DATA + 3 + len + 3, len), 0);
	memset(driver_at(&disk.d, DATA), 0, len);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, 5000, DATA, len), 0);
	for (unsigned sector = 0; sector < len / 512; sector++)
		cr_assert_eq(disk_number(&disk, DATA + sector * 512), 100 + sector);
	/* A driver without FLUSH: the sync comes after the buffer was given on. */
	cr_assert(driver_reset(&disk.d));
	driver_start(&disk.d, DRIVER_COMMON_FEATURES, 256);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_OUT, 0, DATA + 1, 1024), 0);
	disk_end(&disk);
}

Test(virtio_blk_files, resets_of_who_waits_for_the_buffer)
{
	const uint32_t len = 600 << 10;
	struct disk disk;

	if (!start_direct(&disk))
		cr_skip_test("no direct I/O by sectors in /var/tmp");
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 12; i++)
			disk_add(&disk, i % 2, i % 4 < 2, 0, DATA + 1 + i, len);
		driver_kick(&disk.d, 0);
		driver_kick(&disk.d, 1);
		if (round % 2)
			driver_run(&disk.d, 1);
		disk_reset_queue(&disk, 1);
		for (unsigned i = 0; i < 6; i++)
			cr_assert(driver_wait_used(&disk.d, 0, NULL, NULL));
		driver_setup_queue(&disk.d, 1, 256);
		for (unsigned i = 0; i < 12; i++)
			disk_add(&disk, i % 2, VIRTIO_BLK_T_IN, 0, DATA + 1 + i, len);
		driver_kick(&disk.d, 1);
		driver_kick(&disk.d, 0);
		driver_run(&disk.d, round % 2);
		cr_assert(driver_reset(&disk.d));
		driver_start(&disk.d, FEATURES, 256);
	}
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, 8, DATA + 1, 512), 0);
	disk_end(&disk);
}

/* Files that change. */

Test(virtio_blk_files, swap)
{
	struct disk disk;
	int larger = disk_file(DISK_LEN + 4096, 1000000), smaller = disk_file(DISK_LEN - 512, 0),
	    read_only = open("/proc/self/exe", O_RDONLY);
	unsigned n_open;

	disk_start(&disk, &(struct virtio_blk_params){.rate = {.ops_per_s = 3, .burst_ops = 1}});
	n_open = count_open_files();
	cr_assert_eq(virtio_blk_swap(disk.d.dev, smaller), -ENOSPC);
	cr_assert_eq(virtio_blk_swap(disk.d.dev, read_only), -EACCES);
	cr_assert_eq(count_open_files(), n_open);
	disk_add(&disk, 0, VIRTIO_BLK_T_IN, 1, DATA, 512);
	disk_add(&disk, 0, VIRTIO_BLK_T_IN, 2, DATA + 512, 512);
	disk_add(&disk, 0, VIRTIO_BLK_T_IN, 3, DATA + 1024, 512);
	driver_kick(&disk.d, 0);
	cr_assert(driver_wait_used(&disk.d, 0, NULL, NULL));
	/* The second one is under way, held back; the third has not begun. */
	(void)driver_interrupts(&disk.d, 0);
	cr_assert_eq(virtio_blk_swap(disk.d.dev, larger), 0);
	cr_assert_eq(driver_interrupts(&disk.d, 0), 1, "the size changed");
	cr_assert_eq(count_open_files(), n_open + 1);
	cr_assert(driver_wait_used(&disk.d, 0, NULL, NULL));
	cr_assert_eq(count_open_files(), n_open, "the old one goes with its last request");
	cr_assert(driver_wait_used(&disk.d, 0, NULL, NULL));
	cr_assert_eq(disk_number(&disk, DATA), 1);
	cr_assert_eq(disk_number(&disk, DATA + 512), 2);
	cr_assert_eq(disk_number(&disk, DATA + 1024), 1000003);
	cr_assert_eq(virtio_blk_size(disk.d.dev), DISK_LEN + 4096);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, DISK_LEN / 512, DATA, 512), 0);
	cr_assert_eq(disk_number(&disk, DATA), 1000000 + DISK_LEN / 512);
	cr_assert_eq(virtio_blk_swap(disk.d.dev, disk.fd), -ENOSPC, "it has become larger");
	close(larger);
	close(smaller);
	close(read_only);
	disk_end(&disk);
}

Test(virtio_blk_files, resize)
{
	struct disk disk;
	uint8_t generation;

	disk_start(&disk, &(struct virtio_blk_params){0});
	generation = (uint8_t)driver_reg_read(&disk.d, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	cr_assert_eq(virtio_blk_resize(disk.d.dev), 0);
	cr_assert_eq(driver_interrupts(&disk.d, 0), 0, "nothing changed");
	cr_assert_eq(ftruncate(disk.fd, 2 * DISK_LEN + 100), 0);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, DISK_LEN / 512, DATA, 512), 1);
	cr_assert_eq(virtio_blk_resize(disk.d.dev), 0);
	cr_assert_eq(driver_interrupts(&disk.d, 0), 1);
	cr_assert_neq(driver_reg_read(&disk.d, VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	cr_assert_eq(disk_config(&disk, 0, 8), 2 * DISK_LEN / 512);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, 2 * DISK_LEN / 512 - 1, DATA, 512), 0);
	cr_assert_eq(ftruncate(disk.fd, 100), 0);
	cr_assert_eq(virtio_blk_resize(disk.d.dev), -EINVAL);
	cr_assert_eq(virtio_blk_size(disk.d.dev), 2 * DISK_LEN);
	disk_end(&disk);
}

Test(virtio_blk_files, a_file_that_cannot_be_written)
{
	struct disk disk = {.fd = open("/proc/self/exe", O_RDONLY)};
	struct virtio_dev *dev;

	cr_assert_eq(driver_init(&disk.d), 0);
	cr_assert_eq(virtio_blk_new(&dev, disk.d.loop,
				    &(struct virtio_blk_params){.fd = disk.fd, .serial = "x"}),
		     -EACCES);
	dev = disk_dev(&disk, &(struct virtio_blk_params){.read_only = true});
	dev->ops->destroy(dev);
	disk_end(&disk);
}

/* Block devices: loop devices over a file, where that is allowed. */

static int open_loop(int file, uint32_t block)
{
	struct loop_config setup = {
		.fd = (uint32_t)file, .block_size = block, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), n, fd = -1;
	char path[32];

	for (unsigned tries = 0; control >= 0 && fd < 0 && tries < 10; tries++) {
		n = ioctl(control, LOOP_CTL_GET_FREE);
		snprintf(path, sizeof(path), "/dev/loop%d", n);
		fd = n < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &setup) < 0) {
			close(fd);
			fd = -1;
		}
	}
	close(control);
	return fd;
}

static void trim(struct disk *disk, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags,
		 uint8_t expected)
{
	const struct virtio_blk_discard_write_zeroes range = {
		.sector = sector, .num_sectors = n, .flags = flags};

	memcpy(driver_at(&disk->d, DATA), &range, sizeof(range));
	cr_assert_eq(disk_request(disk, 0, type, 0, DATA, 16), expected);
}

static void use_block_device(uint32_t block, bool direct)
{
	struct disk disk = {0};
	int file = disk_file(DISK_LEN, 0);

	disk.fd = open_loop(file, block);
	close(file);
	if (disk.fd < 0)
		cr_skip_test("no loop devices here");
	disk_attach(&disk, &(struct virtio_blk_params){.direct = direct});
	cr_assert_eq(disk_config(&disk, offsetof(struct virtio_blk_config, blk_size), 4), block);
	cr_assert_eq(virtio_blk_size(disk.d.dev), DISK_LEN);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, 64, DATA, 8192), 0);
	cr_assert_eq(disk_number(&disk, DATA + 512), 65);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_OUT, 128, DATA, 4096), 0);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, 3, DATA, 512), block > 512);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, 8, DATA, 512), block > 512);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, DISK_LEN / 512, DATA, 4096), 1);
	trim(&disk, VIRTIO_BLK_T_DISCARD, 64, 8, 0, 0);
	trim(&disk, VIRTIO_BLK_T_WRITE_ZEROES, 72, 8, 0, 0);
	trim(&disk, VIRTIO_BLK_T_WRITE_ZEROES, 128, 8, 1, 0);
	trim(&disk, VIRTIO_BLK_T_WRITE_ZEROES, DISK_LEN / 512, 8, 1, 1);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, 64, DATA, 16 * 512), 0);
	for (unsigned i = 0; i < 16; i++)
		cr_assert_eq(disk_number(&disk, DATA + i * 512), 0);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, 128, DATA, 4096), 0);
	cr_assert_eq(disk_number(&disk, DATA), 0);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, 80, DATA, 4096), 0);
	cr_assert_eq(disk_number(&disk, DATA), 80);
	disk_end(&disk);
}

Test(virtio_blk_files, block_device)
{
	use_block_device(512, false);
}

Test(virtio_blk_files, block_device_with_large_blocks)
{
	use_block_device(4096, false);
}

Test(virtio_blk_files, block_device_directly)
{
	use_block_device(4096, true);
}
