// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-net with a host that sends every frame back (net_host.c): frames of any length come over
 * merged buffers; frames that come while the guest has no buffer wait for one; commands are
 * answered; chains that are no frames end in NEEDS_RESET, after which the device works again. The
 * receive queue is reset by itself while frames come, and with a frame half in its buffers: nothing
 * is written there any more, num_buffers neither (CVE-2021-3748).
 */
#include "virtio.h"

#define VIRTIO_NET   1u
#define HEADER	     12u
#define NUM_BUFFERS  10u /* offset in the header */
#define SEQUENCE     14u /* in the frame: its number, behind the Ethernet header */
#define BUFFER	     512u
#define FEATURES     (1u << 5 | 1u << 15 | 1u << 16 | 1u << 17 | 1u << 18) /* MAC … CTRL_RX */
#define STARVED	     40u
#define STALE_FRAMES 64u
#define RING_RESET   (1u << (40 - 32))
#define RESETS	     12u

static struct queue rx, tx, ctrl;
static struct device net;
static volatile uint8_t in[QUEUE_SIZE][BUFFER], out[2048], command[4];
static uint8_t sequence;

static void give_buffer(uint16_t head)
{
	rx.desc[head] = (struct desc){(uint32_t)in[head], BUFFER, DESC_WRITE, 0};
	virtio_submit(&rx, head);
}

static void start(bool buffers)
{
	virtio_start_with(&net, FEATURES, 1 | RING_RESET);
	virtio_queue(&net, &rx, 0);
	virtio_queue(&net, &tx, 1);
	virtio_queue(&net, &ctrl, 2);
	virtio_driver_ok(&net);
	for (uint16_t i = 0; buffers && i < QUEUE_SIZE; i++)
		give_buffer(i);
}

static void send(uint32_t len)
{
	uint32_t used;

	for (unsigned i = 0; i < 12; i++)
		out[HEADER + i] = 2;
	out[HEADER + 12] = 0x88;
	out[HEADER + 13] = 0xb5;
	out[HEADER + SEQUENCE] = ++sequence;
	out[HEADER + len - 1] = (uint8_t)(sequence ^ 0x55);
	tx.desc[0] = (struct desc){(uint32_t)out, HEADER + len, 0, 0};
	virtio_submit(&tx, 0);
	CHECK(virtio_wait(&tx, &used), len);
}

/* Receives one frame: its number, with its length and last byte. */
static uint8_t receive(uint32_t *len, uint8_t *last)
{
	uint8_t number = 0;
	uint32_t used, n = 1;

	*len = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint16_t head;

		CHECK(virtio_wait(&rx, &used), *len);
		head = (uint16_t)rx.used_ring[(uint16_t)(rx.seen - 1) % QUEUE_SIZE].id;
		CHECK(head < QUEUE_SIZE && used > 0 && used <= BUFFER, used);
		if (i == 0) {
			n = in[head][NUM_BUFFERS];
			number = in[head][HEADER + SEQUENCE];
		}
		*len += used;
		*last = in[head][used - 1];
		give_buffer(head);
	}
	*len -= HEADER;
	CHECK(n == (*len + HEADER + BUFFER - 1) / BUFFER, n);
	return number;
}

/* Frames from before a reset may come first. */
static void expect_echo(uint32_t len)
{
	uint32_t got;
	uint8_t last;

	for (unsigned i = 0; i < STALE_FRAMES; i++)
		if (receive(&got, &last) == sequence) {
			CHECK(got == len && last == (uint8_t)(sequence ^ 0x55), got);
			return;
		}
	CHECK(false, len);
}

static void echo_lengths(void)
{
	static const uint16_t lens[] = {60, 499, 500, 501, 1012, 1013, 1514};

	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		send(lens[i]);
		expect_echo(lens[i]);
	}
}

