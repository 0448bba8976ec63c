// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/harness.h"
#include "tests/unit/virtio_net_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <linux/if_tun.h>
#include <linux/virtio_config.h>

#include "base/clock.h"
#include "virtio/regs.h"

UNIT_SUITE(virtio_net);

static const struct virtio_net_config plain;
static uint8_t frame[WIRE_FRAME_MAX];

static void start(struct wire *wire, const struct virtio_net_config *config, uint64_t features,
		  uint16_t queue_size)
{
	if (wire_enter_namespace() < 0)
		cr_skip_test("no network namespace or tap to be had here");
	cr_assert_eq(wire_open(wire, config, features, queue_size), 0);
	cr_assert_eq(driver_status(&wire->d) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

static void expect_received(struct wire *wire, uint32_t len, uint8_t seed, unsigned n_buffers)
{
	struct virtio_net_hdr_v1 header;

	cr_assert_eq(wire_guest_receive(wire, &header, frame), len);
	cr_assert_eq(header.num_buffers, n_buffers);
	cr_assert_eq(header.flags, 0);
	cr_assert_eq(header.gso_type, 0);
	cr_assert(wire_is_frame(frame, len, seed));
}

static bool tx_done(struct wire *wire)
{
	return driver_wait_used(&wire->d, WIRE_TX, NULL, NULL);
}

Test(virtio_net, refuses_what_is_no_tap)
{
	struct virtio_net_config config = {.n_pairs = 1, .taps = {open("/dev/null", O_RDWR)}};
	struct virtio_dev *dev;
	struct loop *loop;

	if (wire_enter_namespace() < 0)
		cr_skip_test("no network namespace or tap to be had here");
	cr_assert_eq(loop_new(&loop, 8, 8), 0);
	cr_assert_eq(virtio_net_new(&dev, loop, &config), -EINVAL);
	close(config.taps[0]);
	config.taps[0] = wire_open_tap("bare0", 0);
	cr_assert_eq(virtio_net_new(&dev, loop, &config), -EINVAL, "no header");
	close(config.taps[0]);
	config.taps[0] = wire_open_tap("tap0", IFF_VNET_HDR);
	config.n_pairs = 0;
	cr_assert_eq(virtio_net_new(&dev, loop, &config), -EINVAL);
	config.n_pairs = VIRTIO_NET_PAIRS_MAX + 1;
	cr_assert_eq(virtio_net_new(&dev, loop, &config), -EINVAL);
	config.n_pairs = 1;
	config.mac[0] = 1;
	cr_assert_eq(virtio_net_new(&dev, loop, &config), -EINVAL, "multicast");
	config.mac[0] = 2;
	config.mtu = 67;
	cr_assert_eq(virtio_net_new(&dev, loop, &config), -EINVAL);
	config.mtu = 0;
	config.n_pairs = 2;
	config.taps[1] = wire_open_tap("tap1", IFF_VNET_HDR);
	cr_assert_eq(virtio_net_new(&dev, loop, &config), -EINVAL, "no queues of one");
	close(config.taps[0]);
	close(config.taps[1]);
	loop_free(loop);
}

Test(virtio_net, configuration_and_link)
{
	const uint8_t expected[] = {2, 0, 0, 0, 0, 1, 1, 0, 1, 0, 0xdc, 5, 0, 0, 0, 0};
	struct wire wire;

	start(&wire, &plain, WIRE_BASIC, 16);
	for (unsigned i = 0; i < sizeof(expected); i++)
		cr_assert_eq(driver_reg_read(&wire.d, 0x1000 + i, 1), expected[i]);
	driver_interrupts(&wire.d, 0);
	virtio_net_set_link(wire.d.dev, false);
	virtio_net_set_link(wire.d.dev, false);
	cr_assert_eq(driver_reg_read(&wire.d, 0x1006, 2), 0);
	cr_assert_eq(driver_interrupts(&wire.d, 0), 1);
	/* Pulled, it carries nothing in either direction, and keeps nothing for later. */
	wire_give_buffers(&wire, 2, 2048, true);
	cr_assert(wire_host_send(&wire, 100, 1));
	driver_run(&wire.d, 5);
	cr_assert_not(driver_take_used(&wire.d, WIRE_RX, NULL, NULL));
	wire_guest_send(&wire, &(struct virtio_net_hdr_v1){0}, 60, 1);
	cr_assert(tx_done(&wire));
	cr_assert_eq(wire_host_receive(&wire, frame, 5), 0);
	virtio_net_set_link(wire.d.dev, true);
	cr_assert_eq(driver_reg_read(&wire.d, 0x1006, 2), 1);
	cr_assert(wire_host_send(&wire, 100, 2));
	expect_received(&wire, 100, 2, 1);
	wire_close(&wire);
}

Test(virtio_net, sends_in_any_framing)
{
	static const uint32_t lens[] = {14,   60,   1514, NET_COPY_MAX - 12, NET_COPY_MAX - 11,
					9014, 64014};
	struct wire wire;

	start(&wire, &plain, WIRE_BASIC, 64);
	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		wire_guest_send(&wire, &(struct virtio_net_hdr_v1){0}, lens[i], (uint8_t)i);
		cr_assert(tx_done(&wire));
		cr_assert_eq(wire_host_receive(&wire, frame, 1000), lens[i]);
		cr_assert(wire_is_frame(frame, lens[i], (uint8_t)i));
	}
	cr_assert_eq(wire_counter(&wire, "tx_frames"), 7);
	/* The header cut into pieces, for a short frame and a long one. */
	for (unsigned i = 0; i < 2; i++) {
		uint32_t len = i ? 5000 : 200;
		const struct segment segments[] = {
			{wire.buffers, 1, false},
			{wire.buffers + 1, 10, false},
			{wire.buffers + 11, 21, false},
			{wire.buffers + 32, len + NET_HEADER_LEN - 32, false}};

		memset(driver_at(&wire.d, wire.buffers), 0, NET_HEADER_LEN);
		wire_make_frame(driver_at(&wire.d, wire.buffers + NET_HEADER_LEN), len, 9);
		driver_add_indirect(&wire.d, WIRE_TX, segments, 4);
		driver_kick(&wire.d, WIRE_TX);
		cr_assert(tx_done(&wire));
		cr_assert_eq(wire_host_receive(&wire, frame, 1000), len);
		cr_assert(wire_is_frame(frame, len, 9));
	}
	wire_close(&wire);
}

/* Headers that lie, and lengths that no frame has: nothing is sent, the buffer comes back. */
Test(virtio_net, bad_frames_are_dropped)
{
	static const struct {
		struct virtio_net_hdr_v1 header;
		uint32_t len;
	} bad[] = {
		{{.flags = 0}, 13},
		{{.flags = 0}, 65559},
		{{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 58, .csum_offset = 1}, 60},
		{{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		  .csum_start = 0xffff,
		  .csum_offset = 0xffff},
		 60},
		{{.flags = 1, .gso_type = 3, .gso_size = 100, .csum_start = 14}, 60}, /* UFO */
		{{.flags = 1, .gso_type = 5, .gso_size = 100, .csum_start = 14}, 60}, /* USO */
		{{.flags = 1, .gso_type = 77, .gso_size = 100, .csum_start = 14}, 60},
		{{.flags = 1, .gso_type = 0x80, .gso_size = 100, .csum_start = 14}, 60},
		{{.flags = 1, .gso_type = 0x81, .gso_size = 100, .csum_start = 14}, 60}, /* ECN */
		{{.flags = 1, .gso_type = 1, .csum_start = 14}, 60},
		{{.flags = 0, .gso_type = 1, .gso_size = 100}, 60},
		{{.flags = 1, .gso_type = 1, .gso_size = 100, .csum_start = 14, .hdr_len = 61}, 60},
		{{.flags = 1, .gso_type = 4, .gso_size = 100, .csum_start = 14}, 60}, /* TSO6 */
	};
	const unsigned n = sizeof(bad) / sizeof(bad[0]);
	struct wire wire;

	start(&wire, &plain,
	      WIRE_BASIC | 1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_HOST_TSO4, 64);
	for (unsigned i = 0; i < n; i++) {
		wire_guest_send(&wire, &bad[i].header, bad[i].len, 0);
		cr_assert(tx_done(&wire));
		cr_assert_eq(wire_counter(&wire, "tx_errors"), i + 1, "%u", i);
	}
	cr_assert_eq(wire_host_receive(&wire, frame, 2), 0);
	/* What means nothing is ignored. */
	wire_guest_send(&wire,
			&(struct virtio_net_hdr_v1){.flags = 0xfe,
						    .hdr_len = 9999,
						    .gso_size = 9999,
						    .csum_start = 9999,
						    .num_buffers = 9999},
			60, 3);
	cr_assert_eq(wire_host_receive(&wire, frame, 1000), 60);
	cr_assert_eq(wire_counter(&wire, "tx_errors"), n);
	wire_close(&wire);
}

Test(virtio_net, receives_into_one_buffer)
{
	struct wire wire;

	start(&wire, &plain, WIRE_BASIC, 64);
	wire_give_buffers(&wire, 8, 2048, true);
	for (uint8_t i = 0; i < 4; i++) {
		cr_assert(wire_host_send(&wire, 60 + i * 500u, i));
		expect_received(&wire, 60 + i * 500u, i, 1);
	}
	/* Longer than its buffer, which then serves the next. */
	cr_assert(wire_host_send(&wire, 2037, 9));
	cr_assert(wire_host_send(&wire, 9000, 9));
	cr_assert(wire_host_send(&wire, 9000, 9));
	cr_assert(wire_host_send(&wire, 2036, 10));
	expect_received(&wire, 2036, 10, 1);
	cr_assert_eq(wire_counter(&wire, "rx_drops"), 3);
	cr_assert_eq(wire_counter(&wire, "rx_frames"), 5);
	wire_close(&wire);
}

/* Short and long ones in turn, so that frames are copied, read directly, and both. */
Test(virtio_net, receives_into_merged_buffers)
{
	static const uint32_t lens[] = {1514, 9000, 60, 64000, 64000, 1524, 1525, 60, 3060, 3061};
	struct wire wire;

	start(&wire, &plain, WIRE_MERGE, 256);
	wire_give_buffers(&wire, 128, 1536, true);
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
			unsigned n = (lens[i] + NET_HEADER_LEN + 1535) / 1536;

			cr_assert(wire_host_send(&wire, lens[i], (uint8_t)i));
			expect_received(&wire, lens[i], (uint8_t)i, n);
			wire_give_buffers(&wire, n, 1536, false);
		}
	/* After many short ones frames are copied again. */
	for (uint8_t i = 0; i < 100; i++) {
		cr_assert(wire_host_send(&wire, 60, i));
		expect_received(&wire, 60, i, 1);
		wire_give_buffers(&wire, 1, 1536, false);
	}
	cr_assert_eq(wire_counter(&wire, "rx_drops"), 0);
	wire_close(&wire);
}

