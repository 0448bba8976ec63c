// SPDX-License-Identifier: Apache-2.0
/*
 * All registers of one disk hammered while it works: every vCPU has requests in flight on a queue
 * of its own, and writes to the common structure, the disk's own, configuration space, and through
 * the window in it (virtio 1.2 §4.1.4.9). First all that must not matter while a device runs: each
 * request ends as it should, with the right bytes. Then anything at all: what remains in flight is
 * nobody's, and the disk works after a reset.
 */
#include "hostile.h"

#define ROUNDS	      10u
#define WILD_ROUNDS   24u
#define WRITES	      12u /* while a round's requests are in flight */
#define IN_FLIGHT     4u
#define SECTOR	      512u
#define BLK_IN	      0u
#define BLK_OUT	      1u
#define FEATURE_MQ    (1u << 12)
#define CAPABILITIES  0x34u
#define CAP_VENDOR    9u
#define CFG_TYPE_PCI  5u
#define WINDOW_BAR    4u
#define WINDOW_OFFSET 8u
#define WINDOW_LENGTH 12u
#define WINDOW_DATA   16u
#define COMMON_LEN    64u
#define PORT_PATIENT  0x3fdu

struct request {
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} header;
	volatile uint8_t status;
	volatile uint32_t data[SECTOR / 4];
};

static struct queue queues[SECONDARY_MAX];
static struct request requests[SECONDARY_MAX][IN_FLIGHT];
static volatile uint32_t first_part_done[SECONDARY_MAX];
static uint32_t window; /* address of the capability */

static void find_window(void)
{
	uint32_t config = hostile_blk.config;

	for (uint32_t cap = read8(config + CAPABILITIES); cap; cap = read8(config + cap + 1))
		if (read8(config + cap) == CAP_VENDOR && read8(config + cap + 3) == CFG_TYPE_PCI)
			window = config + cap;
	CHECK(window, 0);
}

static void start_disk(void)
{
	bool multi = hostile_n_vcpus > 1;

	virtio_start_with(&hostile_blk, multi ? FEATURE_MQ : 0, 1);
	CHECK(read16(hostile_blk.common + COMMON_NUM_QUEUES) == hostile_n_vcpus, 0);
	for (uint16_t i = 0; i < hostile_n_vcpus; i++)
		virtio_queue(&hostile_blk, &queues[i], i);
	virtio_driver_ok(&hostile_blk);
}

static uint32_t sector_of(unsigned index, unsigned i)
{
	return index * IN_FLIGHT + i;
}

static void submit(unsigned index, unsigned i, uint32_t type)
{
	struct request *request = &requests[index][i];
	volatile struct desc *desc = &queues[index].desc[i * 3];
	uint16_t at = (uint16_t)(i * 3), write = type == BLK_IN ? DESC_WRITE : 0;

	request->header.type = type;
	request->header.sector = sector_of(index, i);
	request->status = 0xff;
	desc[0] = (struct desc){(uint32_t)&request->header, sizeof(request->header), DESC_NEXT,
				(uint16_t)(at + 1)};
	desc[1] = (struct desc){(uint32_t)request->data, SECTOR, DESC_NEXT | write,
				(uint16_t)(at + 2)};
	desc[2] = (struct desc){(uint32_t)&request->status, 1, DESC_WRITE, 0};
	virtio_submit(&queues[index], at);
}

/* The window's parts are set one by one, and other vCPUs set them as well: no two that may be set
 * make an access to the status. */
static void through_window(uint32_t value, uint32_t offset, bool wild)
{
	static const uint8_t lengths[] = {4, 2, 1, 0, 3, 4, 8, 255};

	if (!wild && offset % COMMON_LEN == COMMON_STATUS)
		return;
	write8(window + WINDOW_BAR, value & 0x70 ? 0 : (uint8_t)value);
	write32(window + WINDOW_OFFSET, offset);
	write32(window + WINDOW_LENGTH, lengths[value % 8]);
	if (value & 8)
		write32(window + WINDOW_DATA, value);
	(void)read32(window + WINDOW_DATA);
}

/* One write to each. The status is not among what must not matter; BAR, command and MSI-X's
 * control have programs of their own. */
