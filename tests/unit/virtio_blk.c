// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/harness.h"
#include "tests/unit/virtio_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>

#include "virtio/blk.h"

UNIT_SUITE(virtio_blk);

#define DISK_LEN     (8u << 20)
#define DISK_SECTORS (DISK_LEN / 512)
#define FEATURES                                                                                   \
	(DRIVER_COMMON_FEATURES | 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_SEG_MAX)
#define TRIM (1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES)

struct disk {
	struct driver d;
	int fd;
	gpa_t header, status;
};

static void open_disk(struct disk *disk)
{
	char path[] = "/tmp/virtio-blk-XXXXXX";

	disk->fd = mkstemp(path);
	cr_assert_geq(disk->fd, 0);
	unlink(path);
	cr_assert_eq(ftruncate(disk->fd, DISK_LEN), 0);
	for (uint32_t i = 0; i < DISK_SECTORS; i += 64) /* the number of every 64th sector in it */
		cr_assert_eq(pwrite(disk->fd, &i, sizeof(i), i * 512), sizeof(i));
}

static int new_disk(struct virtio_dev **dev, struct loop *loop, int fd, bool read_only,
		    const char *serial)
{
	return virtio_blk_new(
		dev, loop,
		&(struct virtio_blk_params){.fd = fd, .read_only = read_only, .serial = serial});
}

static void start(struct disk *disk, bool read_only, uint64_t features)
{
	struct virtio_dev *dev;

	open_disk(disk);
	cr_assert_eq(driver_init(&disk->d), 0);
	cr_assert_eq(new_disk(&dev, disk->d.loop, disk->fd, read_only, "sha256:0123"), 0);
	cr_assert_eq(virtio_blk_size(dev), DISK_LEN);
	cr_assert_eq(driver_attach(&disk->d, dev), 0);
	driver_start(&disk->d, features, 256);
	disk->header = driver_alloc(&disk->d, 16);
	disk->status = driver_alloc(&disk->d, 1);
}

static void end(struct disk *disk)
{
	driver_deinit(&disk->d);
	close(disk->fd);
}

static void set_header(struct disk *disk, gpa_t at, uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr header = {.type = type, .sector = sector};

	memcpy(driver_at(&disk->d, at), &header, sizeof(header));
}

/* One request with data in at most one segment; returns its status (0xee: none came). */
static uint8_t request(struct disk *disk, uint32_t type, uint64_t sector, gpa_t data, uint32_t len,
		       bool writable, uint32_t *written)
{
	struct segment segments[3] = {{disk->header, 16, false}};
	uint8_t *status = driver_at(&disk->d, disk->status);
	unsigned n = 1;

	*status = 0xee;
	set_header(disk, disk->header, type, sector);
	if (len)
		segments[n++] = (struct segment){data, len, writable};
	segments[n++] = (struct segment){disk->status, 1, true};
	driver_add(&disk->d, 0, segments, n);
	driver_kick(&disk->d, 0);
	if (driver_status(&disk->d) & VIRTIO_CONFIG_S_NEEDS_RESET)
		return 0xee;
	cr_assert(driver_wait_used(&disk->d, 0, NULL, written));
	return *status;
}

Test(virtio_blk, refuses_what_is_no_disk)
{
	struct loop *loop;
	struct virtio_dev *dev;
	int dir = open("/tmp", O_RDONLY), null = open("/dev/null", O_RDWR);
	char path[] = "/tmp/virtio-blk-XXXXXX";
	int empty = mkstemp(path);

	unlink(path);
	cr_assert_eq(loop_new(&loop, 8, 8), 0);
	cr_assert_eq(new_disk(&dev, loop, dir, true, "x"), -EINVAL);
	cr_assert_eq(new_disk(&dev, loop, null, true, "x"), -EINVAL);
	cr_assert_eq(new_disk(&dev, loop, empty, true, "x"), -EINVAL);
	cr_assert_eq(ftruncate(empty, 4096), 0);
	cr_assert_eq(new_disk(&dev, loop, empty, true, ""), -EINVAL);
	cr_assert_eq(new_disk(&dev, loop, empty, true, "123456789012345678901"), -EINVAL);
	loop_free(loop);
	close(dir);
	close(null);
	close(empty);
}

