// SPDX-License-Identifier: Apache-2.0
/*
 * The control queue (§5.1.6.5). Nothing is filtered: a tap is a link between two, so that what the
 * guest asks to receive or not changes nothing, and its tables are only checked. Commands are
 * limited in number, as some make the host's kernel take the lock of all its networks.
 */
#include "virtio/net_dev.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"

/* Copies exactly the command's data, which lie behind its header. */
static bool take_data(const struct net *net, void *to, size_t len)
{
	const struct vq_chain *chain = &net->ctrl.chain;
	const size_t header = sizeof(struct virtio_net_ctrl_hdr);

	return chain->out_len == header + len && vq_copy_out(chain, header, to, len) == len;
}

static int set_rx_mode(const struct net *net, uint8_t cmd)
{
	uint8_t on;

	if (!net_negotiated(net, VIRTIO_NET_F_CTRL_RX) ||
	    (cmd != VIRTIO_NET_CTRL_RX_PROMISC && cmd != VIRTIO_NET_CTRL_RX_ALLMULTI))
		return -EOPNOTSUPP;
	return take_data(net, &on, sizeof(on)) && on <= 1 ? 0 : -EINVAL;
}

static int set_mac(struct net *net)
{
	uint8_t mac[6];

	if (!net_negotiated(net, VIRTIO_NET_F_CTRL_MAC_ADDR))
		return -EOPNOTSUPP;
	if (!take_data(net, mac, sizeof(mac)) || mac[0] & 1)
		return -EINVAL;
	memcpy(net->mac, mac, sizeof(mac));
	return 0;
}

/* Two tables, unicast and multicast, each a number and so many addresses: they must fill the data
 * exactly. */
static int check_mac_tables(const struct net *net)
{
	const struct vq_chain *chain = &net->ctrl.chain;
	uint64_t at = sizeof(struct virtio_net_ctrl_hdr);

	if (!net_negotiated(net, VIRTIO_NET_F_CTRL_RX))
		return -EOPNOTSUPP;
	for (unsigned i = 0; i < 2; i++) {
		uint32_t n;

		if (vq_copy_out(chain, at, &n, sizeof(n)) != sizeof(n))
			return -EINVAL;
		at += sizeof(n) + (uint64_t)le32toh(n) * 6;
		if (at > chain->out_len)
			return -EINVAL;
	}
	return at == chain->out_len ? 0 : -EINVAL;
}

static int set_pairs(struct net *net)
{
	uint16_t n;

	if (!net_negotiated(net, VIRTIO_NET_F_MQ))
		return -EOPNOTSUPP;
	if (!take_data(net, &n, sizeof(n)) || n == 0 || le16toh(n) > net->n_pairs)
		return -EINVAL;
	return net_set_pairs(net, le16toh(n));
}

static int set_guest_offloads(struct net *net)
{
	uint64_t offloads;

	if (!net_negotiated(net, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS))
		return -EOPNOTSUPP;
	if (!take_data(net, &offloads, sizeof(offloads)) ||
	    (le64toh(offloads) & ~net_guest_offloads(net)))
		return -EINVAL;
	return net_set_offloads(net, le64toh(offloads));
}

static int do_command(struct net *net)
{
	struct virtio_net_ctrl_hdr header;

	vq_copy_out(&net->ctrl.chain, 0, &header, sizeof(header));
	switch (header.class) {
	case VIRTIO_NET_CTRL_RX:
		return set_rx_mode(net, header.cmd);
	case VIRTIO_NET_CTRL_MAC:
		if (header.cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET)
			return check_mac_tables(net);
		return header.cmd == VIRTIO_NET_CTRL_MAC_ADDR_SET ? set_mac(net) : -EOPNOTSUPP;
	case VIRTIO_NET_CTRL_MQ:
		return header.cmd == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET ? set_pairs(net) : -EOPNOTSUPP;
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return header.cmd == VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ? set_guest_offloads(net)
									: -EOPNOTSUPP;
	default:
		return -EOPNOTSUPP;
	}
}

static int next_command(struct net *net, struct vq *vq)
{
	struct net_ctrl *ctrl = &net->ctrl;
	int r;

	if (ctrl->waiting)
		return 1;
	r = vq_pop(vq, &ctrl->chain);
	if (r == 1 && (ctrl->chain.in_len < sizeof(virtio_net_ctrl_ack) ||
		       ctrl->chain.out_len < sizeof(struct virtio_net_ctrl_hdr)))
		return -EBADMSG;
	return r;
}

/* 0: none is left, or the limit says wait. */
static int run_commands(struct net *net, struct vq *vq)
{
	struct net_ctrl *ctrl = &net->ctrl;
	int r;

	while ((r = next_command(net, vq)) == 1) {
		virtio_net_ctrl_ack ack = VIRTIO_NET_OK;

		ctrl->waiting = !rate_limit_take(&ctrl->limit, 0, clock_now_ns());
		if (ctrl->waiting)
			return 0;
		if (do_command(net) < 0)
			ack = VIRTIO_NET_ERR;
		vq_copy_in(&ctrl->chain, 0, &ack, sizeof(ack));
		vq_push(vq, ctrl->chain.head, sizeof(ack));
	}
	return r;
}

void net_ctrl_run(struct net *net)
{
	unsigned queue = net_ctrl_queue(net);
	struct vq *vq = &net->dev.queues[queue];
	int r;

	vq_no_kicks(vq);
	r = run_commands(net, vq);
	vq_flush(vq);
	if (r < 0)
		virtio_dev_broken(&net->dev, "a command without header or answer, or its queue");
	else if (!net->ctrl.waiting && vq_want_kicks(vq))
		net->dev.kick_again(&net->dev, queue);
}