static void hammer(uint32_t *state, bool wild)
{
	static const uint32_t bases[] = {0, 0, 0x1000, 0x2000, 0x3ff0, 0x4000, 0xfffffff0};
	uint32_t value = hostile_next(state), where = hostile_next(state) >> 4;
	unsigned len = 1u << value % 3;
	uint32_t off = where % COMMON_LEN & ~(len - 1);

	if (wild || (off & ~3u) != COMMON_STATUS)
		hostile_write(hostile_blk.common + off, len,
			      value & 0x100 ? value >> 16 : value >> 31);
	hostile_write(hostile_blk.device + (where % 0x1000 & ~(len - 1)), len, value);
	off = 0x20 + (where % 0x60 & ~(len - 1));
	if (hostile_blk.config + (off & ~3u) != window + WINDOW_OFFSET)
		hostile_write(hostile_blk.config + off, len, value);
	through_window(value >> 8, bases[where % 7] + (where >> 8) % 16 * 4, wild);
	(void)hostile_read(hostile_blk.common + (where % COMMON_LEN & ~3u), 4);
	(void)hostile_read(hostile_blk.device + (where % 0x100 & ~3u), 4);
}

/* Its requests, with writes to registers between and behind them, and what came of them. */
static void exactly(unsigned index, uint32_t round, uint32_t type, uint32_t *state)
{
	uint32_t len;

	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		for (unsigned w = 0; w < SECTOR / 4; w += 8)
			requests[index][i].data[w] =
				type == BLK_OUT ? round * 2654435761u + sector_of(index, i) + w : 0;
		submit(index, i, type);
		hammer(state, false);
	}
	for (unsigned i = 0; i < WRITES; i++)
		hammer(state, false);
	for (unsigned i = 0; i < IN_FLIGHT; i++)
		while (!virtio_wait(&queues[index], &len)) /* who runs this knows how long that may
							      take */
			CHECK(!(virtio_status(&hostile_blk) & STATUS_NEEDS_RESET), round);
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		CHECK(requests[index][i].status == 0, requests[index][i].status);
		for (unsigned w = 0; w < SECTOR / 4; w += 8)
			CHECK(requests[index][i].data[w] ==
				      round * 2654435761u + sector_of(index, i) + w,
			      requests[index][i].data[w]);
	}
}

/* Nothing was taken over. */
static void check_queues(void)
{
	CHECK(virtio_status(&hostile_blk) == 15, virtio_status(&hostile_blk));
	for (uint16_t i = 0; i < hostile_n_vcpus; i++) {
		write16(hostile_blk.common + COMMON_QUEUE_SELECT, i);
		CHECK(read16(hostile_blk.common + COMMON_QUEUE_SIZE) == QUEUE_SIZE, i);
		CHECK(read16(hostile_blk.common + COMMON_QUEUE_ENABLE) == 1, i);
		CHECK(read32(hostile_blk.common + COMMON_QUEUE_DESC) == (uint32_t)queues[i].desc,
		      i);
		CHECK(read32(hostile_blk.common + COMMON_QUEUE_DEVICE + 4) == 0, i);
	}
}

static void wait_for_all(void)
{
	for (unsigned i = 0; i < hostile_n_vcpus; i++)
		while (!first_part_done[i])
			(void)inb(PORT_PATIENT);
}

/* Starts the disk every so often, in the others' way, and submits as if nothing were. */
static void wildly(unsigned index, uint32_t round, uint32_t *state)
{
	if (round % 8 == index) {
		write8(hostile_blk.common + COMMON_STATUS, 0);
		write32(hostile_blk.common + COMMON_DRIVER_FEATURE_SELECT, 1);
		write32(hostile_blk.common + COMMON_DRIVER_FEATURE, 1 | 1u << (40 - 32));
		write8(hostile_blk.common + COMMON_STATUS, 11);
		virtio_queue(&hostile_blk, &queues[index], (uint16_t)index);
		write8(hostile_blk.common + COMMON_STATUS, 15);
	}
	for (unsigned i = 0; i < IN_FLIGHT; i++)
		submit(index, i, BLK_IN);
	for (unsigned i = 0; i < WRITES; i++)
		hammer(state, true);
}

void hostile_attack(unsigned index)
{
	uint32_t state = index * 77 + 1;

	for (uint32_t round = 0; round < ROUNDS; round++) {
		exactly(index, round, BLK_OUT, &state);
		exactly(index, round, BLK_IN, &state);
		if (index == 0 && round % 4 == 0)
			hostile_rng_works();
	}
	first_part_done[index] = 1;
	wait_for_all();
	if (index == 0)
		check_queues();
	for (uint32_t round = 0; round < WILD_ROUNDS; round++)
		wildly(index, round, &state);
}

void guest_main(const struct start_info *info)
{
	hostile_find(info);
	find_window();
	start_disk();
	hostile_run();
	hostile_reset_all();
	hostile_rng_works();
	hostile_disks_work();
	hostile_end();
}
