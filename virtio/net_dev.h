// SPDX-License-Identifier: Apache-2.0
/*
 * What the files of virtio-net share: net.c (life of the device, configuration), net_rx.c,
 * net_tx.c, net_ctrl.c.
 *
 * A tap is read and written by plain calls in the loop thread, which never block, once a poll of
 * the ring said that it is readable: so nothing of the device is ever under way in guest memory,
 * and a reset has only polls and timers to wait for. Measured (Linux 6.18, 1514 bytes): write(2)
 * 440 ns, a WRITEV of a batch in the ring 430 ns, read(2) 400 ns, a READV of a batch 380 ns; two
 * segments cost a call some 50 ns more, which is more than copying a short frame. So short frames
 * are copied once, through our memory, and long ones go between tap and guest directly. Multishot
 * reads (Linux 6.7) would need buffers of the ring's own, which the restricted ring has not.
 */
#pragma once

#include <net/if.h>

#include "virtio/net.h"

/* The kernel's struct of this name is the device's configuration (§5.1.4), not ours. */
#define virtio_net_config linux_virtio_net_config
#include <linux/virtio_net.h>
#undef virtio_net_config

#define NET_HEADER_LEN ((uint32_t)sizeof(struct virtio_net_hdr_v1))
/* A frame with its header: a segmentation offload's 64 KiB, Ethernet's and two VLANs' headers. */
#define NET_FRAME_MAX (NET_HEADER_LEN + 65536u + 14u + 8u)
#define NET_FRAME_MIN (NET_HEADER_LEN + 14u)
/* Frames up to this length are copied, header included. */
#define NET_COPY_MAX 2048u
/* Of one queue in one turn of the loop. */
#define NET_TURN_FRAMES 256u
#define NET_TURN_BYTES	(1u << 20)
/* Used buffers of short frames are shown to the driver after so many, those of long ones at once:
 * it works beside us, and TCP sends no more than a few long frames ahead. */
#define NET_FLUSH_FRAMES 32u
/* Receive buffers held for a frame. 43 of Linux's smallest make one of 64 KiB. */
#define NET_HELD_MAX  128u
#define NET_HELD_IOV  (NET_HELD_MAX + VQ_IOV_MAX)
#define NET_QUEUES(n) (2 * (n) + 1)

struct net;
struct net_pair;

/* A receive buffer that was popped; its segments follow one another in net_rx.iov. */
struct net_held {
	uint16_t head;
	uint16_t n_iov;
	uint32_t len;
};

struct net_rx {
	struct loop_op poll, cancel;
	bool armed;	   /* the poll, or another try to start it, is under way */
	bool deferred;	   /* that other try */
	bool cancelling;   /* another try to cancel it is under way */
	bool running;	   /* frames are taken from the tap */
	bool charged;	   /* the rate limit let the present frame pass */
	unsigned n_errors; /* polls in a row that brought errors only */
	unsigned n_direct; /* so many more frames are read straight into guest memory */
	/* The frame taken off the tap and not delivered yet; 0: none. What of it lies within
	 * direct_len bytes behind the header is in the segments held, the header and the rest in
	 * `frame`. */
	uint32_t frame_len, direct_len;
	unsigned n_held, n_iov;
	uint64_t held_len;	     /* bytes of the buffers held */
	void (*drained)(void *user); /* of a reset of this queue alone */
	void *drained_user;
	struct net_held held[NET_HELD_MAX];
	struct iovec iov[NET_HELD_IOV];
	struct iovec read_iov[NET_HELD_IOV + 2];
	uint8_t frame[NET_FRAME_MAX + 1]; /* one more, to notice what was cut off */
};

struct net_tx {
	bool waiting; /* `chain` waits for the rate limit */
	struct vq_chain chain;
	struct iovec iov[VQ_IOV_MAX + 1];
	uint8_t frame[NET_COPY_MAX]; /* a short frame, or the header of a long one */
};

struct net_pair {
	struct net *net;
	unsigned index;
	int fd, slot;
	bool attached; /* the tap's queue takes part */
	struct net_rx rx;
	struct net_tx tx;
};

struct net_ctrl {
	struct rate_limit limit; /* commands make the host's kernel take a lock of all networks */
	bool waiting;		 /* `chain` waits for it */
	struct vq_chain chain;
};

struct net_counters {
	uint64_t rx_frames, rx_bytes, rx_drops, rx_errors, rx_starved, rx_throttled;
	uint64_t tx_frames, tx_bytes, tx_drops, tx_errors, tx_throttled;
};

struct net {
	struct virtio_dev dev;
	struct loop *loop;
	unsigned n_pairs, n_active;
	uint8_t mac[6], first_mac[6]; /* the guest's choice, and what a reset goes back to */
	uint16_t mtu;
	bool link_up;
	unsigned tap_offloads; /* TUN_F_*: what the tap was told last */
	uint64_t offloads;     /* VIRTIO_NET_F_GUEST_*: in force */
	bool rx_limited, tx_limited;
	struct rate_limit rx_limit, tx_limit;
	unsigned first_rx, first_tx; /* pairs take turns at what a limit lets pass */
	bool resetting;
	void (*drained)(void *user);
	void *drained_user;
	struct net_ctrl ctrl;
	struct net_counters counters;
	struct vq_chain chain; /* the receive buffer being looked at */
	struct log_limit log_limit;
	struct net_pair pairs[]; /* n_pairs */
};

static inline bool net_negotiated(const struct net *net, unsigned feature)
{
	return net->dev.negotiated & (UINT64_C(1) << feature);
}

static inline struct vq *net_rx_vq(const struct net_pair *pair)
{
	return &pair->net->dev.queues[2 * pair->index];
}

static inline struct vq *net_tx_vq(const struct net_pair *pair)
{
	return &pair->net->dev.queues[2 * pair->index + 1];
}

/* Whether to publish what was used up to the n-th frame of a turn, counted from 0. */
static inline bool net_is_time_to_publish(unsigned n, uint32_t frame_len)
{
	return frame_len > NET_COPY_MAX || n % NET_FLUSH_FRAMES == NET_FLUSH_FRAMES - 1;
}

/* net.c */

/* The offloads (VIRTIO_NET_F_GUEST_*) that the driver negotiated. */
uint64_t net_guest_offloads(const struct net *net);

/* The control queue's number: the third, where the driver knows of no more pairs (§5.1.2). */
unsigned net_ctrl_queue(const struct net *net);

/* Tells the tap which offloads (VIRTIO_NET_F_GUEST_*) the guest can do. 0 or a negative errno. */
int net_set_offloads(struct net *net, uint64_t offloads);

/* Lets the first n pairs take part and no other. 0 or a negative errno. */
int net_set_pairs(struct net *net, unsigned n);

/* To be called when something that a reset waits for has ended. */
void net_maybe_drained(struct net *net);

/* net_rx.c */
void net_rx_init(struct net_pair *pair);
/* The driver gave buffers, the limit lets frames pass, or the pair takes part from now on. */
void net_rx_run(struct net_pair *pair);
/* Takes no more frames; what is under way ends soon (net_rx_idle()). */
void net_rx_pause(struct net_pair *pair);
/* Forgets the buffers held, too. */
void net_rx_stop(struct net_pair *pair);
bool net_rx_idle(const struct net_pair *pair);
/* net_rx_stop(), then drained(user) once the pair is idle, maybe at once. */
void net_rx_reset(struct net_pair *pair, void (*drained)(void *user), void *user);

/* net_tx.c: sends what the driver made available. */
void net_tx_run(struct net_pair *pair);

/* net_ctrl.c: carries out commands. */
void net_ctrl_run(struct net *net);
