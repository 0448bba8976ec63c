// SPDX-License-Identifier: Apache-2.0
/* Connections that the host starts towards a listener in the guest. */
#include "tests/unit/harness.h"
#include "tests/unit/virtio_vsock_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "base/util.h"
#include "virtio/vsock.h"

UNIT_SUITE(virtio_vsock_calls, .timeout = 30);

#define LISTENER 6000u

/* Starts a connection to a port of the guest's; returns the host's end, which does not block. */
static int call(struct guest *g, uint32_t guest_port)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(virtio_vsock_connect(g->d.dev, guest_port, pair[0]), 0);
	cr_assert_eq(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
	return pair[1];
}

/* A call must fail at once with this error, its descriptor closed. */
static void call_fails(struct guest *g, int error)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(virtio_vsock_connect(g->d.dev, LISTENER, pair[0]), error);
	cr_assert_eq(fcntl(pair[0], F_GETFD), -1);
	close(pair[1]);
}

/* The host's next packet is a request; returns the port that it comes from. */
static uint32_t requested(struct guest *g, uint32_t guest_port)
{
	cr_assert_eq(guest_receive(g), VIRTIO_VSOCK_OP_REQUEST);
	cr_assert_eq(g->last.dst_port, guest_port);
	cr_assert_geq(g->last.src_port, VSOCK_CALL_PORT_MIN);
	cr_assert_eq(g->last.buf_alloc, VSOCK_CONNECTION_BUFFER);
	cr_assert_eq(g->last.len, 0);
	return g->last.src_port;
}

/* From the listener to the host's port; data are the len bytes at the guest's tx. */
static void say(struct guest *g, uint32_t host_port, uint16_t op, uint32_t flags, uint32_t len)
{
	struct virtio_vsock_hdr header = guest_header(LISTENER, op, len);

	header.dst_port = host_port;
	header.flags = flags;
	cr_assert(guest_send_raw(g, &header, len));
}

static uint32_t accept_call(struct guest *g)
{
	uint32_t port = requested(g, LISTENER);

	say(g, port, VIRTIO_VSOCK_OP_RESPONSE, 0, 0);
	return port;
}

Test(virtio_vsock_calls, bytes_follow_the_answer_and_halves_end_apart)
{
	struct guest g;
	char text[16] = "";
	uint32_t port;
	int fd;

	guest_start(&g, N_RX);
	fd = call(&g, LISTENER);
	cr_assert_eq(write(fd, "early", 5), 5);
	port = requested(&g, LISTENER);
	cr_assert_eq(guest_receive_within(&g, 20), 0, "nothing before the answer");
	say(&g, port, VIRTIO_VSOCK_OP_RESPONSE, 0, 0);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RW);
	cr_assert_eq(g.last.src_port, port);
	cr_assert_eq(g.last.len, 5);
	cr_assert_eq(memcmp(g.data, "early", 5), 0);
	shutdown(fd, SHUT_WR);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_SHUTDOWN);
	cr_assert_eq(g.last.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	cr_assert_eq(guest_receive_within(&g, 20), 0, "it still listens");
	memcpy(driver_at(&g.d, g.tx + HEADER_LEN), "answer", 6);
	say(&g, port, VIRTIO_VSOCK_OP_RW, 0, 6);
	cr_assert_eq(guest_read(&g, fd, text, sizeof(text)), 6);
	cr_assert_str_eq(text, "answer");
	say(&g, port, VIRTIO_VSOCK_OP_SHUTDOWN, 3, 0);
	cr_assert_eq(guest_read(&g, fd, text, sizeof(text)), 0);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RST);
	close(fd);
	driver_deinit(&g.d);
}

Test(virtio_vsock_calls, refused_is_closed)
{
	struct guest g;
	uint32_t port;
	char byte;
	int fd;

	guest_start(&g, N_RX);
	fd = call(&g, LISTENER);
	port = requested(&g, LISTENER);
	say(&g, port, VIRTIO_VSOCK_OP_RST, 0, 0);
	cr_assert_eq(guest_read(&g, fd, &byte, 1), 0);
	cr_assert_eq(guest_receive_within(&g, 20), 0, "no RST for an RST");
	close(fd);
	driver_deinit(&g.d);
}