static unsigned take_all(struct wire *wire)
{
	unsigned n = 0;

	for (unsigned idle_ms = 0; idle_ms < 20; idle_ms++) {
		while (driver_take_used(&wire->d, WIRE_RX, NULL, NULL)) {
			n++;
			idle_ms = 0;
			wire_give_buffers(wire, 1, 2048, true);
		}
		driver_run(&wire->d, 1);
	}
	return n;
}

/* CVE-2020-16843: the queue has no buffer and the tap is full, so that no new frame wakes anybody.
 */
static void fill_both(uint64_t features)
{
	struct wire wire;

	start(&wire, &plain, features, 16);
	for (uint8_t round = 0; round < 3; round++) {
		struct virtio_net_hdr_v1 header;

		for (unsigned i = 0; i < 2000; i++)
			wire_host_send(&wire, 200, round);
		driver_run(&wire.d, 3);
		cr_assert_not(driver_take_used(&wire.d, WIRE_RX, NULL, NULL));
		wire_give_buffers(&wire, 1, 2048, true);
		cr_assert_eq(wire_guest_receive(&wire, &header, frame), 200);
		cr_assert(wire_is_frame(frame, 200, round));
		driver_run(&wire.d, 3);
		wire_give_buffers(&wire, 4, 2048, true);
		cr_assert_geq(take_all(&wire), 400);
		cr_assert(wire_host_send(&wire, 60, 99));
		expect_received(&wire, 60, 99, 1);
		cr_assert(driver_reset(&wire.d));
		driver_start(&wire.d, features, 16);
	}
	cr_assert_gt(wire_counter(&wire, "rx_starved"), 0);
	wire_close(&wire);
}

