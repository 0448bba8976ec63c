// SPDX-License-Identifier: Apache-2.0
/* A virtio disk in front of the test's driver: its file, its requests by hand. */
#pragma once

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>

#include "tests/unit/virtio_driver.h"
#include "virtio/blk.h"

#define DISK_LEN   (4u << 20)
#define RING_RESET (1ull << VIRTIO_F_RING_RESET)
#define TRIM	   (1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES)
#define FEATURES                                                                                   \
	(DRIVER_COMMON_FEATURES | RING_RESET | 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_MQ)
#define N_PLACES 64u
#define DATA	 (DRIVER_DATA + 0x10000) /* where requests may read and write */

struct disk {
	struct driver d;
	int fd;
	gpa_t headers, statuses; /* N_PLACES each */
	unsigned next;
};

/* A file with the number of each sector, plus base, in it. */
int disk_file(uint32_t len, uint32_t base);

/* A device of the disk's file, as params say otherwise. */
struct virtio_dev *disk_dev(struct disk *disk, const struct virtio_blk_params *params);

/* Makes it the driver's, which starts; with a file of its own, of DISK_LEN. */
void disk_attach(struct disk *disk, const struct virtio_blk_params *params);
void disk_start(struct disk *disk, const struct virtio_blk_params *params);
void disk_end(struct disk *disk);

/* Makes a request available; returns its place. And the status in that. */
unsigned disk_add(struct disk *disk, unsigned queue, uint32_t type, uint64_t sector, gpa_t data,
		  uint32_t len);
uint8_t *disk_status(struct disk *disk, unsigned place);

/* One request from start to end; its status. */
uint8_t disk_request(struct disk *disk, unsigned queue, uint32_t type, uint64_t sector, gpa_t data,
		     uint32_t len);

void disk_reset_queue(struct disk *disk, unsigned queue);

/* The number of the sector that was read to gpa. */
uint32_t disk_number(struct disk *disk, gpa_t gpa);

uint64_t disk_counter(struct disk *disk, const char *name);
uint64_t disk_config(struct disk *disk, size_t off, unsigned len);