Test(virtio_vsock_calls, no_answer_is_closed_in_time)
{
	struct guest g;
	uint32_t port;
	char byte;
	int fd;

	guest_start(&g, N_RX);
	fd = call(&g, LISTENER);
	port = requested(&g, LISTENER);
	for (unsigned i = 0; i < 15 && guest_receive_within(&g, 1000) == 0; i++)
		;
	cr_assert_eq(g.last.op, VIRTIO_VSOCK_OP_RST);
	cr_assert_eq(g.last.src_port, port);
	cr_assert_eq(read(fd, &byte, 1), 0);
	close(fd);
	say(&g, port, VIRTIO_VSOCK_OP_RESPONSE, 0, 0);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RST, "too late");
	driver_deinit(&g.d);
}

Test(virtio_vsock_calls, without_a_driver_there_is_nobody)
{
	struct guest g;
	int fd;

	guest_start(&g, N_RX);
	cr_assert(driver_reset(&g.d));
	call_fails(&g, -ENOTCONN);
	guest_start_driver(&g, N_RX);
	driver_add(&g.d, TX, &(struct segment){g.tx, HEADER_LEN - 1, false}, 1);
	driver_kick(&g.d, TX);
	driver_run(&g.d, 3);
	call_fails(&g, -ENOTCONN);
	cr_assert(driver_reset(&g.d));
	guest_start_driver(&g, N_RX);
	fd = call(&g, LISTENER);
	accept_call(&g);
	close(fd);
	driver_deinit(&g.d);
}

/* As many as there may be, all in use at once; the ports that are served have their own places. */
Test(virtio_vsock_calls, many_at_once)
{
	struct guest g;
	int fds[VSOCK_CALLS_MAX];
	uint32_t ports[VSOCK_CALLS_MAX];
	char byte;

	guest_start(&g, N_RX);
	for (unsigned i = 0; i < VSOCK_CALLS_MAX; i++) {
		fds[i] = call(&g, LISTENER);
		ports[i] = accept_call(&g);
	}
	call_fails(&g, -EUSERS);
	close(guest_connect(&g, 5000));
	for (unsigned i = 0; i < 2; i++) /* its end, and the end of the other half */
		cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_SHUTDOWN);
	for (unsigned i = VSOCK_CALLS_MAX; i-- > 0;) {
		byte = (char)i;
		cr_assert_eq(write(fds[i], &byte, 1), 1);
		cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RW);
		cr_assert_eq(g.last.src_port, ports[i]);
		cr_assert_eq(g.data[0], i);
		*(uint8_t *)driver_at(&g.d, g.tx + HEADER_LEN) = (uint8_t)(i + 100);
		say(&g, ports[i], VIRTIO_VSOCK_OP_RW, 0, 1);
		cr_assert_eq(guest_read(&g, fds[i], &byte, 1), 1);
		cr_assert_eq((uint8_t)byte, i + 100);
	}
	say(&g, ports[7], VIRTIO_VSOCK_OP_RST, 0, 0);
	cr_assert_eq(guest_read(&g, fds[7], &byte, 1), 0);
	close(call(&g, LISTENER));
	for (unsigned i = 0; i < VSOCK_CALLS_MAX; i++)
		close(fds[i]);
	driver_deinit(&g.d);
}