Test(virtio_blk, configuration)
{
	struct disk disk;
	struct virtio_blk_config config;

	start(&disk, false, FEATURES);
	for (unsigned i = 0; i < sizeof(config); i++)
		((uint8_t *)&config)[i] = (uint8_t)driver_reg_read(&disk.d, 0x1000 + i, 1);
	cr_assert_eq(config.capacity, DISK_SECTORS);
	cr_assert_eq(config.blk_size, 512);
	cr_assert_eq(config.seg_max, 126);
	cr_assert_eq(driver_reg_read(&disk.d, 0x1ff8, 8), 0);
	end(&disk);
}

Test(virtio_blk, writes_and_reads_back)
{
	struct disk disk;
	gpa_t data;
	uint32_t written;
	uint8_t *bytes, back[1024];

	start(&disk, false, FEATURES);
	data = driver_alloc(&disk.d, 8192);
	bytes = driver_at(&disk.d, data);
	for (unsigned i = 0; i < 1024; i++)
		bytes[i] = (uint8_t)(i * 7);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_OUT, 9, data, 1024, false, &written), 0);
	cr_assert_eq(written, 1);
	cr_assert_eq(pread(disk.fd, back, 1024, 9 * 512), 1024);
	cr_assert_eq(memcmp(back, bytes, 1024), 0);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_FLUSH, 0, 0, 0, false, &written), 0);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_IN, 9, data + 4096, 1024, true, &written), 0);
	cr_assert_eq(written, 1025);
	cr_assert_eq(memcmp(bytes + 4096, back, 1024), 0);
	/* The last sector, and a driver that goes without FLUSH. */
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_IN, DISK_SECTORS - 1, data, 512, true, &written),
		     0);
	cr_assert(driver_reset(&disk.d));
	driver_start(&disk.d, DRIVER_COMMON_FEATURES, 256);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_OUT, 1, data, 512, false, &written), 0);
	end(&disk);
}

Test(virtio_blk, any_framing)
{
	struct disk disk;
	struct segment segments[24];
	uint8_t expected[1024];
	unsigned n = 0;
	uint32_t written;
	gpa_t data;

	start(&disk, false, FEATURES);
	data = driver_alloc(&disk.d, 4096);
	for (unsigned i = 0; i < 1024; i++)
		expected[i] = (uint8_t)(i ^ i >> 8);
	cr_assert_eq(pwrite(disk.fd, expected, 1024, 512), 1024);
	/* The header by bytes, the data in uneven parts, the status behind the last of them. */
	set_header(&disk, disk.header, VIRTIO_BLK_T_IN, 1);
	for (unsigned i = 0; i < 16; i++)
		segments[n++] = (struct segment){disk.header + i, 1, false};
	segments[n++] = (struct segment){data, 1, true};
	segments[n++] = (struct segment){data + 1, 1000, true};
	segments[n++] = (struct segment){data + 1001, 24, true};
	memset(driver_at(&disk.d, data), 0xee, 1100);
	driver_add_indirect(&disk.d, 0, segments, n);
	driver_kick(&disk.d, 0);
	cr_assert(driver_wait_used(&disk.d, 0, NULL, &written));
	cr_assert_eq(written, 1025);
	cr_assert_eq(memcmp(driver_at(&disk.d, data), expected, 1024), 0);
	cr_assert_eq(((uint8_t *)driver_at(&disk.d, data))[1024], VIRTIO_BLK_S_OK);
	cr_assert_eq(((uint8_t *)driver_at(&disk.d, data))[1025], 0xee);
	/* Header and data in one segment of a write. */
	set_header(&disk, data, VIRTIO_BLK_T_OUT, 4);
	memset(driver_at(&disk.d, data + 16), 0x5a, 512);
	segments[0] = (struct segment){data, 528, false};
	segments[1] = (struct segment){disk.status, 1, true};
	driver_add(&disk.d, 0, segments, 2);
	driver_kick(&disk.d, 0);
	cr_assert(driver_wait_used(&disk.d, 0, NULL, &written));
	cr_assert_eq(pread(disk.fd, expected, 512, 4 * 512), 512);
	cr_assert_eq(expected[0], 0x5a);
	cr_assert_eq(expected[511], 0x5a);
	end(&disk);
}

/* Longer than one operation may be, over the border of the memory regions, and each segment in its
 * place. */
