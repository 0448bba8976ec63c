// SPDX-License-Identifier: Apache-2.0
/* virtio-blk: writes a sector, reads it back, gets the serial; what is out of bounds or unknown
 * fails as a request, not as a device. */
#include "virtio.h"

enum {
	BLK_IN = 0,
	BLK_OUT = 1,
	BLK_GET_ID = 8,
	STATUS_OK = 0,
	STATUS_IOERR = 1,
	STATUS_UNSUPP = 2
};

static struct queue queue;
static struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;
static uint8_t data[512];
static volatile uint8_t status;

static uint8_t request(uint32_t type, uint64_t sector, uint32_t len)
{
	uint32_t used;
	bool reads = type != BLK_OUT;

	header.type = type;
	header.sector = sector;
	status = 0xff;
	queue.desc[0] = (struct desc){(uint32_t)&header, sizeof(header), DESC_NEXT, 1};
	queue.desc[1] = (struct desc){(uint32_t)data, len, DESC_NEXT | (reads ? DESC_WRITE : 0), 2};
	queue.desc[2] = (struct desc){(uint32_t)&status, 1, DESC_WRITE, 0};
	virtio_submit(&queue, 0);
	CHECK(virtio_wait(&queue, &used), type);
	return status;
}

void guest_main(const struct start_info *info)
{
	struct device blk;
	uint8_t r;

	(void)info;
	CHECK(virtio_find(&blk, VIRTIO_BLK), 0);
	CHECK(read32(blk.device) == 2048, read32(blk.device)); /* 1 MiB in sectors */
	virtio_start(&blk);
	virtio_queue(&blk, &queue, 0);
	virtio_driver_ok(&blk);
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	r = request(BLK_OUT, 5, sizeof(data));
	CHECK(r == STATUS_OK, r);
	data[3] = 0;
	r = request(BLK_IN, 5, sizeof(data));
	CHECK(r == STATUS_OK && data[3] == 21, r);
	r = request(BLK_GET_ID, 0, 20);
	CHECK(r == STATUS_OK && data[0] == 's' && data[7] == '0', data[0]);
	r = request(BLK_IN, 2048, sizeof(data));
	CHECK(r == STATUS_IOERR, r);
	r = request(BLK_OUT, UINT64_MAX, sizeof(data));
	CHECK(r == STATUS_IOERR, r);
	r = request(77, 0, sizeof(data));
	CHECK(r == STATUS_UNSUPP, r);
	CHECK(!(virtio_status(&blk) & STATUS_NEEDS_RESET), virtio_status(&blk));
	print("PASS\n");
}
