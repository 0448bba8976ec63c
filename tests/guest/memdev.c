// SPDX-License-Identifier: Apache-2.0
/*
 * The guest of memory_host.c's test of virtio-mem: sees its memory grow and shrink as the host
 * wants it. What is not plugged is no memory: all ones for the guest, and an address that devices
 * refuse, a ring of theirs in it included. The region begins at 4 GiB, which is seen here at
 * 2 GiB.
 */
#include "virtio.h"

#define VIRTIO_MEM   24u
#define INACCESSIBLE (1u << 1)
#define WINDOW	     0x80000000u
#define BLOCK	     0x200000u
#define PAGE	     4096u
#define BLOCKS	     4u
#define ABSENT	     0xffffffffu

enum { PLUG, UNPLUG, UNPLUG_ALL, STATE };
enum { ACK, NACK, BUSY, ERROR };
enum { STATE_PLUGGED, STATE_UNPLUGGED, STATE_MIXED };
enum { CONFIG_BLOCK = 0, CONFIG_ADDRESS = 16, CONFIG_PLUGGED = 40, CONFIG_TARGET = 48 };

static struct device mem, rng;
static struct queue queue, rng_queue;
static volatile uint32_t low_buffer[16];
static struct {
	uint16_t type, reserved[3];
	uint64_t address;
	uint16_t n_blocks, reserved2[3];
} request;
static volatile struct {
	uint16_t type, reserved[3], state;
} response;

static uint64_t directories[4][512] __attribute__((aligned(4096)));
static uint64_t pointers[512] __attribute__((aligned(4096)));
static uint64_t top[512] __attribute__((aligned(4096)));

/* Long mode's tables under the same 32-bit code (some hosts emulate no others): all as it is, but
 * for the third GiB, which shows the fifth. */
static void enable_paging(void)
{
	top[0] = (uint32_t)pointers | 3u;
	for (uint32_t gib = 0; gib < 4; gib++) {
		pointers[gib] = (uint32_t)directories[gib] | 3u;
		for (uint32_t i = 0; i < 512; i++)
			directories[gib][i] =
				((uint64_t)(gib == 2 ? 4 : gib) << 30) + i * BLOCK + 0x83;
	}
	__asm__ volatile("mov %%cr4, %%eax\n\tor $0x20, %%eax\n\tmov %%eax, %%cr4\n\t"
			 "mov %0, %%cr3\n\t"
			 "mov $0xc0000080, %%ecx\n\trdmsr\n\tor $0x100, %%eax\n\twrmsr\n\t"
			 "mov %%cr0, %%eax\n\tor $0x80000000, %%eax\n\tmov %%eax, %%cr0\n\t"
			 "jmp 1f\n1:"
			 :
			 : "r"(top)
			 : "eax", "ecx", "edx", "memory");
}

static unsigned ask(uint16_t type, uint32_t block, uint16_t n)
{
	uint32_t len;

	request.type = type;
	request.address = ((uint64_t)1 << 32) + block * BLOCK;
	request.n_blocks = n;
	queue.desc[0] = (struct desc){(uint32_t)&request, sizeof(request), DESC_NEXT, 1};
	queue.desc[1] = (struct desc){(uint32_t)&response, sizeof(response), DESC_WRITE, 0};
	virtio_submit(&queue, 0);
	CHECK(virtio_wait(&queue, &len), virtio_status(&mem));
	return response.type;
}

static void wait_for_target(uint32_t bytes)
{
	while (read32(mem.device + CONFIG_TARGET) != bytes)
		;
}

static uint32_t at(uint32_t block, uint32_t page)
{
	return WINDOW + block * BLOCK + page * PAGE;
}

static void fill(uint32_t block)
{
	for (uint32_t page = 0; page < BLOCK / PAGE; page++)
		write32(at(block, page), block << 16 | page);
}

static void expect_filled(uint32_t block)
{
	for (uint32_t page = 0; page < BLOCK / PAGE; page += 37)
		CHECK(read32(at(block, page)) == (block << 16 | page), read32(at(block, page)));
}

static void expect_absent(uint32_t block)
{
	for (uint32_t page = 0; page < BLOCK / PAGE; page += 37) {
		write32(at(block, page), 0);
		CHECK(read32(at(block, page)) == ABSENT, read32(at(block, page)));
	}
}

static void start_rng(void)
{
	virtio_start(&rng);
	virtio_queue(&rng, &rng_queue, 0);
	virtio_driver_ok(&rng);
}

