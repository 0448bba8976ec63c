// SPDX-License-Identifier: Apache-2.0
/*
 * Listeners for the host's vsock connections (vsock_host.c calls them): an echo with little credit
 * at a time, a source of more than any buffer holds, one that refuses, one that never answers, one
 * that answers wrongly. Done when the host says so by a connection to the last port.
 */
#include "virtio.h"
#include "vsock.h"

#define CONNECTIONS 64u
#define BUFFER	    4096u
#define TOTAL	    (256u * 1024)

struct connection {
	uint32_t guest_port, host_port;
	uint32_t received, sent, peer_alloc, peer_taken; /* bytes, since the connection began */
	bool peer_ended, ended;
};

static struct queue rx, tx;
static struct device vsock;
static struct connection connections[CONNECTIONS];
static volatile uint8_t in[QUEUE_SIZE][BUFFER];
static volatile struct {
	struct vsock_header header;
	uint8_t data[BUFFER];
} out;

static void give_buffer(uint16_t head)
{
	rx.desc[head] = (struct desc){(uint32_t)in[head], BUFFER, DESC_WRITE, 0};
	virtio_submit(&rx, head);
}

/* Sends an operation with len bytes of out.data. */
static void send(const struct connection *c, uint16_t op, uint32_t flags, uint32_t len)
{
	uint32_t used;

	out.header = vsock_header(c->guest_port, c->host_port, op);
	out.header.len = len;
	out.header.flags = flags;
	out.header.buf_alloc = BUFFER;
	out.header.fwd_cnt = c->received;
	tx.desc[0] = (struct desc){(uint32_t)&out, sizeof(out.header) + len, 0, 0};
	virtio_submit(&tx, 0);
	CHECK(virtio_wait(&tx, &used), op);
}

static struct connection *find(uint32_t guest_port, uint32_t host_port)
{
	for (unsigned i = 0; i < CONNECTIONS; i++)
		if (connections[i].guest_port == guest_port &&
		    connections[i].host_port == host_port)
			return &connections[i];
	return NULL;
}

static void forget(struct connection *c)
{
	*c = (struct connection){0};
}

static void on_request(const volatile struct vsock_header *header)
{
	struct connection *c = find(0, 0);

	CHECK(c && header->src_port >= 0x40000000u, header->src_port);
	*c = (struct connection){.guest_port = header->dst_port,
				 .host_port = header->src_port,
				 .peer_alloc = header->buf_alloc,
				 .peer_taken = header->fwd_cnt};
	switch (c->guest_port) {
	case VSOCK_PORT_REFUSES:
		send(c, VSOCK_RST, 0, 0);
		forget(c);
		break;
	case VSOCK_PORT_SILENT:
		break;
	case VSOCK_PORT_WRONG:
		send(c, VSOCK_RW, 0, 1);
		break;
	case VSOCK_PORT_DONE:
		print("PASS\n");
		send(c, VSOCK_RST, 0, 0);
		forget(c);
		break;
	default:
		send(c, VSOCK_RESPONSE, 0, 0);
		break;
	}
}

static void on_data(struct connection *c, const volatile struct vsock_header *header)
{
	const volatile uint8_t *data = (const volatile uint8_t *)(header + 1);
	uint32_t len = header->len;

	CHECK(len > 0 && len <= BUFFER - sizeof(*header), len);
	c->received += len;
	for (uint32_t i = 0; i < len; i++)
		out.data[i] = data[i];
	if (c->guest_port == VSOCK_PORT_ECHO)
		send(c, VSOCK_RW, 0, len);
	else
		send(c, VSOCK_CREDIT_UPDATE, 0, 0);
}

/* As much as the host takes of the source's bytes, which count. */
static void pour(struct connection *c)
{
	while (c->sent < TOTAL) {
		uint32_t room = c->peer_alloc - (c->sent - c->peer_taken);
		uint32_t len = room < BUFFER ? room : BUFFER;

		if (len == 0)
			return;
		for (uint32_t i = 0; i < len; i++)
			out.data[i] = (uint8_t)((c->sent + i) >> 4);
		send(c, VSOCK_RW, 0, len);
		c->sent += len;
	}
	if (!c->ended)
		send(c, VSOCK_SHUTDOWN, VSOCK_SEND, 0);
	c->ended = true;
}

static void on_packet(const volatile struct vsock_header *header)
{
	struct connection *c = find(header->dst_port, header->src_port);

	if (header->op == VSOCK_REQUEST) {
		CHECK(!c, header->src_port);
		on_request(header);
		return;
	}
	if (!c) /* the end of one that is forgotten */
		return;
	c->peer_alloc = header->buf_alloc;
	c->peer_taken = header->fwd_cnt;
	switch (header->op) {
	case VSOCK_RW:
		on_data(c, header);
		break;
	case VSOCK_SHUTDOWN:
		if (c->guest_port == VSOCK_PORT_ECHO && !c->ended)
			send(c, VSOCK_SHUTDOWN, VSOCK_SEND | VSOCK_RECEIVE, 0);
		c->ended = true;
		break;
	case VSOCK_RST:
		forget(c);
		break;
	case VSOCK_CREDIT_REQUEST:
		send(c, VSOCK_CREDIT_UPDATE, 0, 0);
		break;
	default:
		break;
	}
	if (c->guest_port == VSOCK_PORT_SOURCE)
		pour(c);
}

void guest_main(const struct start_info *info)
{
	(void)info;
	CHECK(virtio_find(&vsock, VIRTIO_VSOCK), 0);
	virtio_start(&vsock);
	virtio_queue(&vsock, &rx, 0);
	virtio_queue(&vsock, &tx, 1);
	virtio_driver_ok(&vsock);
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		give_buffer(i);
	print("READY\n");
	for (;;) {
		uint32_t len;
		uint16_t head;

		while (!virtio_wait(&rx, &len))
			;
		head = (uint16_t)rx.used_ring[(uint16_t)(rx.seen - 1) % QUEUE_SIZE].id;
		on_packet((const volatile struct vsock_header *)in[head]);
		give_buffer(head);
	}
}
