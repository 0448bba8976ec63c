// SPDX-License-Identifier: Apache-2.0
/* virtio-net's control queue, offloads and queue pairs. */
#include "tests/unit/harness.h"
#include "tests/unit/virtio_net_wire.h"

#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_config.h>

#include "base/clock.h"
#include "base/util.h"
#include "virtio/net_dev.h"

UNIT_SUITE(virtio_net_ctrl);

#define BIT(n) (1ull << (n))
#define CTRL                                                                                       \
	(WIRE_MERGE | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) |                      \
	 BIT(VIRTIO_NET_F_CTRL_MAC_ADDR))
#define TSO (BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4))

static const struct virtio_net_config plain;
static uint8_t frame[WIRE_FRAME_MAX];

static void start(struct wire *wire, const struct virtio_net_config *config, uint64_t features)
{
	if (wire_enter_namespace() < 0)
		cr_skip_test("no network namespace or tap to be had here");
	cr_assert_eq(wire_open(wire, config, features, 64), 0);
}

Test(virtio_net_ctrl, commands)
{
	static const uint8_t tables[27] = {1, 0, 0, 0, 2, 0, 0, 0, 0, 9, 2, 0, 0,
					   0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 2};
	static const uint8_t mac[] = {2, 0, 0, 0, 0, 0x77, 0}, multicast[] = {3, 0, 0, 0, 0, 1};
	struct wire wire;
	uint8_t many[8] = {0xff, 0xff, 0xff, 0xff};

	start(&wire, &plain, CTRL);
	cr_assert_eq(wire_command(&wire, 0, 0, "\1", 1), VIRTIO_NET_OK);
	cr_assert_eq(wire_command(&wire, 0, 1, "\0", 1), VIRTIO_NET_OK);
	cr_assert_eq(wire_command(&wire, 0, 1, "\2", 1), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 0, 0, "", 0), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 0, 0, "\1\1", 2), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 0, 2, "\1", 1), VIRTIO_NET_ERR, "RX_EXTRA");
	cr_assert_eq(wire_command(&wire, 1, 0, tables, 26), VIRTIO_NET_OK);
	cr_assert_eq(wire_command(&wire, 1, 0, tables, 25), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 1, 0, tables, 27), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 1, 0, tables, 10), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 1, 0, many, 8), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 1, 0, many, 3), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 1, 1, mac, 6), VIRTIO_NET_OK);
	cr_assert_eq(driver_reg_read(&wire.d, 0x1005, 1), 0x77);
	cr_assert_eq(wire_command(&wire, 1, 1, multicast, 6), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 1, 1, mac, 7), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 1, 1, mac, 5), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 2, 0, "\1\0", 2), VIRTIO_NET_ERR, "VLAN");
	cr_assert_eq(wire_command(&wire, 4, 0, "\1\0", 2), VIRTIO_NET_ERR, "no MQ");
	cr_assert_eq(wire_command(&wire, 5, 0, "\0\0\0\0\0\0\0\0", 8), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 255, 255, frame, 1000), VIRTIO_NET_ERR);
	cr_assert_eq(driver_status(&wire.d) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
	cr_assert(driver_reset(&wire.d));
	cr_assert_eq(driver_reg_read(&wire.d, 0x1005, 1), 1, "as it was made");
	wire_close(&wire);
}

/* A storm of commands goes on at the pace of the limit, and a reset does not wait for all. */
Test(virtio_net_ctrl, storms_are_limited)
{
	struct wire wire;
	uint64_t begin;

	start(&wire, &plain, CTRL);
	begin = clock_now_ns();
	for (unsigned i = 0; i < 64 + 20; i++)
		cr_assert_eq(wire_command(&wire, 0, 0, "\1", 1), VIRTIO_NET_OK);
	cr_assert_geq(clock_now_ns() - begin, 150 * NS_PER_MS);
	for (unsigned i = 0; i < 30; i++) {
		const struct segment segments[] = {{wire.buffers, 3, false},
						   {wire.buffers + 4, 1, true}};

		driver_add(&wire.d, WIRE_CTRL, segments, 2);
	}
	driver_kick(&wire.d, WIRE_CTRL);
	driver_run(&wire.d, 2);
	cr_assert(driver_reset(&wire.d));
	driver_start(&wire.d, CTRL, 64);
	cr_assert_eq(wire_command(&wire, 0, 0, "\1", 1), VIRTIO_NET_OK);
	wire_close(&wire);
}

