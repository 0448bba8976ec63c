// SPDX-License-Identifier: Apache-2.0
/*
 * The zone's end of a vsock connection: connects to the agent's port and then, for each packet, as
 * its first byte says: 'e' sends it back, 's' drops it and gives the credit back, 'q' ends.
 */
#include "../../guest/virtio.h"

#define CID_GUEST    3u
#define CID_HOST     2u
#define TYPE_STREAM  1u
#define AGENT_PORT   1024u
#define OUR_PORT     5000u
#define BUFFER_BYTES 16384u
#define BUF_ALLOC    (QUEUE_SIZE * BUFFER_BYTES)

enum { OP_REQUEST = 1, OP_RESPONSE, OP_RST, OP_SHUTDOWN, OP_RW, OP_CREDIT_UPDATE };

struct __attribute__((packed)) header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
};

struct packet {
	struct header header;
	uint8_t data[BUFFER_BYTES - sizeof(struct header)];
};

static struct queue rx, tx;
static struct device vsock;
static struct packet in[QUEUE_SIZE];
static struct header out;
static uint32_t taken;

static void give_buffer(uint16_t head)
{
	rx.desc[head] = (struct desc){(uint32_t)&in[head], sizeof(in[head]), DESC_WRITE, 0};
	rx.avail_ring[rx.avail_idx % QUEUE_SIZE] = head;
	rx.avail_idx++;
}

/* Sends our header, with len bytes of data behind it; waits until the device has taken them. */
static void send(uint16_t op, const uint8_t *data, uint32_t len)
{
	uint32_t ignored;

	out = (struct header){.src_cid = CID_GUEST,
			      .dst_cid = CID_HOST,
			      .src_port = OUR_PORT,
			      .dst_port = AGENT_PORT,
			      .len = len,
			      .type = TYPE_STREAM,
			      .op = op,
			      .buf_alloc = BUF_ALLOC,
			      .fwd_cnt = taken};
	tx.desc[0] = (struct desc){(uint32_t)&out, sizeof(out), len ? DESC_NEXT : 0, 1};
	tx.desc[1] = (struct desc){(uint32_t)data, len, 0, 0};
	virtio_submit(&tx, 0);
	while (!virtio_wait(&tx, &ignored))
		;
}

static const struct packet *next_packet(uint16_t *head)
{
	while (rx.used_idx == rx.seen)
		;
	*head = (uint16_t)rx.used_ring[rx.seen % QUEUE_SIZE].id;
	rx.seen++;
	return &in[*head];
}

static bool serve(const struct packet *packet)
{
	static uint32_t told;

	if (packet->header.op != OP_RW)
		return packet->header.op != OP_RST && packet->header.op != OP_SHUTDOWN;
	taken += packet->header.len;
	if (packet->data[0] == 'e')
		send(OP_RW, packet->data, packet->header.len);
	else if (taken - told > BUF_ALLOC / 4)
		send(OP_CREDIT_UPDATE, NULL, 0);
	else
		return packet->data[0] != 'q';
	told = taken;
	return true;
}

void guest_main(const struct start_info *info)
{
	const struct packet *packet;
	uint16_t head;
	bool going;

	(void)info;
	CHECK(virtio_find(&vsock, VIRTIO_VSOCK), 0);
	virtio_start(&vsock);
	virtio_queue(&vsock, &rx, 0);
	virtio_queue(&vsock, &tx, 1);
	virtio_driver_ok(&vsock);
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		give_buffer(i);
	write16(rx.doorbell, 0);
	send(OP_REQUEST, NULL, 0);
	packet = next_packet(&head);
	CHECK(packet->header.op == OP_RESPONSE, packet->header.op);
	print("1");
	do {
		give_buffer(head);
		write16(rx.doorbell, 0);
		packet = next_packet(&head);
		going = serve(packet);
	} while (going);
}
