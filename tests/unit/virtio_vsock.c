// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/harness.h"
#include "tests/unit/virtio_vsock_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "virtio/vsock.h"

UNIT_SUITE(virtio_vsock);

Test(virtio_vsock, configuration)
{
	struct guest g;

	guest_start(&g, 0);
	cr_assert_eq(driver_reg_read(&g.d, 0x1000, 8), GUEST_CID);
	cr_assert_eq(driver_reg_read(&g.d, 0x1008, 4), 0);
	driver_deinit(&g.d);
}

Test(virtio_vsock, bytes_both_ways)
{
	struct guest g;
	char text[16] = "";
	int fd;

	guest_start(&g, N_RX);
	fd = guest_connect(&g, 5000);
	guest_send_data(&g, 5000, "hello", 5);
	cr_assert_eq(guest_read(&g, fd, text, sizeof(text)), 5);
	cr_assert_str_eq(text, "hello");
	cr_assert_eq(write(fd, "world!", 6), 6);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RW);
	cr_assert_eq(g.last.len, 6);
	cr_assert_eq(memcmp(g.data, "world!", 6), 0);
	cr_assert_eq(g.last.fwd_cnt, 5);
	close(fd);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_SHUTDOWN);
	cr_assert_eq(g.last.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_SHUTDOWN, "the rest of it is gone too");
	cr_assert_eq(g.last.flags, VIRTIO_VSOCK_SHUTDOWN_SEND | VIRTIO_VSOCK_SHUTDOWN_RCV);
	guest_send_op(&g, 5000, VIRTIO_VSOCK_OP_SHUTDOWN, 3);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RST);
	driver_deinit(&g.d);
}

Test(virtio_vsock, guest_may_come_first)
{
	struct guest g;
	char text[4];
	int fd;

	guest_start(&g, N_RX);
	cr_assert_eq(virtio_vsock_listen(g.d.dev, PORT), 0);
	guest_send_op(&g, 5000, VIRTIO_VSOCK_OP_REQUEST, 0);
	cr_assert_eq(guest_receive_within(&g, 20), 0);
	fd = guest_offer(&g);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RESPONSE);
	guest_send_data(&g, 5000, "x", 1);
	cr_assert_eq(guest_read(&g, fd, text, sizeof(text)), 1);
	close(fd);
	driver_deinit(&g.d);
}

Test(virtio_vsock, waiting_ends_before_the_guest_gives_up)
{
	struct guest g;

	guest_start(&g, N_RX);
	cr_assert_eq(virtio_vsock_listen(g.d.dev, PORT), 0);
	guest_send_op(&g, 5000, VIRTIO_VSOCK_OP_REQUEST, 0);
	guest_send_op(&g, 5001, VIRTIO_VSOCK_OP_REQUEST, 0);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RST, "only one waits");
	cr_assert_eq(g.last.dst_port, 5000);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RST);
	cr_assert_eq(g.last.dst_port, 5001);
	close(guest_connect(&g, 5002));
	driver_deinit(&g.d);
}

Test(virtio_vsock, other_ports_are_refused)
{
	struct guest g;
	struct virtio_vsock_hdr header = guest_header(7, VIRTIO_VSOCK_OP_REQUEST, 0);

	guest_start(&g, N_RX);
	header.dst_port = 22;
	cr_assert(guest_send_raw(&g, &header, 0));
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RST);
	cr_assert_eq(g.last.src_port, 22);
	cr_assert_eq(g.last.dst_port, 7);
	driver_deinit(&g.d);
}

Test(virtio_vsock, newer_offer_replaces)
{
	struct guest g;
	char byte;
	int first, second, third;

	guest_start(&g, N_RX);
	first = guest_connect(&g, 5000);
	second = guest_offer(&g);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RST);
	cr_assert_eq(guest_read(&g, first, &byte, 1), 0);
	third = guest_offer(&g);
	cr_assert_eq(guest_read(&g, second, &byte, 1), 0);
	guest_send_op(&g, 5001, VIRTIO_VSOCK_OP_REQUEST, 0);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RESPONSE);
	guest_send_data(&g, 5001, "y", 1);
	cr_assert_eq(guest_read(&g, third, &byte, 1), 1);
	close(first);
	close(second);
	close(third);
	driver_deinit(&g.d);
}

