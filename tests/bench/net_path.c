// SPDX-License-Identifier: Apache-2.0
/*
 * net_path [FRAME_LEN [ROUNDS]]: our network path, virtio/net*.c behind its PCI function on
 * base/loop.c, beside a plain loop of write(2) and read(2) on a tap of its own. Both move the same
 * frames, a queue's length at a time, in turns; the median of the times counts. What the guest and
 * the network do (descriptors, feeding the tap) is not in them; doorbell, loop and interrupt are.
 * Prints a line of JSON each for sending and receiving, in frames per second. Needs to make a
 * network namespace.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_tun.h>
#include <linux/virtio_config.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/util.h"
#include "tests/unit/virtio_net_wire.h"

#define FEATURES                                                                                   \
	(WIRE_MERGE | DRIVER_EVENT_IDX | 1ull << VIRTIO_NET_F_CSUM |                               \
	 1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_TSO4 |                       \
	 1ull << VIRTIO_NET_F_HOST_TSO4)
#define BATCH	   256u
#define BUFFER_LEN 2048u /* of memory a frame, or a part of it */
#define FRAME_MAX  (64u * BUFFER_LEN)
#define ROUNDS_MAX 10000u

struct bench {
	struct wire wire;
	uint32_t frame_len;
	unsigned n_rounds, batch;
	unsigned n_buffers; /* a frame */
	int peer, peer_packet, packet;
	uint8_t *frames;	       /* the peer's, BATCH of them with headers */
	void (*interrupt)(void *user); /* the device's own */
	void *interrupt_user;
	uint64_t times[4][ROUNDS_MAX];
};

enum { OUR_TX, PEER_TX, OUR_RX, PEER_RX };

static void die(const char *what, int r)
{
	fprintf(stderr, "bench_net_path: %s: %s\n", what, strerror(-r));
	exit(EXIT_FAILURE);
}

static void on_interrupt(void *user)
{
	struct bench *bench = user;

	bench->interrupt(bench->interrupt_user);
	loop_stop(bench->wire.d.loop);
}

/* Runs the device until it has used what is available, of which it tells once. */
static uint64_t run_device(struct bench *bench, unsigned queue, unsigned n)
{
	struct driver_queue *q = &bench->wire.d.queues[queue];
	uint16_t last = (uint16_t)(q->last_used + n);
	uint64_t begin;

	q->avail->ring[q->size] = (uint16_t)(last - 1); /* used_event */
	begin = clock_now_ns();
	if (queue == WIRE_TX)
		driver_kick(&bench->wire.d, queue);
	while (__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE) != last)
		loop_run(bench->wire.d.loop);
	begin = clock_now_ns() - begin;
	q->last_used = last;
	return begin;
}

static uint64_t our_tx(struct bench *bench)
{
	for (unsigned i = 0; i < bench->batch; i++)
		driver_make_available(&bench->wire.d, WIRE_TX, (uint16_t)i);
	return run_device(bench, WIRE_TX, bench->batch);
}

static uint64_t peer_tx(struct bench *bench)
{
	size_t len = NET_HEADER_LEN + bench->frame_len;
	uint64_t begin = clock_now_ns();

	for (unsigned i = 0; i < bench->batch; i++)
		if (write(bench->peer, bench->frames + i * FRAME_MAX, len) != (ssize_t)len)
			die("write", -errno);
	return clock_now_ns() - begin;
}

static void feed(const struct bench *bench, int packet)
{
	for (unsigned i = 0; i < bench->batch; i++)
		if (send(packet, bench->frames + i * FRAME_MAX + NET_HEADER_LEN, bench->frame_len,
			 0) < 0)
			die("send", -errno);
}

static uint64_t our_rx(struct bench *bench)
{
	for (unsigned i = 0; i < bench->batch * bench->n_buffers; i++)
		driver_make_available(&bench->wire.d, WIRE_RX,
				      bench->wire.d.queues[WIRE_RX].avail_idx % BATCH);
	feed(bench, bench->packet);
	return run_device(bench, WIRE_RX, bench->batch * bench->n_buffers);
}

static uint64_t peer_rx(struct bench *bench)
{
	uint64_t begin;

	feed(bench, bench->peer_packet);
	begin = clock_now_ns();
	for (unsigned i = 0; i < bench->batch; i++)
		if (read(bench->peer, bench->frames + i * FRAME_MAX, FRAME_MAX) < 0)
			die("read", -errno);
	return clock_now_ns() - begin;
}

