// SPDX-License-Identifier: Apache-2.0
/*
 * The receive queue without a buffer and the tap without room, both at once and for certain
 * (net_host.c floods the tap, and tells by a byte on the disk when it dropped frames after the last
 * buffer was used). Once there are buffers again, what the tap kept comes, and so do new frames
 * (CVE-2020-16843).
 */
#include "virtio.h"

#define VIRTIO_NET   1u
#define HEADER	     12u
#define KIND	     14u /* in the frame: what net_host.c is to do */
#define SEQUENCE     15u
#define BUFFER	     512u
#define FEATURES     (1u << 5 | 1u << 15) /* MAC, MRG_RXBUF */
#define FRAME	     60u
#define ROUNDS	     4u
#define KEPT	     48u /* of the 64 that net_host.c lets the tap keep: there may be one less */
#define PATIENCE     20u
#define PORT_PATIENT 0x3fdu

static struct queue rx, tx, disk_queue;
static struct device net, disk;
static volatile uint8_t in[QUEUE_SIZE][BUFFER], out[HEADER + FRAME], sector[512], status;
static struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;
static unsigned n_received;

static void give_buffer(uint16_t head)
{
	rx.desc[head] = (struct desc){(uint32_t)in[head], BUFFER, DESC_WRITE, 0};
	virtio_submit(&rx, head);
}

static void send(uint8_t kind, uint8_t sequence)
{
	uint32_t used;

	for (unsigned i = 0; i < 12; i++)
		out[HEADER + i] = 2;
	out[HEADER + 12] = 0x88;
	out[HEADER + 13] = 0xb5;
	out[HEADER + KIND] = kind;
	out[HEADER + SEQUENCE] = sequence;
	tx.desc[0] = (struct desc){(uint32_t)out, sizeof(out), 0, 0};
	virtio_submit(&tx, 0);
	while (!virtio_wait(&tx, &used))
		CHECK(!(virtio_status(&net) & STATUS_NEEDS_RESET), kind);
}

static uint8_t read_sign(void)
{
	uint32_t used;

	header.type = 0;
	header.sector = 0;
	disk_queue.desc[0] = (struct desc){(uint32_t)&header, sizeof(header), DESC_NEXT, 1};
	disk_queue.desc[1] =
		(struct desc){(uint32_t)sector, sizeof(sector), DESC_NEXT | DESC_WRITE, 2};
	disk_queue.desc[2] = (struct desc){(uint32_t)&status, 1, DESC_WRITE, 0};
	virtio_submit(&disk_queue, 0);
	while (!virtio_wait(&disk_queue, &used))
		;
	CHECK(status == 0, status);
	return sector[0];
}

/* Until both are full. The buffers that are used are looked at afterwards. */
static void fill(uint8_t round)
{
	send('F', round);
	while ((uint16_t)(rx.used_idx - rx.seen) < QUEUE_SIZE)
		(void)inb(PORT_PATIENT);
	send('S', round);
	while (read_sign() != round + 1)
		;
	CHECK((uint16_t)(rx.used_idx - rx.seen) == QUEUE_SIZE, rx.used_idx);
}

/* The next frame, if one comes: its buffer goes back. Whether it is this round's echo. */
static bool receive(uint8_t round, bool *came)
{
	uint32_t used;
	uint16_t head;
	bool is_echo;

	*came = virtio_wait(&rx, &used);
	if (!*came)
		return false;
	head = (uint16_t)rx.used_ring[(uint16_t)(rx.seen - 1) % QUEUE_SIZE].id;
	CHECK(head < QUEUE_SIZE && used == HEADER + FRAME, used);
	is_echo = in[head][HEADER + KIND] == 'E' && in[head][HEADER + SEQUENCE] == round;
	n_received++;
	give_buffer(head);
	return is_echo;
}

/* What was kept, and then an echo, which is lost if the tap is still full when it is sent. */
static void drain(uint8_t round)
{
	bool came, echoed = false;
	unsigned in_vain = 0;

	n_received = 0;
	while (n_received < QUEUE_SIZE + KEPT && in_vain < PATIENCE) {
		receive(round, &came);
		in_vain += !came;
	}
	CHECK(n_received >= QUEUE_SIZE + KEPT, n_received);
	for (in_vain = 0; !echoed && in_vain < PATIENCE;) {
		send('E', round);
		do
			echoed |= receive(round, &came);
		while (came && !echoed);
		in_vain += !came;
	}
	CHECK(echoed, round);
}

void guest_main(const struct start_info *info)
{
	(void)info;
	CHECK(virtio_find(&net, VIRTIO_NET), 0);
	CHECK(virtio_find(&disk, VIRTIO_BLK), 0);
	virtio_start(&disk);
	virtio_queue(&disk, &disk_queue, 0);
	virtio_driver_ok(&disk);
	virtio_start_with(&net, FEATURES, 1);
	virtio_queue(&net, &rx, 0);
	virtio_queue(&net, &tx, 1);
	virtio_driver_ok(&net);
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		give_buffer(i);
	for (uint8_t round = 0; round < ROUNDS; round++) {
		fill(round);
		drain(round);
	}
	print("PASS\n");
}