/* A connection outlives its queues: what the host wrote meanwhile comes by the new ones. */
Test(virtio_vsock, reset_of_queues)
{
	struct guest g;
	char text[16] = "";
	int fd;

	guest_start(&g, N_RX);
	fd = guest_connect(&g, 5000);
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned queue = RX; queue <= TX + 1; queue++)
			cr_assert(driver_reset_queue(&g.d, queue));
		cr_assert_eq(write(fd, "hello", 5), 5);
		driver_kick(&g.d, RX);
		driver_kick(&g.d, TX);
		driver_run(&g.d, 5);
		for (unsigned queue = RX; queue <= TX + 1; queue++)
			driver_setup_queue(&g.d, queue, round % 2 ? 128 : 64);
		for (unsigned i = 0; i < N_RX; i++)
			guest_post_rx(&g, i);
		driver_kick(&g.d, RX);
		cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RW);
		cr_assert_eq(memcmp(g.data, "hello", 5), 0);
		guest_send_data(&g, 5000, "world", 5);
		cr_assert_eq(guest_read(&g, fd, text, sizeof(text)), 5);
		cr_assert_str_eq(text, "world");
	}
	cr_assert_eq(driver_status(&g.d), 15);
	close(fd);
	driver_deinit(&g.d);
}

Test(virtio_vsock, what_the_guest_sent_before_closing_arrives)
{
	struct guest g;
	char text[64];
	int fd;

	guest_start(&g, N_RX);
	fd = guest_connect(&g, 5000);
	guest_send_data(&g, 5000, "last words", 10);
	guest_send_op(&g, 5000, VIRTIO_VSOCK_OP_SHUTDOWN, 3);
	cr_assert_eq(guest_read(&g, fd, text, sizeof(text)), 10);
	cr_assert_eq(guest_read(&g, fd, text, sizeof(text)), 0);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RST);
	close(fd);
	driver_deinit(&g.d);
}