/* Each descriptor one buffer, as Linux has them for short frames. */
static void make_buffers(struct bench *bench)
{
	struct driver *d = &bench->wire.d;
	uint32_t len = NET_HEADER_LEN + bench->frame_len;
	gpa_t tx = DRIVER_DATA, rx = DRIVER_DATA + BATCH * BUFFER_LEN;

	for (unsigned i = 0; i < BATCH; i++) {
		/* Long frames to send share their memory. */
		gpa_t at = bench->n_buffers > 1 ? tx : tx + i * BUFFER_LEN;

		d->queues[WIRE_TX].desc[i] = (struct vring_desc){.addr = at, .len = len};
		d->queues[WIRE_RX].desc[i] = (struct vring_desc){.addr = rx + i * BUFFER_LEN,
								 .len = BUFFER_LEN,
								 .flags = VRING_DESC_F_WRITE};
		memset(driver_at(d, at), 0, NET_HEADER_LEN);
		wire_make_frame(driver_at(d, at + NET_HEADER_LEN), bench->frame_len, 0);
	}
}

static void open_peer(struct bench *bench)
{
	int len = NET_HEADER_LEN;

	bench->peer = wire_open_tap("peer0", IFF_VNET_HDR);
	if (bench->peer < 0 || ioctl(bench->peer, TUNSETVNETHDRSZ, &len) < 0 ||
	    ioctl(bench->peer, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0)
		die("the peer's tap", bench->peer < 0 ? bench->peer : -errno);
	bench->peer_packet = wire_open_packet("peer0", 65000, 0);
	bench->packet = wire_open_packet("wire0", 65000, 0);
	if (bench->peer_packet < 0 || bench->packet < 0)
		die("a packet socket", -errno);
	/* That one would get a copy of whatever we send. */
	close_fdp(&bench->wire.packet);
	bench->frames = calloc(BATCH, FRAME_MAX);
	if (!bench->frames)
		die("memory", -ENOMEM);
	for (unsigned i = 0; i < BATCH; i++)
		wire_make_frame(bench->frames + i * FRAME_MAX + NET_HEADER_LEN, bench->frame_len,
				0);
}

static void open_ours(struct bench *bench)
{
	const struct virtio_net_config config = {.n_pairs = 1};
	int r = wire_enter_namespace();

	if (r == 0)
		r = wire_open(&bench->wire, &config, FEATURES, BATCH);
	if (r < 0)
		die("cannot make the device", r);
	if (!(driver_status(&bench->wire.d) & VIRTIO_CONFIG_S_DRIVER_OK))
		die("the device does not start", -EPROTO);
	for (unsigned i = 0; i < 2; i++) {
		struct vq *vq = &bench->wire.d.dev->queues[i];

		bench->interrupt = vq->interrupt;
		bench->interrupt_user = vq->interrupt_user;
		vq->interrupt = on_interrupt;
		vq->interrupt_user = bench;
	}
	driver_run(&bench->wire.d, 1);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double frames_per_s(struct bench *bench, unsigned which)
{
	unsigned middle = bench->n_rounds / 2;

	qsort(bench->times[which], bench->n_rounds, sizeof(uint64_t), compare);
	return (double)bench->batch * (double)NS_PER_S / (double)bench->times[which][middle];
}

static void report(const char *name, double ours, double peer, const char *peer_name)
{
	printf("{\"name\": \"%s\", \"unit\": \"frames/s\", \"ours\": %.0f, \"peer\": %.0f, "
	       "\"peer_name\": \"%s\"}\n",
	       name, ours, peer, peer_name);
}

int main(int argc, char **argv)
{
	static struct bench bench;

	bench.frame_len = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1514;
	bench.n_rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000;
	if (bench.frame_len < 14 || bench.frame_len > 65000 || bench.n_rounds == 0 ||
	    bench.n_rounds > ROUNDS_MAX)
		return 2;
	bench.n_buffers = (bench.frame_len + NET_HEADER_LEN + BUFFER_LEN - 1) / BUFFER_LEN;
	bench.batch = BATCH / bench.n_buffers;
	open_ours(&bench);
	open_peer(&bench);
	make_buffers(&bench);
	for (unsigned i = 0; i < bench.n_rounds; i++) {
		bench.times[OUR_TX][i] = our_tx(&bench);
		bench.times[PEER_TX][i] = peer_tx(&bench);
		bench.times[OUR_RX][i] = our_rx(&bench);
		bench.times[PEER_RX][i] = peer_rx(&bench);
	}
	report("net_tx", frames_per_s(&bench, OUR_TX), frames_per_s(&bench, PEER_TX),
	       "write(2) on a tap");
	report("net_rx", frames_per_s(&bench, OUR_RX), frames_per_s(&bench, PEER_RX),
	       "read(2) on a tap");
	free(bench.frames);
	wire_close(&bench.wire);
	return 0;
}