#define TCP_HEADERS   54u
#define SOCKET_HEADER 10 /* without num_buffers */

/* IPv4 and TCP, as a host's stack hands it to an interface that does the segmentation. */
static void make_tcp(struct virtio_net_hdr_v1 *header, uint8_t *packet, uint32_t len)
{
	static const uint8_t ip[] = {0x45, 0, 0,  0, 0, 1, 0,  0, 64, 6,
				     0,	   0, 10, 0, 0, 1, 10, 0, 0,  2};

	*header = (struct virtio_net_hdr_v1){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					     .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					     .hdr_len = htole16(TCP_HEADERS),
					     .gso_size = htole16(1000),
					     .csum_start = htole16(34),
					     .csum_offset = htole16(16)};
	memset(packet, 0x33, len);
	memset(packet, 2, 12);
	packet[12] = 8;
	packet[13] = 0;
	memcpy(packet + 14, ip, sizeof(ip));
	packet[16] = (uint8_t)((len - 14) >> 8);
	packet[17] = (uint8_t)(len - 14);
	packet[46] = 5 << 4; /* the TCP header's length */
	packet[47] = 0x10;   /* ACK */
}

/* Through a socket of its own, whose frames carry headers. */
static int open_tcp(void)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(ETH_P_IP),
				      .sll_ifindex = (int)if_nametoindex("wire0")};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0), one = 1;

	cr_assert_eq(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void host_send_tcp(uint32_t len)
{
	static uint8_t bytes[WIRE_FRAME_MAX];
	struct virtio_net_hdr_v1 header;
	int fd = open_tcp();

	make_tcp(&header, bytes + SOCKET_HEADER, len);
	memcpy(bytes, &header, SOCKET_HEADER);
	cr_assert_eq(send(fd, bytes, SOCKET_HEADER + len, 0), SOCKET_HEADER + len);
	close(fd);
}

/* What is not ours (the kernel's own frames) is passed over. */
static uint32_t next_tcp(struct wire *wire, struct virtio_net_hdr_v1 *header)
{
	uint32_t len;

	do {
		len = wire_guest_receive(wire, header, frame);
		cr_assert(len > 0 && len != UINT32_MAX);
	} while (frame[12] != 8 || frame[23] != 6);
	return len;
}

static void expect_whole(struct wire *wire)
{
	struct virtio_net_hdr_v1 header;

	host_send_tcp(TCP_HEADERS + 4000);
	cr_assert_eq(next_tcp(wire, &header), TCP_HEADERS + 4000);
	cr_assert_eq(header.gso_type & 0x7f, VIRTIO_NET_HDR_GSO_TCPV4);
	cr_assert_eq(header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

static void expect_segments(struct wire *wire)
{
	struct virtio_net_hdr_v1 header;

	host_send_tcp(TCP_HEADERS + 4000);
	for (unsigned i = 0; i < 4; i++) {
		cr_assert_eq(next_tcp(wire, &header), TCP_HEADERS + 1000);
		cr_assert_eq(header.gso_type, 0);
		cr_assert_eq(header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
	}
}

/* The tap segments and checksums what the driver cannot, as negotiated and as it changes its
 * mind. */
Test(virtio_net_ctrl, guest_offloads)
{
	struct wire wire;
	uint64_t none = 0, too_many = TSO | BIT(VIRTIO_NET_F_GUEST_TSO6), tso = TSO;

	start(&wire, &plain, CTRL | TSO | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS));
	wire_give_buffers(&wire, 60, 2048, true);
	expect_whole(&wire);
	cr_assert_eq(wire_command(&wire, 5, 0, &none, 8), VIRTIO_NET_OK);
	expect_segments(&wire);
	cr_assert_eq(wire_command(&wire, 5, 0, &too_many, 8), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 5, 0, &tso, 7), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 5, 1, &tso, 8), VIRTIO_NET_ERR);
	expect_segments(&wire);
	cr_assert_eq(wire_command(&wire, 5, 0, &tso, 8), VIRTIO_NET_OK);
	expect_whole(&wire);
	/* Queued for a driver that can, found by one that cannot. */
	cr_assert(driver_reset(&wire.d));
	host_send_tcp(TCP_HEADERS + 4000);
	driver_start(&wire.d, CTRL, 64);
	wire_give_buffers(&wire, 60, 2048, true);
	driver_run(&wire.d, 5);
	cr_assert_eq(wire_counter(&wire, "rx_drops"), 1);
	expect_segments(&wire);
	wire_close(&wire);
}

Test(virtio_net_ctrl, host_offloads)
{
	static uint8_t bytes[WIRE_FRAME_MAX];
	struct virtio_net_hdr_v1 header;
	struct segment segment;
	struct wire wire;
	ssize_t n;
	int fd;

	start(&wire, &plain, CTRL | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4));
	fd = open_tcp();
	segment = (struct segment){wire.buffers, NET_HEADER_LEN + TCP_HEADERS + 40000, false};
	make_tcp(&header, driver_at(&wire.d, wire.buffers + NET_HEADER_LEN), TCP_HEADERS + 40000);
	memcpy(driver_at(&wire.d, wire.buffers), &header, sizeof(header));
	driver_add(&wire.d, WIRE_TX, &segment, 1);
	driver_kick(&wire.d, WIRE_TX);
	cr_assert(driver_wait_used(&wire.d, WIRE_TX, NULL, NULL));
	cr_assert_eq(wire_counter(&wire, "tx_frames"), 1);
	cr_assert_eq(wire_counter(&wire, "tx_errors"), 0);
	n = recv(fd, bytes, sizeof(bytes), 0);
	close(fd);
	cr_assert_eq(n, SOCKET_HEADER + (ssize_t)TCP_HEADERS + 40000);
	cr_assert_eq(bytes[1], VIRTIO_NET_HDR_GSO_TCPV4);
	wire_close(&wire);
}