/* The guest's credit bounds what it gets; its updates let more through; nothing is lost. */
Test(virtio_vsock, credit_of_the_guest)
{
	struct guest g;
	static uint8_t bytes[30000], got[30000];
	struct virtio_vsock_hdr header = guest_header(5000, VIRTIO_VSOCK_OP_REQUEST, 0);
	uint32_t n = 0, stops = 0;
	int fd;

	guest_start(&g, N_RX);
	fd = guest_offer(&g);
	header.buf_alloc = 5000;
	cr_assert(guest_send_raw(&g, &header, 0));
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RESPONSE);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 >> 3);
	cr_assert_eq(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	while (n < sizeof(bytes)) {
		unsigned op = guest_receive(&g);

		if (op == VIRTIO_VSOCK_OP_RW) {
			memcpy(got + n, g.data, g.last.len);
			n += g.last.len;
			cr_assert_leq(n, 5000 + header.fwd_cnt);
			continue;
		}
		cr_assert_eq(op, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
		cr_assert_eq(guest_receive_within(&g, 10), 0);
		stops++;
		header.op = VIRTIO_VSOCK_OP_CREDIT_UPDATE;
		header.fwd_cnt = n;
		cr_assert(guest_send_raw(&g, &header, 0));
	}
	cr_assert_eq(stops, 5);
	cr_assert_eq(memcmp(bytes, got, sizeof(bytes)), 0);
	/* Figures that make no sense are no credit. */
	header.fwd_cnt = n + 1;
	cr_assert(guest_send_raw(&g, &header, 0));
	cr_assert_eq(write(fd, "z", 1), 1);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	cr_assert_eq(guest_receive_within(&g, 10), 0);
	close(fd);
	driver_deinit(&g.d);
}

/* A reader on the host that stops: the buffer fills, and a guest that sends beyond its credit loses
 * the connection. */
Test(virtio_vsock, credit_of_ours)
{
	struct guest g;
	static uint8_t bytes[60000];
	uint64_t sent = 0, read_len = 0;
	struct virtio_vsock_hdr header;
	int fd, small = 4096;

	guest_start(&g, N_RX);
	fd = guest_connect(&g, 5000);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	/* Within its credit, for many times the buffer. */
	while (sent < 1000000) {
		uint32_t under_way = (uint32_t)sent - g.last.fwd_cnt;
		uint32_t n = g.last.buf_alloc - under_way;
		ssize_t got;

		if (n > sizeof(bytes))
			n = sizeof(bytes);
		for (uint32_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)((sent + i) * 7 >> 2);
		if (n > 0)
			guest_send_data(&g, 5000, bytes, n);
		sent += n;
		while (guest_receive_within(&g, 1))
			;
		while (sent - read_len > 32768) {
			got = guest_read(&g, fd, bytes, sizeof(bytes));
			cr_assert_gt(got, 0);
			for (ssize_t i = 0; i < got; i++)
				cr_assert_eq(bytes[i],
					     (uint8_t)((read_len + (uint64_t)i) * 7 >> 2));
			read_len += (uint64_t)got;
		}
	}
	/* Beyond it: nobody reads now. */
	for (unsigned i = 0; i < 20; i++) {
		header = guest_header(5000, VIRTIO_VSOCK_OP_RW, 60000);
		cr_assert(guest_send_raw(&g, &header, 60000));
	}
	while (guest_receive(&g) != VIRTIO_VSOCK_OP_RST)
		;
	cr_assert_eq(driver_status(&g.d), 15, "the device is well");
	close(fd);
	driver_deinit(&g.d);
}

/* As CVE-2020-16843: data is there, buffers are not, and then they come. */
Test(virtio_vsock, buffers_that_come_late)
{
	struct guest g;
	static uint8_t bytes[20000];
	uint32_t n = 0;
	int fd;

	guest_start(&g, 1);
	fd = guest_connect(&g, 5000);
	cr_assert(driver_reset(&g.d));
	close(fd);
	guest_start_driver(&g, 0);
	fd = guest_offer(&g);
	guest_send_op(&g, 5001, VIRTIO_VSOCK_OP_REQUEST, 0);
	cr_assert_eq(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	driver_run(&g.d, 5);
	for (unsigned i = 0; i < 2; i++)
		guest_post_rx(&g, i);
	driver_kick(&g.d, RX);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RESPONSE);
	while (n < sizeof(bytes)) {
		cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RW);
		n += g.last.len;
	}
	cr_assert_eq(n, sizeof(bytes));
	close(fd);
	driver_deinit(&g.d);
}

/* One reader that stops holds up only its own connection. */
Test(virtio_vsock, connections_do_not_hold_up_each_other)
{
	struct guest g;
	static uint8_t bytes[65536];
	struct virtio_vsock_hdr header = guest_header(5000, VIRTIO_VSOCK_OP_REQUEST, 0);
	int pair[2], stuck;
	char byte;

	guest_start(&g, N_RX);
	header.buf_alloc = 0; /* takes nothing */
	stuck = guest_offer(&g);
	cr_assert(guest_send_raw(&g, &header, 0));
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RESPONSE);
	cr_assert_gt(write(stuck, bytes, sizeof(bytes)), 0);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_CREDIT_REQUEST);

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(virtio_vsock_offer(g.d.dev, 99, pair[0]), 0);
	header = guest_header(6000, VIRTIO_VSOCK_OP_REQUEST, 0);
	header.dst_port = 99;
	cr_assert(guest_send_raw(&g, &header, 0));
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RESPONSE);
	cr_assert_eq(write(pair[1], "a", 1), 1);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RW);
	cr_assert_eq(g.last.dst_port, 6000);
	header.op = VIRTIO_VSOCK_OP_RW;
	header.len = 1;
	cr_assert(guest_send_raw(&g, &header, 1));
	cr_assert_eq(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
	cr_assert_eq(guest_read(&g, pair[1], &byte, 1), 1);
	close(pair[1]);
	close(stuck);
	driver_deinit(&g.d);
}