static void echo_without_buffers(void)
{
	uint8_t first;

	start(false);
	first = (uint8_t)(sequence + 1);
	for (unsigned i = 0; i < STARVED; i++)
		send(100);
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		give_buffer(i);
	for (unsigned i = 0; i < STARVED;) {
		uint32_t len;
		uint8_t last, number = receive(&len, &last);

		if (i == 0 && number != first)
			continue; /* from before the reset */
		CHECK(number == (uint8_t)(first + i), number);
		i++;
	}
}

static uint8_t run_command(uint8_t class, uint8_t value)
{
	uint32_t used;

	command[0] = class;
	command[1] = 0;
	command[2] = value;
	command[3] = 0xff;
	ctrl.desc[0] = (struct desc){(uint32_t)command, 3, DESC_NEXT, 1};
	ctrl.desc[1] = (struct desc){(uint32_t)&command[3], 1, DESC_WRITE, 0};
	virtio_submit(&ctrl, 0);
	CHECK(virtio_wait(&ctrl, &used) && used == 1, class);
	return command[3];
}

static void break_it(struct queue *queue, struct desc desc)
{
	start(false);
	if (queue == &rx)
		send(60); /* it is the echo that meets the buffer */
	queue->desc[0] = desc;
	virtio_submit(queue, 0);
	CHECK(virtio_wait_broken(&net), queue->index);
	start(true);
	send(60);
	expect_echo(60);
}

static void reset_rx(void)
{
	write16(net.common + COMMON_QUEUE_SELECT, 0);
	write16(net.common + COMMON_QUEUE_RESET, 1);
	while (read16(net.common + COMMON_QUEUE_RESET))
		;
	CHECK(read16(net.common + COMMON_QUEUE_ENABLE) == 0, 0);
}

static uint32_t sum_buffers(void)
{
	uint32_t sum = rx.used_idx;

	for (unsigned i = 0; i < QUEUE_SIZE; i++)
		for (unsigned at = 0; at < BUFFER; at += 4)
			sum = sum * 31 + *(volatile uint32_t *)&in[i][at];
	return sum;
}

/* Frames of three buffers each, on their way when the queue goes; in every other round there are
 * only two of them. */
static void echo_over_resets(void)
{
	start(true);
	for (unsigned round = 0; round < RESETS; round++) {
		uint32_t sum;

		for (unsigned i = 0; i < 4; i++)
			send(1514);
		reset_rx();
		sum = sum_buffers();
		write16(rx.doorbell, 0);
		for (unsigned i = 0; i < 4; i++)
			send(1514);
		CHECK(sum_buffers() == sum, round);
		virtio_queue(&net, &rx, 0);
		for (uint16_t i = 0; i < (round % 2 ? QUEUE_SIZE : 2u); i++)
			give_buffer(i);
		if (round % 2 == 0)
			continue;
		send(1514);
		expect_echo(1514);
	}
	CHECK(!(virtio_status(&net) & STATUS_NEEDS_RESET), virtio_status(&net));
}

void guest_main(const struct start_info *info)
{
	(void)info;
	CHECK(virtio_find(&net, VIRTIO_NET), 0);
	CHECK(read8(net.device) == 2 && read8(net.device + 5) == 7, read8(net.device));
	CHECK(read16(net.device + 6) == 1, read16(net.device + 6)); /* the link is up */
	start(true);
	echo_lengths();
	CHECK(run_command(0, 1) == 0, command[3]);
	CHECK(run_command(0, 2) == 1, command[3]);
	CHECK(run_command(99, 0) == 1, command[3]);
	echo_without_buffers();
	echo_over_resets();
	break_it(&tx, (struct desc){(uint32_t)out, HEADER - 1, 0, 0});
	break_it(&tx, (struct desc){(uint32_t)out, HEADER + 60, DESC_WRITE, 0});
	break_it(&tx, (struct desc){0xfffff000u, HEADER + 60, 0, 0});
	break_it(&rx, (struct desc){(uint32_t)in, HEADER - 1, DESC_WRITE, 0});
	break_it(&rx, (struct desc){(uint32_t)in, BUFFER, 0, 0});
	break_it(&ctrl, (struct desc){(uint32_t)command, 3, 0, 0});
	echo_lengths();
	print("PASS\n");
}
