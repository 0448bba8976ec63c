// SPDX-License-Identifier: Apache-2.0
/*
 * Answers into buffers that are too short, too long or in crumbs, and requests whose lengths do not
 * agree with what they say: the name of a disk, commands to a NIC, requests for memory. No byte
 * beside the answer changes (CVE-2023-3180).
 */
#include "hostile.h"

#define VIRTIO_NET	 1u
#define VIRTIO_MEM	 24u
#define MEM_INACCESSIBLE (1u << 1)
#define NET_FEATURES	 (1u << 5 | 1u << 17 | 1u << 18 | 1u << 23) /* MAC, CTRL_VQ, _RX, _MAC_ADDR */
#define NET_CTRL_QUEUE	 2u
#define NET_CLASS_MAC	 1u
#define BLK_GET_ID	 8u
#define BLK_ID_LEN	 20u
#define MEM_REQUEST	 24u
#define MEM_ANSWER	 10u
#define MEM_ACK		 0u
#define MEM_ERROR	 3u
#define AREA		 256u
#define AT		 64u /* where an answer begins in its area */
#define UNTOUCHED	 0xa5u

static struct queue queues[SECONDARY_MAX], other_queue;
static volatile uint8_t areas[SECONDARY_MAX][AREA], other_area[AREA];
static volatile uint8_t statuses[SECONDARY_MAX], command[64];
static volatile struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;
static volatile struct {
	uint16_t type, pad[3];
	uint64_t address;
	uint16_t n, pad2[3];
} request;
static struct device net, mem;
static bool has_net;

static void clear(volatile uint8_t *area)
{
	for (unsigned i = 0; i < AREA; i++)
		area[i] = UNTOUCHED;
}

/* All but `len` bytes of an answer are as they were. */
static void check(volatile uint8_t *area, uint32_t len, const char *what)
{
	for (unsigned i = 0; i < AREA; i++)
		if (area[i] != UNTOUCHED && (i < AT || i >= AT + len))
			fail(what, i);
}

/* The name, in segments of `step` bytes that have `len` in all. */
static void ask_name(unsigned index, uint32_t len, uint32_t step)
{
	struct queue *queue = &queues[index];
	uint32_t used, expected = len < BLK_ID_LEN ? len : BLK_ID_LEN;
	uint16_t n = 1;

	clear(areas[index]);
	statuses[index] = 0xff;
	queue->desc[0] = (struct desc){(uint32_t)&header, sizeof(header), DESC_NEXT, 1};
	for (uint32_t at = 0; at < len; at += step, n++)
		queue->desc[n] = (struct desc){(uint32_t)&areas[index][AT + at],
					       len - at < step ? len - at : step,
					       DESC_NEXT | DESC_WRITE, (uint16_t)(n + 1)};
	queue->desc[n] = (struct desc){(uint32_t)&statuses[index], 1, DESC_WRITE, 0};
	virtio_submit(queue, 0);
	CHECK(virtio_wait(queue, &used), len);
	CHECK(statuses[index] == 0 && used == expected + 1, used);
	check(areas[index], expected, "bytes beside the name of a disk");
}

static void ask_names(unsigned index)
{
	static const uint16_t lens[] = {0, 1, 8, 19, 20, 21, 64, 150};

	virtio_start(&hostile_disks[index]);
	virtio_queue(&hostile_disks[index], &queues[index], 0);
	virtio_driver_ok(&hostile_disks[index]);
	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		ask_name(index, lens[i], 150);
		ask_name(index, lens[i], lens[i] > 12 ? lens[i] / 7 : 1);
	}
}

static void start_other(struct device *dev, uint32_t features, uint16_t queue)
{
	virtio_start_with(dev, features, 1);
	virtio_queue(dev, &other_queue, queue);
	virtio_driver_ok(dev);
}

/* Sends what is in `from`: the answer's first byte. */
static uint8_t ask(volatile void *from, uint32_t len, uint32_t room, uint32_t answer_len)
{
	uint32_t used;

	clear(other_area);
	other_queue.desc[0] = (struct desc){(uint32_t)from, len, DESC_NEXT, 1};
	other_queue.desc[1] = (struct desc){(uint32_t)&other_area[AT], room, DESC_WRITE, 0};
	virtio_submit(&other_queue, 0);
	CHECK(virtio_wait(&other_queue, &used) && used == answer_len, used);
	check(other_area, answer_len, "bytes beside an answer");
	return other_area[AT];
}

