// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/virtio_blk_disk.h"
#include "tests/unit/harness.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int disk_file(uint32_t len, uint32_t base)
{
	char path[] = "/var/tmp/virtio-blk-XXXXXX";
	int fd = mkstemp(path);
	uint8_t sector[512] = {0};

	cr_assert_geq(fd, 0);
	unlink(path);
	for (uint32_t i = 0; i < len / 512; i++) {
		const uint32_t value = base + i;

		memcpy(sector, &value, sizeof(value));
		cr_assert_eq(pwrite(fd, sector, sizeof(sector), i * 512), sizeof(sector));
	}
	return fd;
}

struct virtio_dev *disk_dev(struct disk *disk, const struct virtio_blk_params *params)
{
	struct virtio_blk_params copy = *params;
	struct virtio_dev *dev;

	copy.fd = disk->fd;
	copy.serial = "test";
	cr_assert_eq(virtio_blk_new(&dev, disk->d.loop, &copy), 0);
	return dev;
}

void disk_attach(struct disk *disk, const struct virtio_blk_params *params)
{
	struct virtio_dev *dev;

	cr_assert_eq(driver_init(&disk->d), 0);
	dev = disk_dev(disk, params);
	cr_assert_eq(driver_attach(&disk->d, dev), 0);
	driver_start(&disk->d, dev->offered & (FEATURES | TRIM), 256);
	disk->headers = driver_alloc(&disk->d, 16 * N_PLACES);
	disk->statuses = driver_alloc(&disk->d, N_PLACES);
}

void disk_start(struct disk *disk, const struct virtio_blk_params *params)
{
	*disk = (struct disk){.fd = disk_file(DISK_LEN, 0)};
	disk_attach(disk, params);
}

void disk_end(struct disk *disk)
{
	driver_deinit(&disk->d);
	close(disk->fd);
}

uint8_t *disk_status(struct disk *disk, unsigned place)
{
	return driver_at(&disk->d, disk->statuses + place);
}

unsigned disk_add(struct disk *disk, unsigned queue, uint32_t type, uint64_t sector, gpa_t data,
		  uint32_t len)
{
	unsigned place = disk->next++ % N_PLACES, n = 1;
	const struct virtio_blk_outhdr header = {.type = type, .sector = sector};
	struct segment segments[3] = {{disk->headers + place * 16, 16, false}};

	memcpy(driver_at(&disk->d, segments[0].gpa), &header, sizeof(header));
	*disk_status(disk, place) = 0xee;
	if (len)
		segments[n++] = (struct segment){data, len, type == VIRTIO_BLK_T_IN};
	segments[n++] = (struct segment){disk->statuses + place, 1, true};
	driver_add(&disk->d, queue, segments, n);
	return place;
}

uint8_t disk_request(struct disk *disk, unsigned queue, uint32_t type, uint64_t sector, gpa_t data,
		     uint32_t len)
{
	unsigned place = disk_add(disk, queue, type, sector, data, len);

	driver_kick(&disk->d, queue);
	cr_assert(driver_wait_used(&disk->d, queue, NULL, NULL));
	return *disk_status(disk, place);
}

uint32_t disk_number(struct disk *disk, gpa_t gpa)
{
	uint32_t value;

	memcpy(&value, driver_at(&disk->d, gpa), sizeof(value));
	return value;
}

uint64_t disk_counter(struct disk *disk, const char *name)
{
	struct virtio_counter counters[VIRTIO_COUNTERS_MAX];
	unsigned n = disk->d.dev->ops->counters(disk->d.dev, counters, VIRTIO_COUNTERS_MAX);

	for (unsigned i = 0; i < n; i++)
		if (strcmp(counters[i].name, name) == 0)
			return counters[i].value;
	cr_assert(false, "no counter %s", name);
	return 0;
}

uint64_t disk_config(struct disk *disk, size_t off, unsigned len)
{
	return driver_reg_read(&disk->d, 0x1000 + (unsigned)off, len);
}

void disk_reset_queue(struct disk *disk, unsigned queue)
{
	cr_assert(driver_reset_queue(&disk->d, queue));
}