Test(virtio_blk, long_requests_go_in_parts)
{
	struct disk disk;
	struct segment segments[20];
	uint32_t written, value;
	unsigned n = 0;

	start(&disk, false, FEATURES);
	segments[n++] = (struct segment){disk.header, 16, false};
	/* 8 MiB to 3 MiB of memory: the third and the eighth overlap others, the last 2.5 MiB do
	 * not. */
	for (unsigned i = 0; i < 5; i++)
		segments[n++] = (struct segment){DRIVER_DATA + 0x10000, 0x119800, true};
	segments[n++] = (struct segment){DRIVER_DATA + 0x10000, DISK_LEN - 5 * 0x119800, true};
	segments[n++] = (struct segment){disk.status, 1, true};
	set_header(&disk, disk.header, VIRTIO_BLK_T_IN, 0);
	driver_add_indirect(&disk.d, 0, segments, n);
	driver_kick(&disk.d, 0);
	cr_assert(driver_wait_used(&disk.d, 0, NULL, &written));
	cr_assert_eq(written, DISK_LEN + 1);
	cr_assert_eq(*(uint8_t *)driver_at(&disk.d, disk.status), 0);
	for (uint32_t sector = (5 * 0x119800 / 512 + 63) / 64 * 64; sector < DISK_SECTORS;
	     sector += 64) {
		memcpy(&value,
		       driver_at(&disk.d, DRIVER_DATA + 0x10000 + sector * 512 - 5 * 0x119800), 4);
		cr_assert_eq(value, sector);
	}
	end(&disk);
}

Test(virtio_blk, batch_gives_one_interrupt)
{
	struct disk disk;
	gpa_t status, headers;

	start(&disk, false, FEATURES | DRIVER_EVENT_IDX);
	status = driver_alloc(&disk.d, 32);
	headers = driver_alloc(&disk.d, 32 * 16);
	/* used_event: tell at the first one */
	for (unsigned i = 0; i < 32; i++) {
		struct segment segments[] = {{headers + i * 16, 16, false},
					     {DRIVER_DATA + 0x10000 + i * 512, 512, true},
					     {status + i, 1, true}};

		set_header(&disk, headers + i * 16, VIRTIO_BLK_T_IN, i);
		driver_add(&disk.d, 0, segments, 3);
	}
	driver_kick(&disk.d, 0);
	for (unsigned i = 0; i < 32; i++)
		cr_assert(driver_wait_used(&disk.d, 0, NULL, NULL));
	cr_assert_leq(driver_interrupts(&disk.d, 1), 2);
	end(&disk);
}

Test(virtio_blk, out_of_range_and_uneven)
{
	struct disk disk;
	uint32_t written;
	gpa_t data;

	start(&disk, false, FEATURES);
	data = driver_alloc(&disk.d, 4096);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_IN, DISK_SECTORS, data, 512, true, &written), 1);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_IN, DISK_SECTORS - 1, data, 1024, true, &written),
		     1);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_IN, UINT64_MAX, data, 512, true, &written), 1);
	cr_assert_eq(
		request(&disk, VIRTIO_BLK_T_OUT, UINT64_MAX / 512 + 1, data, 512, false, &written),
		1);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_OUT, 1ull << 55, data, 512, false, &written), 1);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_IN, 0, data, 511, true, &written), 1);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_IN, 0, data, 512, false, &written), 1);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_OUT, 0, data, 512, true, &written), 1);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_IN, 0, 0, 0, true, &written), 0,
		     "nothing to read");
	cr_assert_eq(request(&disk, 77, 0, data, 512, true, &written), VIRTIO_BLK_S_UNSUPP);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_DISCARD, 0, data, 16, false, &written),
		     VIRTIO_BLK_S_UNSUPP, "not negotiated");
	cr_assert_eq(lseek(disk.fd, 0, SEEK_END), DISK_LEN);
	end(&disk);
}

Test(virtio_blk, read_only_is_never_written)
{
	struct disk disk;
	uint32_t written, value;
	gpa_t data;

	start(&disk, true, FEATURES | 1ull << VIRTIO_BLK_F_RO);
	data = driver_alloc(&disk.d, 512);
	memset(driver_at(&disk.d, data), 0xff, 512);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_OUT, 64, data, 512, false, &written), 1);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_WRITE_ZEROES, 0, data, 16, false, &written), 2);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_FLUSH, 0, 0, 0, false, &written), 0);
	cr_assert_eq(pread(disk.fd, &value, 4, 64 * 512), 4);
	cr_assert_eq(value, 64);
	end(&disk);
}