/* CVE-2019-18960: lengths that the chain does not have, or the header exceeds. */
Test(virtio_vsock, lengths_are_checked)
{
	const struct {
		uint32_t len, chain_len;
	} bad[] = {{100, 99}, {100, 0}, {65537, 70000}, {UINT32_MAX, 100}, {UINT32_MAX - 43, 0}};
	struct guest g;

	guest_start(&g, N_RX);
	for (unsigned i = 0; i < 5; i++) {
		int fd = guest_connect(&g, 5000 + i);
		struct virtio_vsock_hdr header =
			guest_header(5000 + i, VIRTIO_VSOCK_OP_RW, bad[i].len);

		cr_assert(guest_send_raw(&g, &header, bad[i].chain_len));
		cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RST);
		close(fd);
	}
	cr_assert_eq(driver_status(&g.d), 15);
	driver_deinit(&g.d);
}

Test(virtio_vsock, forged_and_unknown_packets)
{
	struct guest g;
	struct virtio_vsock_hdr header = guest_header(5000, VIRTIO_VSOCK_OP_REQUEST, 0);
	int fd;

	guest_start(&g, N_RX);
	fd = guest_offer(&g);
	header.src_cid = 4;
	cr_assert(guest_send_raw(&g, &header, 0));
	header = guest_header(5000, VIRTIO_VSOCK_OP_REQUEST, 0);
	header.dst_cid = 5;
	cr_assert(guest_send_raw(&g, &header, 0));
	cr_assert_eq(guest_receive_within(&g, 10), 0, "dropped");
	header = guest_header(5000, VIRTIO_VSOCK_OP_REQUEST, 0);
	header.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	cr_assert(guest_send_raw(&g, &header, 0));
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RST);
	guest_send_op(&g, 5000, VIRTIO_VSOCK_OP_RW, 0);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RST);
	guest_send_op(&g, 5000, VIRTIO_VSOCK_OP_RST, 0);
	cr_assert_eq(guest_receive_within(&g, 10), 0, "no RST for an RST");
	close(fd);
	for (unsigned op = 0; op < 256; op++) {
		if (op == VIRTIO_VSOCK_OP_RW || (op >= 3 && op <= 7))
			continue;
		fd = guest_connect(&g, 6000 + op);
		guest_send_op(&g, 6000 + op, (uint16_t)op, 0);
		cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RST);
		close(fd);
	}
	driver_deinit(&g.d);
}

/* Refusals that nobody takes are bounded: the rest of the packets stays in the queue until the
 * guest takes some. */
Test(virtio_vsock, refusals_are_bounded)
{
	struct guest g;
	struct virtio_vsock_hdr header = guest_header(1, VIRTIO_VSOCK_OP_RW, 0);
	const struct segment segment = {DRIVER_DATA + 0x100000, HEADER_LEN, false};
	unsigned taken = 0, refused = 0;

	guest_start(&g, 0);
	memcpy(driver_at(&g.d, segment.gpa), &header, HEADER_LEN);
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 100 && round * 100 + i - taken < 128; i++)
			driver_add(&g.d, TX, &segment, 1);
		driver_kick(&g.d, TX);
		driver_run(&g.d, 3);
		while (driver_take_used(&g.d, TX, NULL, NULL))
			taken++;
	}
	cr_assert_eq(taken, 128);
	for (unsigned i = 0; i < N_RX; i++)
		guest_post_rx(&g, i);
	driver_kick(&g.d, RX);
	while (guest_receive_within(&g, 20) == VIRTIO_VSOCK_OP_RST)
		refused++;
	while (driver_take_used(&g.d, TX, NULL, NULL))
		taken++;
	cr_assert_eq(refused, taken);
	cr_assert_gt(taken, 128);
	driver_deinit(&g.d);
}

