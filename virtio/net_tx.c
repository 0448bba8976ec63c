// SPDX-License-Identifier: Apache-2.0
/* Frames from the guest. Its header is copied once and checked here; the tap checks it again, and
 * the headers of the protocols, before anything is done by it (virtio_net_hdr_to_skb()). */
#include "virtio/net_dev.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

/* Which offload a kind of segmentation needs; 0: none is offered. */
static uint64_t offload_of(uint8_t gso_type)
{
	switch (gso_type) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return UINT64_C(1) << VIRTIO_NET_F_HOST_TSO4;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return UINT64_C(1) << VIRTIO_NET_F_HOST_TSO6;
	default:
		return 0;
	}
}

static bool valid_checksum(const struct net *net, const struct virtio_net_hdr_v1 *header,
			   uint32_t len)
{
	return net_negotiated(net, VIRTIO_NET_F_CSUM) &&
	       (uint32_t)le16toh(header->csum_start) + le16toh(header->csum_offset) + 2 <= len;
}

static bool valid_segmentation(const struct net *net, const struct virtio_net_hdr_v1 *header,
			       uint32_t len)
{
	uint8_t type = header->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;

	if (!(net->dev.negotiated & offload_of(type)))
		return false;
	if ((header->gso_type & VIRTIO_NET_HDR_GSO_ECN) &&
	    !net_negotiated(net, VIRTIO_NET_F_HOST_ECN))
		return false;
	/* §5.1.6.2: segments are checksummed anew, so the header says where. */
	return (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && header->gso_size != 0 &&
	       le16toh(header->hdr_len) <= len;
}

/* Checks our copy of a header for a frame of len bytes and clears what means nothing. */
static bool check_header(const struct net *net, struct virtio_net_hdr_v1 *header, uint32_t len)
{
	header->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header->num_buffers = 0;
	if (!header->flags)
		header->csum_start = header->csum_offset = 0;
	else if (!valid_checksum(net, header, len))
		return false;
	if (header->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		header->hdr_len = header->gso_size = 0;
	else if (!valid_segmentation(net, header, len))
		return false;
	return true;
}

/* #syscalls loop: write writev */
/* The header in our memory, the frame where it is. */
static ssize_t write_direct(struct net_pair *pair)
{
	struct net_tx *tx = &pair->tx;
	const struct vq_chain *chain = &tx->chain;
	size_t skip = NET_HEADER_LEN;
	int n = 0;

	tx->iov[n++] = (struct iovec){.iov_base = tx->frame, .iov_len = NET_HEADER_LEN};
	for (unsigned i = 0; i < chain->n_out; i++) {
		size_t len = chain->iov[i].iov_len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		tx->iov[n++] = (struct iovec){.iov_base = (uint8_t *)chain->iov[i].iov_base + skip,
					      .iov_len = len - skip};
		skip = 0;
	}
	return writev(pair->fd, tx->iov, n);
}

static ssize_t write_frame(struct net_pair *pair)
{
	struct net_tx *tx = &pair->tx;
	uint32_t len = tx->chain.out_len;
	bool copied = len <= NET_COPY_MAX;
	struct virtio_net_hdr_v1 header;

	if (len < NET_FRAME_MIN || len > NET_FRAME_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	vq_copy_out(&tx->chain, 0, tx->frame, copied ? len : NET_HEADER_LEN);
	memcpy(&header, tx->frame, sizeof(header));
	if (!check_header(pair->net, &header, len - NET_HEADER_LEN)) {
		errno = EPROTO;
		return -1;
	}
	memcpy(tx->frame, &header, sizeof(header));
	return copied ? write(pair->fd, tx->frame, len) : write_direct(pair);
}

/* The driver learns nothing of a frame that could not be sent; the counters tell. */
static void send_frame(struct net_pair *pair)
{
	struct net_counters *counters = &pair->net->counters;
	ssize_t n;

	if (!pair->net->link_up) {
		counters->tx_drops++;
		return;
	}
	do
		n = write_frame(pair);
	while (n < 0 && errno == EINTR);
	if (n >= 0) {
		counters->tx_frames++;
		counters->tx_bytes += pair->tx.chain.out_len - NET_HEADER_LEN;
	} else if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) {
		counters->tx_drops++; /* the host has no room, which TCP finds out */
	} else {
		counters->tx_errors++;
	}
}

/* Takes the next chain: as vq_pop(), and negative for one that is no frame. */
static int next_chain(struct net_pair *pair)
{
	struct net_tx *tx = &pair->tx;
	int r;

	if (tx->waiting)
		return 1;
	r = vq_pop(net_tx_vq(pair), &tx->chain);
	if (r == 1 && (tx->chain.n_in > 0 || tx->chain.out_len < NET_HEADER_LEN))
		return -EBADMSG;
	return r;
}

static bool may_go(struct net_pair *pair)
{
	struct net *net = pair->net;

	if (!net->tx_limited)
		return true;
	pair->tx.waiting = !rate_limit_take(&net->tx_limit, pair->tx.chain.out_len - NET_HEADER_LEN,
					    clock_now_ns());
	if (pair->tx.waiting)
		net->counters.tx_throttled++;
	return !pair->tx.waiting;
}

/* What was sent in a turn of the loop. */
struct turn {
	unsigned n_frames;
	uint64_t bytes;
};

/* 1: the queue is empty or the rate limit says wait, 0: the turn is over, negative: broken. */
static int send_frames(struct net_pair *pair, struct turn *turn)
{
	struct vq *vq = net_tx_vq(pair);

	for (; turn->n_frames < NET_TURN_FRAMES && turn->bytes < NET_TURN_BYTES; turn->n_frames++) {
		int r = next_chain(pair);

		if (r <= 0)
			return r < 0 ? r : 1;
		if (!may_go(pair))
			return 1;
		send_frame(pair);
		turn->bytes += pair->tx.chain.out_len;
		vq_push(vq, pair->tx.chain.head, 0);
		if (net_is_time_to_publish(turn->n_frames, pair->tx.chain.out_len))
			vq_flush(vq);
	}
	return 0;
}

void net_tx_run(struct net_pair *pair)
{
	struct virtio_dev *dev = &pair->net->dev;
	struct vq *vq = net_tx_vq(pair);
	struct turn turn = {0};
	int r;

	do {
		vq_no_kicks(vq);
		r = send_frames(pair, &turn);
		vq_flush(vq);
	} while (r > 0 && !pair->tx.waiting && vq_want_kicks(vq));
	if (r < 0)
		virtio_dev_broken(dev, "a frame to send without a header, or its queue");
	else if (r == 0)
		dev->kick_again(dev, 2 * pair->index + 1);
}