static uint64_t pairs_receive(struct wire *wire, unsigned queue)
{
	uint64_t n = 0;

	while (driver_take_used(&wire->d, queue, NULL, NULL))
		n++;
	return n;
}

static void give_to(struct wire *wire, unsigned queue, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct segment segment = {wire->buffers + (queue * 32 + i) * 2048, 2048,
						true};

		driver_add(&wire->d, queue, &segment, 1);
	}
	driver_kick(&wire->d, queue);
}

/* Frames that the tap spreads over its queues by flow. */
static void send_flows(struct wire *wire, unsigned n)
{
	static uint8_t bytes[SOCKET_HEADER + 60]; /* its header stays zero */
	struct virtio_net_hdr_v1 header;
	int fd = open_tcp();

	for (unsigned i = 0; i < n; i++) {
		make_tcp(&header, bytes + SOCKET_HEADER, sizeof(bytes) - SOCKET_HEADER);
		bytes[SOCKET_HEADER + 34] = (uint8_t)(i * 37); /* source port */
		bytes[SOCKET_HEADER + 35] = (uint8_t)(i * 11);
		cr_assert_eq(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	}
	close(fd);
	driver_run(&wire->d, 10);
}

/* One pair and then two again in one turn: the poll of the second is cancelled, but still under way
 * when the pair is back. */
static void leave_and_come_back(struct wire *wire)
{
	const gpa_t at = wire->buffers + 0x40000;

	memcpy(driver_at(&wire->d, at), "\4\0\1\0\4\0\2\0\377\377", 10);
	for (unsigned i = 0; i < 2; i++) {
		const struct segment segments[] = {{at + i * 4, 4, false}, {at + 8 + i, 1, true}};

		driver_add(&wire->d, 4, segments, 2);
	}
	driver_kick(&wire->d, 4);
	for (unsigned i = 0; i < 2; i++)
		cr_assert(driver_wait_used(&wire->d, 4, NULL, NULL));
	cr_assert_eq(memcmp(driver_at(&wire->d, at + 8), "\0\0", 2), 0);
}

Test(virtio_net_ctrl, queue_pairs)
{
	struct virtio_net_config config = {.n_pairs = 2};
	struct wire wire;
	uint64_t first, second;

	start(&wire, &config, CTRL | BIT(VIRTIO_NET_F_MQ));
	cr_assert_eq(wire.d.dev->n_queues, 5);
	cr_assert_eq(driver_reg_read(&wire.d, 0x1008, 2), 2);
	give_to(&wire, 0, 30);
	give_to(&wire, 2, 30);
	send_flows(&wire, 16);
	cr_assert_eq(pairs_receive(&wire, 0), 16);
	cr_assert_eq(pairs_receive(&wire, 2), 0);
	cr_assert_eq(wire_command(&wire, 4, 0, "\2\0", 2), VIRTIO_NET_OK);
	send_flows(&wire, 14);
	first = pairs_receive(&wire, 0);
	second = pairs_receive(&wire, 2);
	cr_assert_eq(first + second, 14);
	cr_assert(first > 0 && second > 0, "%u and %u", (unsigned)first, (unsigned)second);
	cr_assert_eq(wire_command(&wire, 4, 0, "\3\0", 2), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 4, 0, "\0\0", 2), VIRTIO_NET_ERR);
	cr_assert_eq(wire_command(&wire, 4, 0, "\1", 1), VIRTIO_NET_ERR);
	for (unsigned i = 0; i < 6; i++)
		cr_assert_eq(wire_command(&wire, 4, 0, i % 2 ? "\2\0" : "\1\0", 2), VIRTIO_NET_OK);
	send_flows(&wire, 8);
	cr_assert_eq(pairs_receive(&wire, 0) + pairs_receive(&wire, 2), 8);
	give_to(&wire, 0, 20);
	leave_and_come_back(&wire);
	send_flows(&wire, 8);
	cr_assert_eq(pairs_receive(&wire, 0) + pairs_receive(&wire, 2), 8);
	cr_assert_eq(wire_command(&wire, 4, 0, "\1\0", 2), VIRTIO_NET_OK);
	give_to(&wire, 0, 16);
	send_flows(&wire, 8);
	cr_assert_eq(pairs_receive(&wire, 0), 8);
	cr_assert(driver_reset(&wire.d));
	wire_close(&wire);
}

