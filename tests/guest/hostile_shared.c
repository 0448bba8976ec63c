// SPDX-License-Identifier: Apache-2.0
/*
 * One ring of one disk that all vCPUs write to at once, with no word among them: while the device
 * reads a request, fields of it change between right and wrong as fast as they can, in the ring, in
 * a table that it points to, and in the request's header; the disk is reset and started meanwhile.
 * What the device looked at is what it uses: nothing outside memory is touched, and bytes around
 * the buffer stay as they are.
 */
#include "hostile.h"

#define INDIRECT (1u << 28)
#define ROUNDS	 300u
#define FLICKERS 100u
#define TABLE	 8u
#define SECTOR	 512u
#define GUARD	 0xa5a5a5a5u
#define GUARDS	 256u

static struct queue queue;
static volatile struct desc table[TABLE];
static volatile struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;
static struct {
	volatile uint32_t before[GUARDS];
	volatile uint8_t data[SECTOR];
	volatile uint32_t after[GUARDS];
} buffer;
static volatile uint8_t status;

static void start(void)
{
	struct device *disk = &hostile_blk;

	write8(disk->common + COMMON_STATUS, 0);
	write8(disk->common + COMMON_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	write32(disk->common + COMMON_DRIVER_FEATURE_SELECT, 0);
	write32(disk->common + COMMON_DRIVER_FEATURE, INDIRECT);
	write32(disk->common + COMMON_DRIVER_FEATURE_SELECT, 1);
	write32(disk->common + COMMON_DRIVER_FEATURE, 1);
	write8(disk->common + COMMON_STATUS,
	       STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	virtio_queue(disk, &queue, 0);
	write8(disk->common + COMMON_STATUS,
	       STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
}

/* A right request: a sector, in the ring or in the table. */
static void put(volatile struct desc *at)
{
	at[0] = (struct desc){(uint32_t)&header, sizeof(header), DESC_NEXT, 1};
	at[1] = (struct desc){(uint32_t)buffer.data, SECTOR, DESC_NEXT | DESC_WRITE, 2};
	at[2] = (struct desc){(uint32_t)&status, 1, DESC_WRITE, 0};
}

/* Wrong, right, wrong, right: ends right. */
static void flicker32(volatile void *field, uint32_t wrong, uint32_t right)
{
	for (unsigned i = 0; i < FLICKERS; i++) {
		*(volatile uint32_t *)field = wrong;
		*(volatile uint32_t *)field = right;
	}
}

static void flicker16(volatile uint16_t *field, uint16_t wrong, uint16_t right)
{
	for (unsigned i = 0; i < FLICKERS; i++) {
		*field = wrong;
		*field = right;
	}
}

static void disturb(volatile struct desc *at, uint32_t value)
{
	static const uint32_t nowhere[] = {0x2000000, 0xc0000000, 0xfffffff0, 0xfee00000};

	switch (value % 8) {
	case 0:
		flicker32(&at[1].len, 0xf0000000, SECTOR);
		break;
	case 1:
		flicker32(&at[1].address, nowhere[value >> 4 & 3], (uint32_t)buffer.data);
		break;
	case 2:
		flicker32((volatile uint32_t *)&at[1].address + 1, 0xffffffff, 0);
		break;
	case 3:
		flicker32(&at[0].address, nowhere[value >> 4 & 3], (uint32_t)&header);
		break;
	case 4:
		flicker16(&at[0].next, (uint16_t)(value >> 4 | QUEUE_SIZE), 1);
		break;
	case 5: /* a chain that loops, or a table within a table */
		flicker16(&at[2].flags, (uint16_t)(value & 16 ? DESC_NEXT : DESC_INDIRECT),
			  DESC_WRITE);
		break;
	case 6:
		flicker32((volatile uint32_t *)&header.sector + 1, 0xffffffff, 0);
		break;
	default:
		flicker16(&queue.avail_ring[(uint16_t)(queue.avail_idx - 1) % QUEUE_SIZE],
			  (uint16_t)(value >> 4 | QUEUE_SIZE), 0);
		break;
	}
}

void hostile_attack(unsigned index)
{
	uint32_t state = index * 77 + 1;

	for (unsigned round = 0; round < ROUNDS; round++) {
		bool indirect = round & 1;

		if (index == 0 && round % 50 == 0)
			hostile_rng_works();
		if (virtio_status(&hostile_blk) & STATUS_NEEDS_RESET)
			start();
		put(table);
		put(queue.desc);
		if (indirect)
			queue.desc[0] = (struct desc){(uint32_t)table, 3 * sizeof(struct desc),
						      DESC_INDIRECT, 0};
		virtio_submit(&queue, 0);
		disturb(indirect ? table : queue.desc, hostile_next(&state));
	}
}

void guest_main(const struct start_info *info)
{
	hostile_find(info);
	for (unsigned i = 0; i < GUARDS; i++)
		buffer.before[i] = buffer.after[i] = GUARD;
	start();
	hostile_run();
	hostile_reset_all();
	for (unsigned i = 0; i < GUARDS; i++)
		CHECK(buffer.before[i] == GUARD && buffer.after[i] == GUARD, i);
	hostile_rng_works();
	hostile_disks_work();
	hostile_end();
}
