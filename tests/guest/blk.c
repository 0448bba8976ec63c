// SPDX-License-Identifier: Apache-2.0
/* virtio-blk on every queue it has: writes a sector, reads it back, gets the serial; what is out of
 * bounds or unknown fails as a request, not as a device. Then all queues at once. */
#include "virtio.h"

enum {
	BLK_IN = 0,
	BLK_OUT = 1,
	BLK_GET_ID = 8,
	STATUS_OK = 0,
	STATUS_IOERR = 1,
	STATUS_UNSUPP = 2,
	CONFIG_NUM_QUEUES = 34,
};

#define QUEUES_MAX   8u
#define FEATURE_MQ   (1u << 12)
#define PER_QUEUE    4u
#define SECTOR	     512u
#define FIRST_SECTOR 100u

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

/* A request takes three descriptors: the queues have room for five. */
struct request {
	struct header header;
	volatile uint8_t status;
	uint8_t data[SECTOR];
};

static struct queue queues[QUEUES_MAX];
static struct request requests[QUEUES_MAX][PER_QUEUE];

static void start(unsigned q, unsigned i, uint32_t type, uint64_t sector, uint32_t len)
{
	struct request *request = &requests[q][i];
	volatile struct desc *desc = &queues[q].desc[i * 3];
	uint16_t at = (uint16_t)(i * 3), write = type == BLK_OUT ? 0 : DESC_WRITE;

	request->header.type = type;
	request->header.sector = sector;
	request->status = 0xff;
	desc[0] = (struct desc){(uint32_t)&request->header, sizeof(request->header), DESC_NEXT,
				(uint16_t)(at + 1)};
	desc[1] =
		(struct desc){(uint32_t)request->data, len, DESC_NEXT | write, (uint16_t)(at + 2)};
	desc[2] = (struct desc){(uint32_t)&request->status, 1, DESC_WRITE, 0};
	virtio_submit(&queues[q], at);
}

static uint8_t request(unsigned q, uint32_t type, uint64_t sector, uint32_t len)
{
	uint32_t used;

	start(q, 0, type, sector, len);
	CHECK(virtio_wait(&queues[q], &used), type);
	return requests[q][0].status;
}

static void try_queue(unsigned q)
{
	uint8_t *data = requests[q][0].data, r;

	for (unsigned i = 0; i < SECTOR; i++)
		data[i] = (uint8_t)(i * 7 + q);
	r = request(q, BLK_OUT, 5 + q, SECTOR);
	CHECK(r == STATUS_OK, r);
	data[3] = 0;
	r = request(q, BLK_IN, 5 + q, SECTOR);
	CHECK(r == STATUS_OK && data[3] == 21 + q, r);
	r = request(q, BLK_GET_ID, 0, 20);
	CHECK(r == STATUS_OK && data[0] == 's' && data[7] == '0', data[0]);
	r = request(q, BLK_IN, 2048, SECTOR);
	CHECK(r == STATUS_IOERR, r);
	r = request(q, BLK_OUT, UINT64_MAX, SECTOR);
	CHECK(r == STATUS_IOERR, r);
	r = request(q, 77, 0, SECTOR);
	CHECK(r == STATUS_UNSUPP, r);
}

/* Each request of each queue has its own sector, written and read with all of them in flight. */
static void try_together(unsigned n_queues, uint32_t type)
{
	uint32_t used;

	for (unsigned i = 0; i < PER_QUEUE; i++)
		for (unsigned q = 0; q < n_queues; q++) {
			requests[q][i].data[0] = type == BLK_OUT ? (uint8_t)(q * 16 + i) : 0xff;
			start(q, i, type, FIRST_SECTOR + q * PER_QUEUE + i, SECTOR);
		}
	for (unsigned i = 0; i < PER_QUEUE; i++)
		for (unsigned q = 0; q < n_queues; q++)
			CHECK(virtio_wait(&queues[q], &used), q);
	for (unsigned i = 0; i < PER_QUEUE; i++)
		for (unsigned q = 0; q < n_queues; q++) {
			CHECK(requests[q][i].status == STATUS_OK, q);
			CHECK(requests[q][i].data[0] == q * 16 + i, requests[q][i].data[0]);
		}
}

void guest_main(const struct start_info *info)
{
	struct device blk;
	unsigned n_queues;
	bool multi;

	(void)info;
	CHECK(virtio_find(&blk, VIRTIO_BLK), 0);
	CHECK(read32(blk.device) == 2048, read32(blk.device)); /* 1 MiB in sectors */
	write32(blk.common + COMMON_DEVICE_FEATURE_SELECT, 0);
	multi = read32(blk.common + COMMON_DEVICE_FEATURE) & FEATURE_MQ;
	virtio_start_with(&blk, multi ? FEATURE_MQ : 0, 1);
	n_queues = read16(blk.common + COMMON_NUM_QUEUES);
	CHECK(n_queues == read16(blk.device + CONFIG_NUM_QUEUES), n_queues);
	CHECK(n_queues <= QUEUES_MAX && (n_queues > 1) == multi, n_queues);
	for (unsigned q = 0; q < n_queues; q++)
		virtio_queue(&blk, &queues[q], (uint16_t)q);
	virtio_driver_ok(&blk);
	for (unsigned q = 0; q < n_queues; q++)
		try_queue(q);
	for (unsigned round = 0; round < 20; round++) {
		try_together(n_queues, BLK_OUT);
		try_together(n_queues, BLK_IN);
	}
	CHECK(!(virtio_status(&blk) & STATUS_NEEDS_RESET), virtio_status(&blk));
	print("PASS\n");
}