/* A change that fails half way leaves no queue that takes part in the tap and is not read. */
Test(virtio_net_ctrl, queue_pairs_change_whole_or_not)
{
	struct virtio_net_config config = {.n_pairs = 3};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), tap;
	const struct net *net;
	struct wire wire;

	start(&wire, &config, CTRL | BIT(VIRTIO_NET_F_MQ));
	net = container_of(wire.d.dev, struct net, dev);
	give_to(&wire, 0, 30);
	give_to(&wire, 2, 30);
	give_to(&wire, 4, 30);
	tap = fcntl(net->pairs[2].fd, F_DUPFD_CLOEXEC, 0);
	cr_assert_geq(dup2(null, net->pairs[2].fd), 0);
	cr_assert_eq(wire_command(&wire, 4, 0, "\3\0", 2), VIRTIO_NET_ERR);
	send_flows(&wire, 16);
	cr_assert_eq(pairs_receive(&wire, 0), 16);
	cr_assert_geq(dup2(tap, net->pairs[2].fd), 0);
	cr_assert_eq(wire_command(&wire, 4, 0, "\3\0", 2), VIRTIO_NET_OK);
	close(tap);
	close(null);
	wire_close(&wire);
}

/* A driver that knows of one pair finds its control queue behind that (§5.1.2). */
/* A pair with much to send leaves the others their share of the limit. */
Test(virtio_net_ctrl, pairs_share_a_limit)
{
	struct virtio_net_config config = {.n_pairs = 2, .tx = {.ops_per_s = 200, .burst_ops = 2}};
	struct wire wire;

	start(&wire, &config, CTRL | BIT(VIRTIO_NET_F_MQ));
	cr_assert_eq(wire_command(&wire, 4, 0, "\2\0", 2), VIRTIO_NET_OK);
	for (unsigned queue = 1; queue <= 3; queue += 2) {
		const struct segment segment = {wire.buffers, 12 + 60, false};

		for (unsigned i = 0; i < (queue == 1 ? 60 : 4); i++)
			driver_add(&wire.d, queue, &segment, 1);
		driver_kick(&wire.d, queue);
	}
	for (unsigned i = 0; i < 4; i++)
		cr_assert(driver_wait_used(&wire.d, 3, NULL, NULL));
	cr_assert_lt(pairs_receive(&wire, 1), 30);
	wire_close(&wire);
}

Test(virtio_net_ctrl, queue_pairs_not_negotiated)
{
	struct virtio_net_config config = {.n_pairs = 2};
	struct wire wire;

	start(&wire, &config, CTRL);
	wire.config.n_pairs = 1;
	cr_assert_eq(wire_command(&wire, 0, 0, "\1", 1), VIRTIO_NET_OK);
	wire_close(&wire);
}
