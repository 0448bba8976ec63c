// SPDX-License-Identifier: Apache-2.0
/*
 * Hostile vsock packets: wrong addresses, types, operations and lengths are ignored or refused by
 * RST; more refusals than there is room for wait for the guest's buffers and none is lost; chains
 * that cannot be packets end in NEEDS_RESET; after each the device works again.
 */
#include "virtio.h"
#include "vsock.h"

#define AGENT_PORT 1024u
#define NOBODY	   7u
#define FLOOD	   400u

static struct queue rx, tx;
static struct device vsock;
static volatile struct vsock_header out[QUEUE_SIZE];
static volatile uint8_t in[QUEUE_SIZE][256];

static void give_buffer(uint16_t head)
{
	rx.desc[head] = (struct desc){(uint32_t)in[head], sizeof(in[head]), DESC_WRITE, 0};
	virtio_submit(&rx, head);
}

static void start(bool buffers)
{
	virtio_start(&vsock);
	virtio_queue(&vsock, &rx, 0);
	virtio_queue(&vsock, &tx, 1);
	virtio_driver_ok(&vsock);
	for (uint16_t i = 0; buffers && i < QUEUE_SIZE; i++)
		give_buffer(i);
}

static struct vsock_header packet(uint32_t port, uint16_t op)
{
	struct vsock_header header = vsock_header(5000, port, op);

	header.buf_alloc = 0xffffffff;
	header.fwd_cnt = 0x80000000;
	return header;
}

static void submit(const struct vsock_header *header, uint32_t len)
{
	uint16_t head = tx.avail_idx % QUEUE_SIZE;

	out[head] = *header;
	tx.desc[head] = (struct desc){(uint32_t)&out[head], len, 0, 0};
	virtio_submit(&tx, head);
}

static void send(const struct vsock_header *header)
{
	uint32_t len;

	submit(header, sizeof(*header));
	CHECK(virtio_wait(&tx, &len), virtio_status(&vsock));
}

/* The next packet from the host must be an RST of this port. */
static void expect_rst(uint32_t port)
{
	const volatile struct vsock_header *header;
	uint16_t head = (uint16_t)rx.used_ring[rx.seen % QUEUE_SIZE].id;
	uint32_t len;

	CHECK(virtio_wait(&rx, &len), port);
	head = (uint16_t)rx.used_ring[(uint16_t)(rx.seen - 1) % QUEUE_SIZE].id;
	header = (const volatile struct vsock_header *)in[head];
	CHECK(len == sizeof(*header), len);
	CHECK(header->op == VSOCK_RST && header->src_port == port, header->op);
	CHECK(header->src_cid == VSOCK_CID_HOST && header->dst_cid == VSOCK_CID_GUEST,
	      header->dst_cid);
	give_buffer(head);
}

static void refused(void)
{
	static const uint16_t ops[] = {VSOCK_REQUEST,
				       VSOCK_RESPONSE,
				       VSOCK_SHUTDOWN,
				       VSOCK_RW,
				       VSOCK_CREDIT_UPDATE,
				       VSOCK_CREDIT_REQUEST,
				       99};
	struct vsock_header header;

	start(true);
	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		header = packet(NOBODY, ops[i]);
		header.len = 0xffffffff;
		send(&header);
		expect_rst(NOBODY);
	}
	header = packet(NOBODY, VSOCK_REQUEST);
	header.type = 77;
	send(&header);
	expect_rst(NOBODY);
}

/* None of these is answered: the next answer belongs to what comes after them. */
static void ignored(void)
{
	struct vsock_header header = packet(NOBODY, VSOCK_RST);

	send(&header);
	header = packet(NOBODY, VSOCK_REQUEST);
	header.src_cid = VSOCK_CID_GUEST + 1;
	send(&header);
	header = packet(NOBODY, VSOCK_REQUEST);
	header.dst_cid = 1;
	send(&header);
	header = packet(NOBODY + 1, VSOCK_REQUEST);
	send(&header);
	expect_rst(NOBODY + 1);
}

/* A connection to the agent's port waits for the daemon; data before the answer ends it. */
static void early(void)
{
	struct vsock_header header = packet(AGENT_PORT, VSOCK_REQUEST);

	for (unsigned i = 0; i < 100; i++) {
		header.src_port = 6000 + i % 3;
		send(&header);
		header.op = i % 2 ? VSOCK_RW : VSOCK_REQUEST;
		send(&header);
		header.op = VSOCK_REQUEST;
		start(true);
	}
	header = packet(AGENT_PORT, VSOCK_REQUEST);
	send(&header);
	header.op = VSOCK_RW;
	send(&header);
	expect_rst(AGENT_PORT);
}

static void flood(void)
{
	struct vsock_header header = packet(NOBODY, VSOCK_REQUEST);
	uint32_t sent = 0, taken = 0, len;

	start(false);
	while (sent < FLOOD && (uint16_t)(sent - taken) < QUEUE_SIZE) {
		submit(&header, sizeof(header));
		sent++;
		while (taken < sent && tx.used_idx != tx.seen && virtio_wait(&tx, &len))
			taken++;
	}
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		give_buffer(i);
	for (uint32_t i = 0; i < sent; i++)
		expect_rst(NOBODY);
	while (taken < sent) {
		CHECK(virtio_wait(&tx, &len), taken);
		taken++;
	}
}

static void broken(void)
{
	struct vsock_header header = packet(NOBODY, VSOCK_REQUEST);

	start(true);
	submit(&header, sizeof(header) - 1);
	CHECK(virtio_wait_broken(&vsock), 1);
	start(false);
	rx.desc[0] = (struct desc){(uint32_t)in[0], sizeof(header), DESC_WRITE, 0};
	virtio_submit(&rx, 0);
	submit(&header, sizeof(header));
	CHECK(virtio_wait_broken(&vsock), 2);
	start(false);
	rx.desc[0] = (struct desc){(uint32_t)in[0], sizeof(in[0]), 0, 0};
	virtio_submit(&rx, 0);
	submit(&header, sizeof(header));
	CHECK(virtio_wait_broken(&vsock), 3);
	start(false);
	tx.desc[0] = (struct desc){(uint32_t)in[0], sizeof(in[0]), DESC_WRITE, 0};
	virtio_submit(&tx, 0);
	CHECK(virtio_wait_broken(&vsock), 4);
}

void guest_main(const struct start_info *info)
{
	(void)info;
	CHECK(virtio_find(&vsock, VIRTIO_VSOCK), 0);
	CHECK(read32(vsock.device) == VSOCK_CID_GUEST, read32(vsock.device));
	refused();
	ignored();
	early();
	flood();
	broken();
	refused();
	print("PASS\n");
}
