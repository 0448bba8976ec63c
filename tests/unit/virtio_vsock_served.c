// SPDX-License-Identifier: Apache-2.0
/* Ports of the host's at which several wait in line for the guest. */
#include "tests/unit/harness.h"
#include "tests/unit/virtio_vsock_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio/vsock.h"
#include "virtio/vsock_line.h"

UNIT_SUITE(virtio_vsock_served, .timeout = 60);

#define SERVED 2000u

/* Puts one end of a pair in line; returns the other, which does not block, or the error. */
static int serve(struct guest *g, uint32_t port)
{
	int pair[2], r;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
	r = virtio_vsock_serve(g->d.dev, port, pair[0]);
	if (r == 0)
		return pair[1];
	close(pair[1]);
	return r;
}

static void send_to(struct guest *g, uint32_t guest_port, uint32_t port, uint16_t op, uint32_t len)
{
	struct virtio_vsock_hdr header = guest_header(guest_port, op, len);

	header.dst_port = port;
	cr_assert(guest_send_raw(g, &header, len));
}

static void request(struct guest *g, uint32_t guest_port)
{
	send_to(g, guest_port, SERVED, VIRTIO_VSOCK_OP_REQUEST, 0);
}

static void expect(struct guest *g, unsigned op, uint32_t guest_port)
{
	cr_assert_eq(guest_receive(g), op, "op %u", g->last.op);
	cr_assert_eq(g->last.dst_port, guest_port, "port %u", g->last.dst_port);
	cr_assert_eq(g->last.src_port, SERVED);
}

/* A byte from the guest's port arrives at this socket, and one comes back. */
static void is_joined(struct guest *g, uint32_t guest_port, int fd)
{
	uint8_t *out = driver_at(&g->d, g->tx + HEADER_LEN), byte = 0;

	*out = (uint8_t)guest_port;
	send_to(g, guest_port, SERVED, VIRTIO_VSOCK_OP_RW, 1);
	cr_assert_eq(guest_read(g, fd, &byte, 1), 1);
	cr_assert_eq(byte, (uint8_t)guest_port);
	cr_assert_eq(write(fd, "x", 1), 1);
	expect(g, VIRTIO_VSOCK_OP_RW, guest_port);
	cr_assert_eq(g->data[0], 'x');
}

Test(virtio_vsock_served, many_are_open_first_come_first_served)
{
	struct guest g;
	int fds[VSOCK_SERVED_MAX];

	guest_start(&g, N_RX);
	for (unsigned i = 0; i < VSOCK_SERVED_MAX; i++)
		fds[i] = serve(&g, SERVED);
	for (unsigned i = 0; i < VSOCK_SERVED_MAX; i++) {
		request(&g, 100 + i);
		expect(&g, VIRTIO_VSOCK_OP_RESPONSE, 100 + i);
	}
	for (unsigned i = VSOCK_SERVED_MAX; i-- > 0;)
		is_joined(&g, 100 + i, fds[i]);
	/* Full, with somebody in line as well: the agent still has its place. */
	cr_assert_geq(serve(&g, SERVED), 0);
	request(&g, 99);
	expect(&g, VIRTIO_VSOCK_OP_RST, 99);
	close(guest_connect(&g, 5000));
	for (unsigned i = 0; i < VSOCK_SERVED_MAX; i++)
		close(fds[i]);
	driver_deinit(&g.d);
}

Test(virtio_vsock_served, the_guest_waits_in_line)
{
	struct guest g;
	int fds[4];

	guest_start(&g, N_RX);
	fds[0] = serve(&g, SERVED);
	for (unsigned i = 0; i < 4; i++)
		request(&g, 100 + i);
	expect(&g, VIRTIO_VSOCK_OP_RESPONSE, 100);
	cr_assert_eq(guest_receive_within(&g, 20), 0, "nobody is killed");
	for (unsigned i = 1; i < 4; i++) {
		fds[i] = serve(&g, SERVED);
		expect(&g, VIRTIO_VSOCK_OP_RESPONSE, 100 + i);
	}
	for (unsigned i = 0; i < 4; i++)
		is_joined(&g, 100 + i, fds[i]);
	for (unsigned i = 0; i < 4; i++)
		close(fds[i]);
	driver_deinit(&g.d);
}

Test(virtio_vsock_served, waiting_is_bounded_in_number_and_time)
{
	struct guest g;
	int fd;

	guest_start(&g, N_RX);
	fd = serve(&g, SERVED);
	request(&g, 100);
	expect(&g, VIRTIO_VSOCK_OP_RESPONSE, 100);
	for (unsigned i = 0; i < VSOCK_BACKLOG_MAX; i++)
		request(&g, 200 + i);
	request(&g, 300);
	expect(&g, VIRTIO_VSOCK_OP_RST, 300);
	for (unsigned i = 0; i < VSOCK_BACKLOG_MAX; i++) {
		cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RST, "its time is over");
		cr_assert_geq(g.last.dst_port, 200);
	}
	is_joined(&g, 100, fd);
	close(fd);
	driver_deinit(&g.d);
}

Test(virtio_vsock_served, who_left_the_line_is_passed_over)
{
	struct guest g;
	int gone, halved, fd;
	char byte;

	guest_start(&g, N_RX);
	gone = serve(&g, SERVED);
	halved = serve(&g, SERVED);
	fd = serve(&g, SERVED);
	close(gone);
	shutdown(halved, SHUT_WR); /* it still listens */
	request(&g, 100);
	expect(&g, VIRTIO_VSOCK_OP_RESPONSE, 100);
	expect(&g, VIRTIO_VSOCK_OP_SHUTDOWN, 100);
	send_to(&g, 100, SERVED, VIRTIO_VSOCK_OP_RW, 1);
	cr_assert_eq(guest_read(&g, halved, &byte, 1), 1);
	close(fd);
	send_to(&g, 100, SERVED, VIRTIO_VSOCK_OP_RST, 0);
	driver_run(&g.d, 5);
	request(&g, 101);
	expect(&g, VIRTIO_VSOCK_OP_RST, 101); /* nobody serves any more */
	close(halved);
	driver_deinit(&g.d);
}

Test(virtio_vsock_served, the_line_is_bounded)
{
	struct guest g;
	int fds[VSOCK_LINE_MAX];

	guest_start(&g, N_RX);
	cr_assert_eq(virtio_vsock_listen(g.d.dev, PORT), 0);
	cr_assert_eq(serve(&g, PORT), -EADDRINUSE);
	cr_assert_eq(serve(&g, VSOCK_CALL_PORT_MIN), -EINVAL);
	for (unsigned i = 0; i < VSOCK_LINE_MAX; i++)
		fds[i] = serve(&g, i % 2 ? SERVED : SERVED + 1 + i);
	cr_assert_eq(serve(&g, SERVED), -EUSERS);
	close(fds[5]);
	fds[5] = serve(&g, SERVED);
	cr_assert_geq(fds[5], 0, "there is room again");
	cr_assert(driver_reset(&g.d)); /* they wait for the next driver */
	guest_start_driver(&g, N_RX);
	request(&g, 100);
	expect(&g, VIRTIO_VSOCK_OP_RESPONSE, 100);
	is_joined(&g, 100, fds[1]);
	for (unsigned i = 0; i < VSOCK_LINE_MAX; i++)
		close(fds[i]);
	driver_deinit(&g.d);
}
