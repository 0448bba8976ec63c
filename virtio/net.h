// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-net (virtio 1.2 §5.1) over taps: a descriptor per queue pair, opened with IFF_VNET_HDR and
 * IFF_NO_PI (IFF_MULTI_QUEUE for more than one). Frames go between tap and guest memory by READV
 * and WRITEV, with the tap's own header, so checksums and segmentation are left to whoever does
 * them last. Offloads, mergeable receive buffers, a control queue, status. Nobody is trusted: the
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
	int taps[VIRTIO_NET_PAIRS_MAX]; /* borrowed for the call: the loop keeps them */
	uint8_t mac[6];
	uint16_t mtu;	    /* 0: 1500 */
	struct rate rx, tx; /* as the guest sees it */
};

/*
 * Sets the taps' header size and offloads up. Returns 0 and *out, or a negative errno (-EINVAL: not
 * a tap with a virtio header, a multicast MAC, no pair or too many).
 */
int virtio_net_new(struct virtio_dev **out, struct loop *loop,
		   const struct virtio_net_config *config);

/* Pulls or plugs the cable: the guest sees it in its status. */
void virtio_net_set_link(struct virtio_dev *dev, bool up);