/* Tables of addresses that have more of them than bytes; addresses that are none. */
static void command_net(void)
{
	static const uint32_t counts[] = {1, 9, 0xffff, 0x2aaaaaab, 0x7fffffff, 0xffffffff};

	start_other(&net, NET_FEATURES, NET_CTRL_QUEUE);
	for (unsigned i = 0; i < sizeof(command); i++)
		command[i] = 0;
	command[0] = NET_CLASS_MAC;
	CHECK(ask(command, 10, 1, 1) == 0, 0);	 /* two tables, both empty */
	CHECK(ask(command, 10, 150, 1) == 0, 0); /* with too much room */
	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		*(volatile uint32_t *)&command[2] = counts[i];
		for (uint32_t len = 8; len <= 14; len++)
			CHECK(ask(command, len, 64, 1) == 1, counts[i]);
	}
	command[1] = 1; /* one address */
	for (uint32_t len = 2; len <= 20; len++)
		CHECK((ask(command, len, 16, 1) == 1) == (len != 8 || command[2] & 1), len);
	command[1] = 0xff;
	CHECK(ask(command, 64, 16, 1) == 1, 0);
}

static void ask_memory(void)
{
	static const uint64_t places[] = {0, 0x100000, UINT64_C(0x8000000000000000), UINT64_MAX,
					  UINT64_C(0xffffffffffe00000)};

	start_other(&mem, MEM_INACCESSIBLE, 0);
	for (uint16_t type = 0; type < 5; type++)
		for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			if (type == 2)
				continue; /* of all memory, wherever */
			request.type = type;
			request.address = places[i];
			request.n = (uint16_t)(i & 1 ? 0xffff : 1);
			CHECK(ask(&request, MEM_REQUEST, MEM_ANSWER, MEM_ANSWER) == MEM_ERROR, i);
			CHECK(ask(&request, MEM_REQUEST, 150, MEM_ANSWER) == MEM_ERROR, i);
		}
	request.type = 2;
	CHECK(ask(&request, MEM_REQUEST, 12, MEM_ANSWER) == MEM_ACK, 0);
}

/* No room for the answer, no whole request: the device needs a reset, and nothing was written. */
static void cut_short(struct device *dev, uint32_t features, uint16_t queue, uint32_t len,
		      uint32_t room)
{
	start_other(dev, features, queue);
	clear(other_area);
	other_queue.desc[0] = (struct desc){(uint32_t)&request, len, DESC_NEXT, 1};
	other_queue.desc[1] = (struct desc){(uint32_t)&other_area[AT], room, DESC_WRITE, 0};
	if (room == 0)
		other_queue.desc[0].flags = 0;
	virtio_submit(&other_queue, 0);
	CHECK(virtio_wait_broken(dev), room);
	check(other_area, 0, "an answer without room");
}

void hostile_attack(unsigned index)
{
	if (index == 0 && has_net) {
		command_net();
		cut_short(&net, NET_FEATURES, NET_CTRL_QUEUE, 1, 1);
		cut_short(&net, NET_FEATURES, NET_CTRL_QUEUE, 10, 0);
	}
	if (index == 0) {
		ask_memory();
		cut_short(&mem, MEM_INACCESSIBLE, 0, MEM_REQUEST, MEM_ANSWER - 1);
		cut_short(&mem, MEM_INACCESSIBLE, 0, MEM_REQUEST - 1, MEM_ANSWER);
		hostile_rng_works();
	}
	ask_names(index);
}

void guest_main(const struct start_info *info)
{
	hostile_find(info);
	has_net = virtio_find(&net, VIRTIO_NET);
	CHECK(virtio_find(&mem, VIRTIO_MEM), 0);
	header.type = BLK_GET_ID;
	hostile_run();
	hostile_reset_all();
	hostile_rng_works();
	hostile_disks_work();
	hostile_end();
}
