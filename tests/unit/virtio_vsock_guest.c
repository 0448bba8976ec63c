// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/harness.h"
#include "tests/unit/virtio_vsock_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio/vsock.h"

void guest_post_rx(struct guest *g, unsigned i)
{
	const struct segment segment = {g->rx[i], RX_BUFFER, true};
	struct driver_queue *q = &g->d.queues[RX];

	q->next_desc = (uint16_t)i; /* the descriptor and its buffer have the same number */
	driver_add(&g->d, RX, &segment, 1);
}

void guest_start_driver(struct guest *g, unsigned n_rx)
{
	driver_start(&g->d, DRIVER_COMMON_FEATURES | DRIVER_EVENT_IDX | DRIVER_RING_RESET, 128);
	for (unsigned i = 0; i < n_rx; i++)
		guest_post_rx(g, i);
	driver_kick(&g->d, RX);
}

void guest_start(struct guest *g, unsigned n_rx)
{
	struct virtio_dev *dev;

	*g = (struct guest){0};
	cr_assert_eq(driver_init(&g->d), 0);
	cr_assert_eq(virtio_vsock_new(&dev, g->d.loop, GUEST_CID), 0);
	cr_assert_eq(driver_attach(&g->d, dev), 0);
	for (unsigned i = 0; i < N_RX; i++)
		g->rx[i] = driver_alloc(&g->d, RX_BUFFER);
	g->tx = driver_alloc(&g->d, 0x30000);
	guest_start_driver(g, n_rx);
}

struct virtio_vsock_hdr guest_header(uint32_t guest_port, uint16_t op, uint32_t len)
{
	return (struct virtio_vsock_hdr){.src_cid = GUEST_CID,
					 .dst_cid = 2,
					 .src_port = guest_port,
					 .dst_port = PORT,
					 .len = len,
					 .type = VIRTIO_VSOCK_TYPE_STREAM,
					 .op = op,
					 .buf_alloc = 65536};
}

bool guest_send_raw(struct guest *g, const struct virtio_vsock_hdr *header, uint32_t chain_len)
{
	const struct segment segments[] = {{g->tx, HEADER_LEN, false},
					   {g->tx + HEADER_LEN, chain_len, false}};

	memcpy(driver_at(&g->d, g->tx), header, HEADER_LEN);
	driver_add(&g->d, TX, segments, chain_len ? 2 : 1);
	driver_kick(&g->d, TX);
	return driver_wait_used(&g->d, TX, NULL, NULL);
}

void guest_send_op(struct guest *g, uint32_t guest_port, uint16_t op, uint32_t flags)
{
	struct virtio_vsock_hdr header = guest_header(guest_port, op, 0);

	header.flags = flags;
	cr_assert(guest_send_raw(g, &header, 0));
}

void guest_send_data(struct guest *g, uint32_t guest_port, const void *data, uint32_t len)
{
	struct virtio_vsock_hdr header = guest_header(guest_port, VIRTIO_VSOCK_OP_RW, len);

	memcpy(driver_at(&g->d, g->tx + HEADER_LEN), data, len);
	cr_assert(guest_send_raw(g, &header, len));
}

unsigned guest_receive_within(struct guest *g, unsigned ms)
{
	uint32_t id, len;

	for (; !driver_take_used(&g->d, RX, &id, &len); ms--) {
		if (ms == 0)
			return 0;
		driver_run(&g->d, 1);
	}
	memcpy(&g->last, driver_at(&g->d, g->rx[id]), HEADER_LEN);
	memcpy(g->data, (uint8_t *)driver_at(&g->d, g->rx[id]) + HEADER_LEN,
	       RX_BUFFER - HEADER_LEN);
	cr_assert_eq(len, HEADER_LEN + g->last.len);
	cr_assert_eq(g->last.src_cid, 2);
	cr_assert_eq(g->last.dst_cid, GUEST_CID);
	cr_assert_eq(g->last.type, VIRTIO_VSOCK_TYPE_STREAM);
	guest_post_rx(g, id);
	driver_kick(&g->d, RX);
	return g->last.op;
}

unsigned guest_receive(struct guest *g)
{
	return guest_receive_within(g, 3000);
}

int guest_offer(struct guest *g)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(virtio_vsock_offer(g->d.dev, PORT, pair[0]), 0);
	cr_assert_eq(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
	return pair[1];
}

int guest_connect(struct guest *g, uint32_t guest_port)
{
	int fd = guest_offer(g);

	guest_send_op(g, guest_port, VIRTIO_VSOCK_OP_REQUEST, 0);
	cr_assert_eq(guest_receive(g), VIRTIO_VSOCK_OP_RESPONSE);
	cr_assert_eq(g->last.dst_port, guest_port);
	cr_assert_eq(g->last.src_port, PORT);
	cr_assert_eq(g->last.buf_alloc, VSOCK_CONNECTION_BUFFER);
	return fd;
}

ssize_t guest_read(struct guest *g, int fd, void *buf, size_t len)
{
	for (unsigned i = 0; i < 3000; i++) {
		ssize_t n = read(fd, buf, len);

		if (n >= 0 || errno != EAGAIN)
			return n;
		driver_run(&g->d, 1);
	}
	return -1;
}