Test(virtio_blk, serial)
{
	struct disk disk;
	uint32_t written;
	gpa_t data;

	start(&disk, false, FEATURES);
	data = driver_alloc(&disk.d, 64);
	memset(driver_at(&disk.d, data), 0xee, 64);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_GET_ID, 0, data, 20, true, &written), 0);
	cr_assert_eq(written, 21);
	cr_assert_eq(memcmp(driver_at(&disk.d, data), "sha256:0123\0\0\0\0\0\0\0\0\0\xee", 21), 0);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_GET_ID, 0, data, 3, true, &written), 0);
	cr_assert_eq(written, 4);
	end(&disk);
}

static uint8_t trim(struct disk *disk, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes range = {
		.sector = sector, .num_sectors = n, .flags = flags};
	gpa_t data = driver_alloc(&disk->d, 16);
	uint32_t written;

	memcpy(driver_at(&disk->d, data), &range, sizeof(range));
	return request(disk, type, 0, data, 16, false, &written);
}

static uint32_t marker(struct disk *disk, uint32_t sector)
{
	uint32_t value = 0;

	cr_assert_eq(pread(disk->fd, &value, 4, sector * 512), 4);
	return value;
}

Test(virtio_blk, discard_and_write_zeroes)
{
	struct disk disk;

	start(&disk, false, FEATURES | TRIM);
	cr_assert_eq(trim(&disk, VIRTIO_BLK_T_DISCARD, 64, 64, 0), 0);
	cr_assert_eq(marker(&disk, 64), 0);
	cr_assert_eq(marker(&disk, 128), 128);
	cr_assert_eq(trim(&disk, VIRTIO_BLK_T_WRITE_ZEROES, 128, 64, 0), 0);
	cr_assert_eq(marker(&disk, 128), 0);
	cr_assert_eq(trim(&disk, VIRTIO_BLK_T_WRITE_ZEROES, 192, 1, 1), 0);
	cr_assert_eq(marker(&disk, 192), 0);
	cr_assert_eq(marker(&disk, 256), 256);
	cr_assert_eq(trim(&disk, VIRTIO_BLK_T_DISCARD, 0, 64, 1), VIRTIO_BLK_S_UNSUPP);
	cr_assert_eq(trim(&disk, VIRTIO_BLK_T_WRITE_ZEROES, 0, 64, 6), VIRTIO_BLK_S_UNSUPP);
	/* Write-zeroes overflow. */
	cr_assert_eq(trim(&disk, VIRTIO_BLK_T_WRITE_ZEROES, DISK_SECTORS - 1, 2, 0), 1);
	cr_assert_eq(trim(&disk, VIRTIO_BLK_T_WRITE_ZEROES, UINT64_MAX, 2, 0), 1);
	cr_assert_eq(trim(&disk, VIRTIO_BLK_T_WRITE_ZEROES, UINT64_MAX / 512, 0x3fffff, 0), 1);
	cr_assert_eq(trim(&disk, VIRTIO_BLK_T_DISCARD, 0, UINT32_MAX, 0), 1);
	cr_assert_eq(lseek(disk.fd, 0, SEEK_END), DISK_LEN);
	end(&disk);
}

Test(virtio_blk, file_cut_short_under_the_device)
{
	struct disk disk;
	uint32_t written;

	start(&disk, false, FEATURES);
	cr_assert_eq(ftruncate(disk.fd, 512), 0);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_IN, 0, DRIVER_DATA + 0x1000, 1024, true, &written),
		     1);
	end(&disk);
}

static void expect_broken(struct disk *disk, const struct segment *segments, unsigned n)
{
	driver_add(&disk->d, 0, segments, n);
	driver_kick(&disk->d, 0);
	driver_run(&disk->d, 3);
	cr_assert(driver_status(&disk->d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	cr_assert(driver_reset(&disk->d));
	driver_start(&disk->d, FEATURES, 256);
}

Test(virtio_blk, hostile_chains_only_break_the_device)
{
	struct disk disk;
	uint32_t written;

	start(&disk, false, FEATURES);
	set_header(&disk, disk.header, VIRTIO_BLK_T_IN, 0);
	expect_broken(&disk, (struct segment[]){{disk.header, 16, false}}, 1);
	expect_broken(&disk, (struct segment[]){{disk.header, 15, false}, {disk.status, 1, true}},
		      2);
	expect_broken(&disk, (struct segment[]){{disk.status, 1, true}}, 1);
	expect_broken(&disk, (struct segment[]){{disk.header, 16, false}, {disk.status, 0, true}},
		      2);
	expect_broken(&disk,
		      (struct segment[]){{disk.header, 16, false}, {DRIVER_RAM_LEN, 1, true}}, 2);
	expect_broken(&disk, (struct segment[]){{UINT64_MAX, 16, false}, {disk.status, 1, true}},
		      2);
	expect_broken(&disk, (struct segment[]){{disk.status, 1, true}, {disk.header, 16, false}},
		      2);
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_IN, 64, DRIVER_DATA + 0x1000, 512, true, &written),
		     0);
	end(&disk);
}