Test(virtio_net, recovers_when_tap_and_queue_were_full)
{
	fill_both(WIRE_MERGE);
}

Test(virtio_net, recovers_when_both_were_full_with_event_index)
{
	fill_both(WIRE_MERGE | DRIVER_EVENT_IDX);
}

/* A frame waits for buffers that come bit by bit, and is dropped if the whole queue is too small
 * for it. */
Test(virtio_net, frames_wait_for_enough_buffers)
{
	struct wire wire;

	start(&wire, &plain, WIRE_MERGE, 8);
	cr_assert(wire_host_send(&wire, 9000, 1));
	for (unsigned i = 0; i < 5; i++) {
		wire_give_buffers(&wire, 1, 1536, true);
		driver_run(&wire.d, 1);
		cr_assert_not(driver_take_used(&wire.d, WIRE_RX, NULL, NULL));
	}
	wire_give_buffers(&wire, 1, 1536, true);
	expect_received(&wire, 9000, 1, 6);
	cr_assert(wire_host_send(&wire, 14000, 2));
	cr_assert(wire_host_send(&wire, 60, 3));
	wire_give_buffers(&wire, 8, 1536, true);
	expect_received(&wire, 60, 3, 1);
	cr_assert_eq(wire_counter(&wire, "rx_drops"), 1);
	wire_close(&wire);
}