/* Random bytes to this guest-physical address; false when the device refuses. */
static bool draw(uint64_t address)
{
	uint32_t len;

	start_rng();
	rng_queue.desc[0] = (struct desc){address, 64, DESC_WRITE, 0};
	virtio_submit(&rng_queue, 0);
	if (virtio_wait_broken(&rng))
		return false;
	CHECK(virtio_wait(&rng_queue, &len), virtio_status(&rng));
	return true;
}

/* Unplugs a block with a ring in it: the device stops looking at it. */
static void unplug_ring(uint32_t block)
{
	struct queue *ring = (struct queue *)at(block, 0);
	uint32_t off = block * BLOCK;

	virtio_start(&rng);
	write16(rng.common + COMMON_QUEUE_SELECT, 0);
	write16(rng.common + COMMON_QUEUE_SIZE, QUEUE_SIZE);
	for (unsigned i = 0; i < 3; i++) {
		static const uint32_t parts[] = {offsetof(struct queue, desc),
						 offsetof(struct queue, avail_flags),
						 offsetof(struct queue, used_flags)};

		write32(rng.common + COMMON_QUEUE_DESC + i * 8, off + parts[i]);
		write32(rng.common + COMMON_QUEUE_DESC + i * 8 + 4, 1);
	}
	ring->avail_idx = ring->used_idx = 0;
	write16(rng.common + COMMON_QUEUE_ENABLE, 1);
	virtio_driver_ok(&rng);
	CHECK(!(virtio_status(&rng) & STATUS_NEEDS_RESET), virtio_status(&rng));
	CHECK(ask(UNPLUG, block, 1) == ACK, response.type);
	CHECK(virtio_wait_broken(&rng), virtio_status(&rng));
	for (unsigned i = 0; i < 8; i++)
		write16(rng.notify, 0);
	CHECK(draw((uint32_t)low_buffer), virtio_status(&rng));
}

static void before_plugging(void)
{
	CHECK(read32(mem.device + CONFIG_BLOCK) == BLOCK, read32(mem.device + CONFIG_BLOCK));
	CHECK(read32(mem.device + CONFIG_ADDRESS + 4) == 1, 0);
	expect_absent(0);
	CHECK(ask(STATE, 0, BLOCKS) == ACK && response.state == STATE_UNPLUGGED, response.state);
	CHECK(ask(PLUG, 0, 1) == NACK, response.type);
	CHECK(ask(PLUG, 0, 0) == ERROR, response.type);
	CHECK(ask(PLUG, 64, 1) == ERROR, response.type);
	CHECK(ask(UNPLUG, 0, 1) == ERROR, response.type);
	CHECK(!draw((uint64_t)1 << 32), virtio_status(&rng));
}

void guest_main(const struct start_info *info)
{
	(void)info;
	enable_paging();
	CHECK(virtio_find(&rng, VIRTIO_RNG), 0);
	CHECK(virtio_find(&mem, VIRTIO_MEM), 0);
	virtio_start_with(&mem, INACCESSIBLE, 1);
	virtio_queue(&mem, &queue, 0);
	virtio_driver_ok(&mem);
	before_plugging();
	print("READY\n");

	wait_for_target(BLOCKS * BLOCK);
	CHECK(ask(PLUG, 0, BLOCKS) == ACK, response.type);
	for (uint32_t block = 0; block < BLOCKS; block++)
		fill(block);
	CHECK(draw(((uint64_t)1 << 32) + BLOCK - 4), virtio_status(&rng));
	expect_filled(3);
	expect_absent(BLOCKS);
	print("PLUGGED\n");

	wait_for_target(2 * BLOCK);
	CHECK(ask(UNPLUG, 1, 2) == ACK, response.type);
	expect_filled(3);
	expect_absent(1);
	expect_absent(2);
	CHECK(!draw(((uint64_t)1 << 32) + BLOCK - 4), virtio_status(&rng)); /* half of it */
	CHECK(ask(STATE, 0, BLOCKS) == ACK && response.state == STATE_MIXED, response.state);
	print("SHRUNK\n");

	wait_for_target(BLOCKS * BLOCK);
	CHECK(ask(PLUG, 1, 1) == ACK, response.type);
	CHECK(read32(at(1, 37)) == 0, read32(at(1, 37)));
	unplug_ring(3);
	CHECK(ask(UNPLUG_ALL, 0, 0) == ACK, response.type);
	CHECK(read32(mem.device + CONFIG_PLUGGED) == 0, read32(mem.device + CONFIG_PLUGGED));
	expect_absent(0);
	print("PASS\n");
	for (;;)
		(void)inb(0x3fd);
}