Test(virtio_vsock, more_connections_than_there_may_be)
{
	struct guest g;
	int fds[VSOCK_CONNECTIONS_MAX + 1];
	unsigned n = 0;

	guest_start(&g, N_RX);
	/* Closed by the guest without taking the RST: their places stay taken until it does. */
	for (unsigned i = 0; i <= VSOCK_CONNECTIONS_MAX; i++) {
		fds[i] = guest_offer(&g);
		guest_send_op(&g, 5000 + i, VIRTIO_VSOCK_OP_REQUEST, 0);
		n++;
	}
	driver_run(&g.d, 5);
	cr_assert_eq(driver_status(&g.d), 15);
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	while (guest_receive_within(&g, 20))
		;
	close(guest_offer(&g)); /* ends the last of them */
	while (guest_receive_within(&g, 20))
		;
	close(guest_connect(&g, 9000));
	driver_deinit(&g.d);
}

Test(virtio_vsock, reset_closes_connections_and_keeps_who_waits)
{
	struct guest g;
	char byte;
	int fd, waiting;

	guest_start(&g, N_RX);
	fd = guest_connect(&g, 5000);
	guest_send_data(&g, 5000, "q", 1);
	cr_assert(driver_reset(&g.d));
	cr_assert_eq(guest_read(&g, fd, &byte, 1), 1);
	cr_assert_eq(guest_read(&g, fd, &byte, 1), 0);
	close(fd);
	waiting = guest_offer(&g);
	cr_assert(driver_reset(&g.d));
	guest_start_driver(&g, N_RX);
	guest_send_op(&g, 5000, VIRTIO_VSOCK_OP_REQUEST, 0);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RESPONSE);
	cr_assert_eq(write(waiting, "r", 1), 1);
	cr_assert_eq(guest_receive(&g), VIRTIO_VSOCK_OP_RW);
	/* The device goes with a connection open, one waiting for the guest, and one of the guest's
	 * waiting. */
	cr_assert_eq(virtio_vsock_listen(g.d.dev, 77), 0);
	close(waiting);
	driver_deinit(&g.d);
}

Test(virtio_vsock, reset_while_a_request_waits)
{
	struct guest g;

	guest_start(&g, N_RX);
	cr_assert_eq(virtio_vsock_listen(g.d.dev, PORT), 0);
	guest_send_op(&g, 5000, VIRTIO_VSOCK_OP_REQUEST, 0);
	cr_assert(driver_reset(&g.d));
	guest_start_driver(&g, N_RX);
	close(guest_connect(&g, 5001));
	driver_deinit(&g.d);
}

Test(virtio_vsock, hostile_buffers_break_the_device)
{
	struct guest g;
	struct virtio_vsock_hdr header = guest_header(1, VIRTIO_VSOCK_OP_RW, 0);

	guest_start(&g, 0);
	driver_add(&g.d, TX, &(struct segment){g.tx, 43, false}, 1);
	driver_kick(&g.d, TX);
	driver_run(&g.d, 3);
	cr_assert(driver_status(&g.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	cr_assert(driver_reset(&g.d));
	guest_start_driver(&g, 0);
	driver_add(&g.d, RX, &(struct segment){g.rx[0], HEADER_LEN, true}, 1);
	driver_kick(&g.d, RX);
	memcpy(driver_at(&g.d, g.tx), &header, HEADER_LEN);
	driver_add(&g.d, TX, &(struct segment){g.tx, HEADER_LEN, false}, 1);
	driver_kick(&g.d, TX);
	driver_run(&g.d, 3);
	cr_assert(driver_status(&g.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	driver_deinit(&g.d);
}

Test(virtio_vsock, ports_are_bounded)
{
	struct guest g;
	int pair[2];

	guest_start(&g, 0);
	for (uint32_t port = 0; port < 16; port++)
		cr_assert_eq(virtio_vsock_listen(g.d.dev, port), 0);
	cr_assert_eq(virtio_vsock_listen(g.d.dev, 16), -ENOSPC);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	cr_assert_eq(virtio_vsock_offer(g.d.dev, 17, pair[0]), -ENOSPC);
	cr_assert_eq(fcntl(pair[0], F_GETFD), -1, "closed");
	close(pair[1]);
	driver_deinit(&g.d);
}