/* Buffers of few bytes and buffers that cross the memory's regions. */
Test(virtio_net, odd_buffers)
{
	struct wire wire;
	const struct segment across = {DRIVER_REGION_LEN - 30, 1600, true};
	const struct segment parts[] = {{DRIVER_REGION_LEN + 4096, 5, true},
					{DRIVER_REGION_LEN + 4200, 2, true},
					{DRIVER_REGION_LEN + 4300, 1700, true}};
	uint8_t *at;

	start(&wire, &plain, WIRE_MERGE, 64);
	driver_alloc(&wire.d, 8192); /* the tables lie behind our buffers */
	wire_give_buffers(&wire, 9, 12, true);
	cr_assert(wire_host_send(&wire, 96, 1));
	expect_received(&wire, 96, 1, 9);
	driver_add(&wire.d, WIRE_RX, &across, 1);
	driver_add_indirect(&wire.d, WIRE_RX, parts, 3);
	driver_kick(&wire.d, WIRE_RX);
	cr_assert(wire_host_send(&wire, 1514, 2));
	cr_assert(driver_wait_used(&wire.d, WIRE_RX, NULL, NULL));
	cr_assert(wire_is_frame(driver_at(&wire.d, across.gpa + NET_HEADER_LEN), 1514, 2));
	cr_assert(wire_host_send(&wire, 1514, 3));
	cr_assert(driver_wait_used(&wire.d, WIRE_RX, NULL, NULL));
	at = driver_at(&wire.d, parts[2].gpa);
	wire_make_frame(frame, 1514, 3);
	cr_assert_eq(memcmp(at + 5, frame, 1514), 0); /* 7 bytes of the header lie before it */
	wire_close(&wire);
}

/* 100 frames/s beyond a burst of 10, so 20 more take 200 ms. */
Test(virtio_net, rate_limits)
{
	struct virtio_net_config config = {.rx = {.ops_per_s = 100, .burst_ops = 10},
					   .tx = {.bytes_per_s = 100000, .burst_bytes = 10000}};
	struct wire wire;
	uint64_t begin, elapsed_ms;

	start(&wire, &config, WIRE_MERGE, 64);
	wire_give_buffers(&wire, 40, 2048, true);
	begin = clock_now_ns();
	for (uint8_t i = 0; i < 30; i++)
		cr_assert(wire_host_send(&wire, 60, i));
	for (uint8_t i = 0; i < 30; i++)
		expect_received(&wire, 60, i, 1);
	elapsed_ms = (clock_now_ns() - begin) / NS_PER_MS;
	cr_assert(elapsed_ms >= 195 && elapsed_ms < 2000, "%u ms", (unsigned)elapsed_ms);
	cr_assert_gt(wire_counter(&wire, "rx_throttled"), 0);
	begin = clock_now_ns();
	for (uint8_t i = 0; i < 30; i++)
		wire_guest_send(&wire, &(struct virtio_net_hdr_v1){0}, 1000, 0);
	for (unsigned i = 0; i < 30; i++)
		cr_assert(tx_done(&wire));
	elapsed_ms = (clock_now_ns() - begin) / NS_PER_MS;
	cr_assert(elapsed_ms >= 195 && elapsed_ms < 2000, "%u ms", (unsigned)elapsed_ms);
	cr_assert_gt(wire_counter(&wire, "tx_throttled"), 0);
	/* A reset while both wait. */
	for (uint8_t i = 0; i < 30; i++) {
		wire_host_send(&wire, 60, i);
		wire_guest_send(&wire, &(struct virtio_net_hdr_v1){0}, 1000, 0);
	}
	driver_run(&wire.d, 1);
	cr_assert(driver_reset(&wire.d));
	driver_start(&wire.d, WIRE_MERGE, 64);
	wire_guest_send(&wire, &(struct virtio_net_hdr_v1){0}, 1000, 0);
	cr_assert(tx_done(&wire));
	wire_close(&wire);
}

