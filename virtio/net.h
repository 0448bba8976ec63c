// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-net (virtio 1.2 §5.1) over taps: a descriptor per queue pair, opened with IFF_VNET_HDR and
 * IFF_NO_PI (IFF_MULTI_QUEUE for more than one). The loop's poll tells that a tap is readable;
 * frames then go by read(2), write(2), readv(2) and writev(2) that never block, with the tap's own
 * header, so checksums and segmentation are left to whoever does them last (net_dev.h says why not
 * through the ring). Offloads, mergeable receive buffers, a control queue, status, queue reset.
 * While it runs it also needs ioctl(2) with TUNSETOFFLOAD and TUNSETQUEUE. Nobody is trusted: the
 * guest's headers are checked, and frames from the tap are bounded. Loop thread.
 */
#pragma once

#include "base/loop.h"
#include "virtio/device.h"
#include "virtio/rate_limit.h"

#define VIRTIO_NET_PAIRS_MAX 8u
#define VIRTIO_NET_MTU_MAX   65535u

struct virtio_net_config {
	unsigned n_pairs;
	int taps[VIRTIO_NET_PAIRS_MAX]; /* borrowed for the call: copies are kept */
	uint8_t mac[6];
	uint16_t mtu;	     /* 0: 1500 */
	unsigned queue_size; /* 0: VIRTIO_QUEUE_SIZE, which is also the least */
	struct rate rx, tx;  /* as the guest sees it */
};

/*
 * Sets the taps' header size and offloads up, and O_NONBLOCK, which holds for every copy of their
 * descriptors; only the first queue of a tap takes part until the driver asks for more. Returns 0
 * and *out, or a negative errno (-EINVAL: not a tap with a virtio header, queues of different taps,
 * a multicast MAC, an MTU below 68, no pair or too many, a bad queue size).
 */
int virtio_net_new(struct virtio_dev **out, struct loop *loop,
		   const struct virtio_net_config *config);

/* Pulls or plugs the cable: the guest sees it in its status, and frames of both directions are
 * dropped while it is pulled. */
void virtio_net_set_link(struct virtio_dev *dev, bool up);
