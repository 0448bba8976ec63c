// SPDX-License-Identifier: Apache-2.0
/*
 * Connects to a port that the host serves (vsock_host.c): several at once, each to somebody of its
 * own; then one that waits until somebody comes; and one to a port that nobody serves.
 */
#include "virtio.h"
#include "vsock.h"

#define BUFFER	 256u
#define ATTEMPTS 200u
#define FIRST	 100u /* the guest's ports */

static struct queue rx, tx;
static struct device vsock;
static volatile uint8_t in[QUEUE_SIZE][BUFFER];
static volatile struct {
	struct vsock_header header;
	uint8_t byte;
} out;

static void give_buffer(uint16_t head)
{
	rx.desc[head] = (struct desc){(uint32_t)in[head], BUFFER, DESC_WRITE, 0};
	virtio_submit(&rx, head);
}

static void send(uint32_t guest_port, uint32_t host_port, uint16_t op, uint32_t len)
{
	uint32_t used;

	out.header = vsock_header(guest_port, host_port, op);
	out.header.len = len;
	out.header.buf_alloc = BUFFER;
	tx.desc[0] = (struct desc){(uint32_t)&out, sizeof(out.header) + len, 0, 0};
	virtio_submit(&tx, 0);
	CHECK(virtio_wait(&tx, &used), op);
}

/* The next packet that is no news of credit: its header, and its byte if it has one. */
static struct vsock_header receive(uint8_t *byte)
{
	struct vsock_header header;

	do {
		uint32_t len;
		uint16_t head;

		while (!virtio_wait(&rx, &len))
			;
		head = (uint16_t)rx.used_ring[(uint16_t)(rx.seen - 1) % QUEUE_SIZE].id;
		header = *(const volatile struct vsock_header *)in[head];
		*byte = in[head][sizeof(header)];
		give_buffer(head);
	} while (header.op == VSOCK_CREDIT_UPDATE || header.op == VSOCK_CREDIT_REQUEST);
	return header;
}

static void connect(uint32_t guest_port)
{
	struct vsock_header header;
	uint8_t byte;

	for (unsigned i = 0; i < ATTEMPTS; i++) {
		send(guest_port, VSOCK_PORT_SERVED, VSOCK_REQUEST, 0);
		header = receive(&byte);
		CHECK(header.dst_port == guest_port, header.dst_port);
		if (header.op == VSOCK_RESPONSE)
			return;
		CHECK(header.op == VSOCK_RST, header.op);
		for (unsigned pause = 0; pause < 2000; pause++) /* the host is not there yet */
			(void)inb(0x3fd);
	}
	CHECK(false, guest_port);
}

/* Somebody is there who adds one to what he is told. */
static void talk(uint32_t guest_port)
{
	struct vsock_header header;
	uint8_t byte;

	out.byte = (uint8_t)guest_port;
	send(guest_port, VSOCK_PORT_SERVED, VSOCK_RW, 1);
	header = receive(&byte);
	CHECK(header.op == VSOCK_RW && header.dst_port == guest_port, header.op);
	CHECK(byte == (uint8_t)(guest_port + 1), byte);
}

void guest_main(const struct start_info *info)
{
	struct vsock_header header;
	uint8_t byte;

	(void)info;
	CHECK(virtio_find(&vsock, VIRTIO_VSOCK), 0);
	virtio_start(&vsock);
	virtio_queue(&vsock, &rx, 0);
	virtio_queue(&vsock, &tx, 1);
	virtio_driver_ok(&vsock);
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		give_buffer(i);
	for (uint32_t i = 0; i < VSOCK_SERVERS; i++)
		connect(FIRST + i);
	for (uint32_t i = VSOCK_SERVERS; i-- > 0;)
		talk(FIRST + i);
	send(FIRST + VSOCK_SERVERS, VSOCK_PORT_SERVED, VSOCK_REQUEST, 0);
	print("WAITING\n");
	header = receive(&byte);
	CHECK(header.op == VSOCK_RESPONSE, header.op);
	talk(FIRST + VSOCK_SERVERS);
	send(FIRST, VSOCK_PORT_SERVED + 1, VSOCK_REQUEST, 0);
	header = receive(&byte);
	CHECK(header.op == VSOCK_RST && header.src_port == VSOCK_PORT_SERVED + 1, header.op);
	print("PASS\n");
	for (;;)
		(void)inb(0x3fd);
}