/* Resets at any moment: with a poll under way, a frame waiting, buffers held. */
Test(virtio_net, reset_at_any_time)
{
	struct wire wire;

	start(&wire, &plain, WIRE_MERGE, 64);
	for (unsigned round = 0; round < 40; round++) {
		wire_give_buffers(&wire, round % 7, 1536, round % 2);
		for (unsigned i = 0; i < round % 5; i++)
			wire_host_send(&wire, i % 2 ? 20000 : 60, (uint8_t)i);
		if (round % 3)
			wire_guest_send(&wire, &(struct virtio_net_hdr_v1){0}, 60, 0);
		if (round % 4)
			driver_run(&wire.d, round % 4 - 1);
		cr_assert(driver_reset(&wire.d));
		cr_assert_not(wire.d.dev->queues[0].enabled);
		driver_start(&wire.d, WIRE_MERGE, 64);
	}
	wire_give_buffers(&wire, 40, 2048, true);
	take_all(&wire);
	cr_assert(wire_host_send(&wire, 60, 5));
	expect_received(&wire, 60, 5, 1);
	wire_close(&wire);
}

static void count(void *user)
{
	++*(unsigned *)user;
}

static bool has_come(struct driver *d, void *user)
{
	(void)d;
	return *(unsigned *)user > 0;
}

/* One queue stops and starts again while the other goes on. */
Test(virtio_net, reset_of_one_queue)
{
	struct wire wire;

	start(&wire, &plain, WIRE_MERGE, 8);
	for (unsigned round = 0; round < 4; round++) {
		struct virtio_dev *dev = wire.d.dev;
		unsigned drained = 0;

		/* Half of the time a frame has 2 buffers of 6; else a poll is under way. */
		wire_give_buffers(&wire, 2, 1536, true);
		if (round % 2)
			cr_assert(wire_host_send(&wire, 9000, 1));
		driver_run(&wire.d, 2);
		dev->ops->reset_queue(dev, WIRE_RX, count, &drained);
		cr_assert(driver_wait(&wire.d, has_come, &drained));
		vq_reset(&dev->queues[WIRE_RX]);
		cr_assert(wire_host_send(&wire, 60, 7));
		wire_guest_send(&wire, &(struct virtio_net_hdr_v1){0}, 60, 8);
		cr_assert(tx_done(&wire));
		cr_assert_eq(wire_host_receive(&wire, frame, 1000), 60);
		dev->ops->reset_queue(dev, WIRE_TX, count, &drained);
		cr_assert_eq(drained, 2);
		memset(wire.d.queues[WIRE_RX].used, 0, 64);
		wire.d.queues[WIRE_RX].avail->idx = wire.d.queues[WIRE_RX].avail_idx = 0;
		wire.d.queues[WIRE_RX].last_used = 0;
		cr_assert_eq(vq_enable(&dev->queues[WIRE_RX], false), 0);
		wire_give_buffers(&wire, 1, 1536, true);
		expect_received(&wire, 60, 7, 1);
	}
	wire_close(&wire);
}

/* A function that goes while a queue of it is being reset: the end of the poll is the end of it. */
Test(virtio_net, taken_away_in_a_queue_reset)
{
	for (unsigned round = 0; round < 4; round++) {
		struct wire wire;

		start(&wire, &plain, WIRE_MERGE | 1ull << VIRTIO_F_RING_RESET, 8);
		wire_give_buffers(&wire, 2, 1536, true);
		driver_run(&wire.d, 2);
		driver_reg_write(&wire.d, 22, 2, WIRE_RX); /* queue_select */
		driver_reg_write(&wire.d, 58, 2, 1);	   /* queue_reset */
		wire_close(&wire);
	}
}