/* CVE-2026-45782: a head that is still in flight comes again. */
Test(virtio_blk, head_in_flight_again)
{
	struct disk disk;
	struct segment segments[] = {
		{0, 16, false}, {DRIVER_DATA + 0x1000, 512, true}, {0, 1, true}};
	uint16_t head;

	start(&disk, false, FEATURES);
	segments[0].gpa = disk.header;
	segments[2].gpa = disk.status;
	set_header(&disk, disk.header, VIRTIO_BLK_T_IN, 0);
	head = driver_add(&disk.d, 0, segments, 3);
	driver_make_available(&disk.d, 0, head);
	driver_kick(&disk.d, 0);
	driver_run(&disk.d, 5);
	cr_assert(driver_status(&disk.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	end(&disk);
}

/* Data buffers laid over the rings themselves: the guest harms its own queue and nothing else. */
Test(virtio_blk, transfers_into_its_own_rings)
{
	struct disk disk;
	uint32_t written;

	start(&disk, false, FEATURES);
	for (unsigned round = 0; round < 8; round++) {
		const gpa_t rings[] = {disk.d.queues[0].desc_gpa, disk.d.queues[0].driver_gpa,
				       disk.d.queues[0].device_gpa};
		const struct segment segments[] = {{disk.header, 16, false},
						   {rings[round % 3], 8192, true},
						   {disk.status, 1, true}};

		set_header(&disk, disk.header, VIRTIO_BLK_T_IN, 64 * round);
		for (unsigned i = 0; i < 4; i++)
			driver_add(&disk.d, 0, segments, 3);
		driver_kick(&disk.d, 0);
		driver_run(&disk.d, 3);
		driver_kick(&disk.d, 0);
		driver_run(&disk.d, 2);
		cr_assert(driver_reset(&disk.d));
		driver_start(&disk.d, FEATURES, 256);
	}
	cr_assert_eq(request(&disk, VIRTIO_BLK_T_IN, 64, DRIVER_DATA + 0x1000, 512, true, &written),
		     0);
	end(&disk);
}

/* CVE-2026-27211: content that looks like an image format is content. */
Test(virtio_blk, format_is_never_probed)
{
	struct disk disk;
	struct virtio_dev *dev;
	uint32_t written;

	start(&disk, false, FEATURES);
	memcpy(driver_at(&disk.d, DRIVER_DATA + 0x1000), "QFI\xfb\0\0\0\3", 8);
	cr_assert_eq(
		request(&disk, VIRTIO_BLK_T_OUT, 0, DRIVER_DATA + 0x1000, 512, false, &written), 0);
	driver_detach(&disk.d);
	cr_assert_eq(new_disk(&dev, disk.d.loop, disk.fd, false, "again"), 0);
	cr_assert_eq(virtio_blk_size(dev), DISK_LEN);
	dev->ops->destroy(dev);
	end(&disk);
}

/* Resets and the end of the device while requests are in flight. */
Test(virtio_blk, reset_with_requests_in_flight)
{
	struct disk disk;

	start(&disk, false, FEATURES);
	for (unsigned round = 0; round < 30; round++) {
		for (unsigned i = 0; i < 64; i++) {
			const struct segment segments[] = {{disk.header, 16, false},
							   {DRIVER_DATA + 0x10000, 0x100000, i % 2},
							   {disk.status, 1, true}};

			driver_add(&disk.d, 0, segments, 3);
		}
		set_header(&disk, disk.header, round % 2, 0);
		driver_kick(&disk.d, 0);
		if (round % 3)
			driver_run(&disk.d, round % 3);
		cr_assert(driver_reset(&disk.d));
		cr_assert(!disk.d.dev->queues[0].enabled);
		driver_start(&disk.d, FEATURES, 256);
	}
	for (unsigned i = 0; i < 64; i++) {
		const struct segment segments[] = {{disk.header, 16, false},
						   {DRIVER_DATA + 0x10000, 0x100000, true},
						   {disk.status, 1, true}};

		driver_add(&disk.d, 0, segments, 3);
	}
	driver_kick(&disk.d, 0);
	driver_run(&disk.d, 1);
	end(&disk);
}