/* What is no answer ends the call; a guess before the request went out is not told to the guest. */
Test(virtio_vsock_calls, hostile_answers)
{
	static const uint16_t ops[] = {VIRTIO_VSOCK_OP_REQUEST,
				       VIRTIO_VSOCK_OP_RW,
				       VIRTIO_VSOCK_OP_SHUTDOWN,
				       VIRTIO_VSOCK_OP_CREDIT_UPDATE,
				       VIRTIO_VSOCK_OP_CREDIT_REQUEST,
				       VIRTIO_VSOCK_OP_INVALID,
				       99};
	struct guest g;
	uint32_t port = 0;
	char byte;
	int fd;

	guest_start(&g, N_RX);
	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		fd = call(&g, LISTENER);
		port = requested(&g, LISTENER);
		say(&g, port, ops[i], 3, 0);
		cr_assert_eq(guest_read(&g, fd, &byte, 1), 0);
		cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RST);
		close(fd);
	}
	fd = call(&g, LISTENER);
	port = accept_call(&g);
	say(&g, port, VIRTIO_VSOCK_OP_RESPONSE, 0, 0);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RST, "two answers are one too many");
	close(fd);
	cr_assert(driver_reset(&g.d));
	guest_start_driver(&g, 0);
	fd = call(&g, LISTENER);
	say(&g, port + 1, VIRTIO_VSOCK_OP_RESPONSE, 0, 0);
	cr_assert_eq(guest_read(&g, fd, &byte, 1), 0);
	for (unsigned i = 0; i < 4; i++)
		guest_post_rx(&g, i);
	driver_kick(&g.d, RX);
	cr_assert_eq(guest_receive_within(&g, 20), 0, "it never heard of it");
	close(fd);
	cr_assert_eq(driver_status(&g.d), 15);
	driver_deinit(&g.d);
}

/* Who leaves wholly is noticed though the guest says nothing. */
Test(virtio_vsock_calls, a_hang_up_ends_both_halves)
{
	struct guest g;
	uint32_t port;

	guest_start(&g, N_RX);
	int fd = call(&g, LISTENER);
	port = accept_call(&g);
	driver_run(&g.d, 5);
	close(fd);
	while (guest_receive(&g) == VIRTIO_VSOCK_OP_SHUTDOWN && g.last.flags != 3)
		;
	cr_assert_eq(g.last.op, VIRTIO_VSOCK_OP_SHUTDOWN);
	cr_assert_eq(g.last.flags, 3);
	say(&g, port, VIRTIO_VSOCK_OP_RST, 0, 0);
	cr_assert_eq(guest_receive_within(&g, 20), 0);
	driver_deinit(&g.d);
}

Test(virtio_vsock_calls, credit_of_the_answer_bounds_what_is_sent)
{
	struct guest g;
	struct virtio_vsock_hdr header = guest_header(LISTENER, VIRTIO_VSOCK_OP_RESPONSE, 0);
	static uint8_t bytes[1000];
	int fd;

	guest_start(&g, N_RX);
	fd = call(&g, LISTENER);
	cr_assert_eq(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	header.dst_port = requested(&g, LISTENER);
	header.buf_alloc = 100;
	cr_assert(guest_send_raw(&g, &header, 0));
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RW);
	cr_assert_eq(g.last.len, 100);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	cr_assert_eq(guest_receive_within(&g, 10), 0);
	close(fd);
	driver_deinit(&g.d);
}

Test(virtio_vsock_calls, a_reset_ends_them_at_any_stage)
{
	struct guest g;
	char byte;
	int open_fd, asked, unasked;

	guest_start(&g, N_RX);
	open_fd = call(&g, LISTENER);
	accept_call(&g);
	asked = call(&g, LISTENER);
	requested(&g, LISTENER);
	unasked = call(&g, LISTENER);
	cr_assert(driver_reset(&g.d));
	cr_assert_eq(guest_read(&g, open_fd, &byte, 1), 0);
	cr_assert_eq(guest_read(&g, asked, &byte, 1), 0);
	cr_assert_eq(guest_read(&g, unasked, &byte, 1), 0);
	close(open_fd);
	close(asked);
	close(unasked);
	guest_start_driver(&g, N_RX);
	close(call(&g, LISTENER));
	accept_call(&g);
	driver_deinit(&g.d);
}

/* Ports that calls come from are never served: a guest cannot make one look like the other. */
Test(virtio_vsock_calls, ports_of_calls_are_not_served)
{
	struct guest g;

	guest_start(&g, 0);
	cr_assert_eq(virtio_vsock_listen(g.d.dev, VSOCK_CALL_PORT_MIN - 1), 0);
	cr_assert_eq(virtio_vsock_listen(g.d.dev, VSOCK_CALL_PORT_MIN), -EINVAL);
	cr_assert_eq(virtio_vsock_listen(g.d.dev, UINT32_MAX), -EINVAL);
	driver_deinit(&g.d);
}