static void expect_broken(struct wire *wire, unsigned queue, const struct segment *segments,
			  unsigned n)
{
	driver_add(&wire->d, queue, segments, n);
	driver_kick(&wire->d, queue);
	wire_host_send(wire, 60, 0);
	driver_run(&wire->d, 3);
	cr_assert(driver_status(&wire->d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	cr_assert(driver_reset(&wire->d));
	driver_start(&wire->d, WIRE_MERGE | 1ull << VIRTIO_NET_F_CTRL_VQ, 16);
}

Test(virtio_net, hostile_chains_only_break_the_device)
{
	const gpa_t at = DRIVER_REGION_LEN + 0x10000;
	struct wire wire;

	start(&wire, &plain, WIRE_MERGE | 1ull << VIRTIO_NET_F_CTRL_VQ, 16);
	expect_broken(&wire, WIRE_TX, (struct segment[]){{at, 11, false}}, 1);
	expect_broken(&wire, WIRE_TX, (struct segment[]){{at, 72, true}}, 1);
	expect_broken(&wire, WIRE_TX, (struct segment[]){{at, 72, false}, {at, 1, true}}, 2);
	expect_broken(&wire, WIRE_TX, (struct segment[]){{DRIVER_RAM_LEN - 1, 72, false}}, 1);
	expect_broken(&wire, WIRE_RX, (struct segment[]){{at, 11, true}}, 1);
	expect_broken(&wire, WIRE_RX, (struct segment[]){{at, 2048, false}}, 1);
	expect_broken(&wire, WIRE_RX, (struct segment[]){{at, 1, false}, {at, 2048, true}}, 2);
	expect_broken(&wire, WIRE_RX, (struct segment[]){{at, 0, true}}, 1);
	expect_broken(&wire, WIRE_CTRL, (struct segment[]){{at, 3, false}}, 1);
	expect_broken(&wire, WIRE_CTRL, (struct segment[]){{at, 1, false}, {at, 1, true}}, 2);
	expect_broken(&wire, WIRE_CTRL, (struct segment[]){{at, 1, true}}, 1);
	wire_give_buffers(&wire, 8, 2048, true);
	take_all(&wire);
	cr_assert(wire_host_send(&wire, 60, 3));
	expect_received(&wire, 60, 3, 1);
	wire_close(&wire);
}

/* The interface is deleted under the device: no spinning, and an end as always. */
Test(virtio_net, tap_goes_away)
{
	struct wire wire;
	uint64_t cpu;

	start(&wire, &plain, WIRE_MERGE, 16);
	wire_give_buffers(&wire, 8, 2048, true);
	driver_run(&wire.d, 2);
	cr_assert_eq(system("ip link delete wire0 2>/dev/null"), 0);
	cpu = (uint64_t)clock();
	driver_run(&wire.d, 100);
	cr_assert_lt((uint64_t)clock() - cpu, CLOCKS_PER_SEC / 20);
	cr_assert_eq(wire_counter(&wire, "rx_errors"), 1);
	wire_guest_send(&wire, &(struct virtio_net_hdr_v1){0}, 60, 8);
	cr_assert(tx_done(&wire));
	cr_assert_eq(wire_counter(&wire, "tx_errors"), 1);
	cr_assert(driver_reset(&wire.d));
	wire_close(&wire);
}

/* Buffers that are held for the next frame, in memory that is unplugged: nothing is written there.
 */
Test(virtio_net, held_buffers_in_unplugged_memory_are_let_go)
{
	struct wire wire;
	uint64_t plugged = UINT64_MAX;
	struct virtio_regs *regs;

	start(&wire, &plain, WIRE_MERGE, 64);
	regs = wire.d.dev->transport;
	wire.d.mem.regions[0].plugged = wire.d.mem.regions[1].plugged = &plugged;
	wire.d.mem.regions[0].block_shift = wire.d.mem.regions[1].block_shift = 20;
	wire_give_buffers(&wire, 40, 4096, true);
	cr_assert(wire_host_send(&wire, 9014, 1)); /* the next ones are read into buffers at once */
	expect_received(&wire, 9014, 1, 3);
	driver_run(&wire.d, 5);
	cr_assert_not(virtio_regs_memory_unplugged(regs));
	plugged &= ~UINT64_C(3) | 1; /* all but the rings */
	virtio_regs_memory_unplugged(regs);
	driver_run(&wire.d, 5);
	cr_assert_not(virtio_regs_memory_unplugged(regs));
	cr_assert(driver_status(&wire.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	wire_host_send(&wire, 9014, 2);
	driver_run(&wire.d, 5);
	cr_assert_not(driver_take_used(&wire.d, WIRE_RX, NULL, NULL));
	wire_close(&wire);
}
