// SPDX-License-Identifier: Apache-2.0
#include "virtio/net_dev.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/if_tun.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "base/cleanup.h"
#include "base/util.h"

#define BIT(n)	    (UINT64_C(1) << (n))
#define DEFAULT_MTU 1500u
#define MTU_MIN	    68u /* §5.1.4.1 */
#define GUEST_OFFLOADS                                                                             \
	(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |                             \
	 BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN))
#define FEATURES                                                                                   \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |                              \
	 BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) |         \
	 BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_CSUM) |            \
	 BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN) |  \
	 BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | \
	 BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | GUEST_OFFLOADS)

/* No driver sends so many, but a hostile one. */
static const struct rate ctrl_rate = {.ops_per_s = 100, .burst_ops = 64};

static struct net *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct net, dev);
}

uint64_t net_guest_offloads(const struct net *net)
{
	return net->dev.negotiated & GUEST_OFFLOADS;
}

unsigned net_ctrl_queue(const struct net *net)
{
	return net_negotiated(net, VIRTIO_NET_F_MQ) ? 2 * net->n_pairs : 2;
}

/* The kernel takes none without the checksum (§5.1.3.1 demands it as well). */
static unsigned tap_offloads(uint64_t offloads)
{
	unsigned flags = 0;

	if (!(offloads & BIT(VIRTIO_NET_F_GUEST_CSUM)))
		return 0;
	flags |= TUN_F_CSUM;
	if (offloads & BIT(VIRTIO_NET_F_GUEST_TSO4))
		flags |= TUN_F_TSO4;
	if (offloads & BIT(VIRTIO_NET_F_GUEST_TSO6))
		flags |= TUN_F_TSO6;
	if ((flags & (TUN_F_TSO4 | TUN_F_TSO6)) && (offloads & BIT(VIRTIO_NET_F_GUEST_ECN)))
		flags |= TUN_F_TSO_ECN;
	return flags;
}

/* #syscalls loop: ioctl(_, TUNSETOFFLOAD) ioctl(_, TUNSETQUEUE) */
int net_set_offloads(struct net *net, uint64_t offloads)
{
	unsigned flags = tap_offloads(offloads);

	if (flags != net->tap_offloads) {
		if (ioctl(net->pairs[0].fd, TUNSETOFFLOAD, flags) < 0)
			return -errno;
		net->tap_offloads = flags;
	}
	net->offloads = offloads;
	return 0;
}

static int set_attached(struct net_pair *pair, bool attached)
{
	struct ifreq request = {.ifr_flags = attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

	if (pair->attached == attached)
		return 0;
	if (ioctl(pair->fd, TUNSETQUEUE, &request) < 0)
		return -errno;
	pair->attached = attached;
	return 0;
}

/* As it was before a change that could not be made whole: a queue that takes part and is not read
 * would swallow its flows. */
static void restore_pairs(struct net *net)
{
	for (unsigned i = 0; i < net->n_pairs; i++)
		set_attached(&net->pairs[i], i < net->n_active);
}

/* Lets the first n queues of the tap take part, so that it spreads its flows over them. */
static int attach_pairs(struct net *net, unsigned n)
{
	for (unsigned i = 0; i < net->n_pairs; i++) {
		int r = set_attached(&net->pairs[i], i < n);

		if (r < 0) {
			restore_pairs(net);
			return r;
		}
	}
	net->n_active = n;
	return 0;
}

int net_set_pairs(struct net *net, unsigned n)
{
	int r = attach_pairs(net, n);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < net->n_pairs; i++) {
		if (i < n)
			net_rx_run(&net->pairs[i]);
		else
			net_rx_pause(&net->pairs[i]);
	}
	return 0;
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *data, uint32_t len)
{
	const struct net *net = from_dev(dev);
	struct linux_virtio_net_config config = {
		.status = htole16(net->link_up ? VIRTIO_NET_S_LINK_UP : 0),
		.max_virtqueue_pairs = htole16((uint16_t)net->n_pairs),
		.mtu = htole16(net->mtu),
	};

	memcpy(config.mac, net->mac, sizeof(config.mac));
	virtio_config_copy(&config, sizeof(config), off, data, len);
}

/* Receiving begins with the kicks that the transport adds. */
static int activate(struct virtio_dev *dev)
{
	struct net *net = from_dev(dev);
	int r = net_set_offloads(net, net_guest_offloads(net));

	if (r == 0)
		r = attach_pairs(net, 1);
	return r;
}

static void kick(struct virtio_dev *dev, unsigned queue)
{
	struct net *net = from_dev(dev);

	if (queue == net_ctrl_queue(net) && net_negotiated(net, VIRTIO_NET_F_CTRL_VQ))
		net_ctrl_run(net);
	else if (queue >= 2 * net->n_pairs)
		return;
	else if (queue % 2 == 0)
		net_rx_run(&net->pairs[queue / 2]);
	else
		net_tx_run(&net->pairs[queue / 2]);
}

void net_maybe_drained(struct net *net)
{
	void (*drained)(void *user) = net->drained;

	if (!net->resetting || net->rx_limit.waiting || net->tx_limit.waiting ||
	    net->ctrl.limit.waiting)
		return;
	for (unsigned i = 0; i < net->n_pairs; i++)
		if (!net_rx_idle(&net->pairs[i]))
			return;
	net->resetting = false;
	net->drained = NULL;
	memcpy(net->mac, net->first_mac, sizeof(net->mac));
	drained(net->drained_user);
}

static void on_rx_ready(void *user)
{
	struct net *net = user;

	if (net->resetting)
		net_maybe_drained(net);
	else if (net->dev.active) {
		unsigned first = ++net->first_rx;

		for (unsigned i = 0; i < net->n_active; i++)
			net_rx_run(&net->pairs[(first + i) % net->n_active]);
	}
}

static void on_tx_ready(void *user)
{
	struct net *net = user;
	unsigned first = ++net->first_tx;

	if (net->resetting) {
		net_maybe_drained(net);
		return;
	}
	for (unsigned i = 0; i < net->n_pairs && net->dev.active && !net->dev.broken; i++) {
		struct net_pair *pair = &net->pairs[(first + i) % net->n_pairs];

		if (pair->tx.waiting)
			net_tx_run(pair);
	}
}

static void on_ctrl_ready(void *user)
{
	struct net *net = user;

	if (net->resetting)
		net_maybe_drained(net);
	else if (net->ctrl.waiting && net->dev.active && !net->dev.broken)
		net_ctrl_run(net);
}

static void reset(struct virtio_dev *dev, void (*drained)(void *user), void *user)
{
	struct net *net = from_dev(dev);

	net->resetting = true;
	net->drained = drained;
	net->drained_user = user;
	for (unsigned i = 0; i < net->n_pairs; i++) {
		net_rx_stop(&net->pairs[i]);
		net->pairs[i].tx.waiting = false;
	}
	net->ctrl.waiting = false;
	rate_limit_stop(&net->rx_limit);
	rate_limit_stop(&net->tx_limit);
	rate_limit_stop(&net->ctrl.limit);
	net_maybe_drained(net);
}

/* Nothing is under way in guest memory between turns; only a poll may have to end. */
static void reset_queue(struct virtio_dev *dev, unsigned queue, void (*drained)(void *user),
			void *user)
{
	struct net *net = from_dev(dev);

	if (queue == net_ctrl_queue(net)) {
		net->ctrl.waiting = false;
	} else if (queue < 2 * net->n_pairs) {
		struct net_pair *pair = &net->pairs[queue / 2];

		if (queue % 2) {
			pair->tx.waiting = false;
		} else {
			net_rx_reset(pair, drained, user);
			return;
		}
	}
	drained(user);
}

/* What waits is the buffers held for frames, and a command's answer; a frame to be sent is only
 * read. */
static bool writes_unplugged(const struct virtio_dev *dev, const struct mem *mem)
{
	const struct net *net = from_dev((struct virtio_dev *)(uintptr_t)dev); /* only read */
	const struct vq_chain *command = &net->ctrl.chain;

	if (net->ctrl.waiting &&
	    !mem_are_plugged(mem, command->iov + command->n_out, command->n_in))
		return true;
	for (unsigned i = 0; i < net->n_pairs; i++)
		if (!mem_are_plugged(mem, net->pairs[i].rx.iov, net->pairs[i].rx.n_iov))
			return true;
	return false;
}

static unsigned counters(const struct virtio_dev *dev, struct virtio_counter *out, unsigned max)
{
	/* Only read. */
	const struct net_counters *c = &from_dev((struct virtio_dev *)(uintptr_t)dev)->counters;
	const struct virtio_counter all[] = {
		{"rx_frames", c->rx_frames},	   {"rx_bytes", c->rx_bytes},
		{"rx_drops", c->rx_drops},	   {"rx_errors", c->rx_errors},
		{"rx_starved", c->rx_starved},	   {"rx_throttled", c->rx_throttled},
		{"tx_frames", c->tx_frames},	   {"tx_bytes", c->tx_bytes},
		{"tx_drops", c->tx_drops},	   {"tx_errors", c->tx_errors},
		{"tx_throttled", c->tx_throttled},
	};

	return virtio_counters_copy(all, ARRAY_SIZE(all), out, max);
}

static void destroy(struct virtio_dev *dev)
{
	struct net *net = from_dev(dev);

	for (unsigned i = 0; i < net->n_pairs; i++) {
		/* The queue may outlive us, and is then as it was. */
		set_attached(&net->pairs[i], true);
		loop_slot_remove(net->loop, net->pairs[i].slot);
		close_fdp(&net->pairs[i].fd);
	}
	free(net);
}

static const struct virtio_ops net_ops = {
	.id = VIRTIO_ID_NET,
	.pci_class = 0x020000, /* Ethernet controller */
	.name = "net",
	.config_read = config_read,
	.activate = activate,
	.kick = kick,
	.reset = reset,
	.reset_queue = reset_queue,
	.writes_unplugged = writes_unplugged,
	.counters = counters,
	.destroy = destroy,
};

/*
 * #syscalls loop: ioctl(_, TUNGETIFF) ioctl(_, TUNSETVNETHDRSZ) ioctl(_, TUNSETVNETLE)
 *	fcntl(_, F_GETFL) fcntl(_, F_SETFL) fcntl(_, F_DUPFD_CLOEXEC)
 */
/* A tap as the device needs it; all of them queues of one interface. */
static int check_tap(int fd, const struct virtio_net_config *config, char name[IFNAMSIZ])
{
	const int wanted =
		IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (config->n_pairs > 1 ? IFF_MULTI_QUEUE : 0);
	struct ifreq request = {.ifr_flags = 0};

	if (ioctl(fd, TUNGETIFF, &request) < 0 ||
	    ((unsigned short)request.ifr_flags & wanted) != wanted)
		return -EINVAL;
	if (name[0] && strncmp(name, request.ifr_name, IFNAMSIZ) != 0)
		return -EINVAL;
	memcpy(name, request.ifr_name, IFNAMSIZ);
	return 0;
}

/* The header as virtio 1 has it, and nothing left of what was set before. */
static int set_up_tap(struct net *net, int fd)
{
	int header_len = sizeof(struct virtio_net_hdr_v1), little_endian = 1;

	if (ioctl(fd, TUNSETVNETHDRSZ, &header_len) < 0 ||
	    ioctl(fd, TUNSETVNETLE, &little_endian) < 0 || ioctl(fd, TUNSETOFFLOAD, 0) < 0)
		return -errno;
	net->tap_offloads = 0;
	return 0;
}

static int add_pair(struct net *net, int tap)
{
	struct net_pair *pair = &net->pairs[net->n_pairs];
	int flags = fcntl(tap, F_GETFL);

	/* Of the open file, and so for whoever made it, too. */
	if (flags < 0 || fcntl(tap, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	pair->net = net;
	pair->index = net->n_pairs;
	pair->attached = true;
	pair->slot = -1;
	net_rx_init(pair);
	pair->fd = fcntl(tap, F_DUPFD_CLOEXEC, 0);
	if (pair->fd < 0)
		return -errno;
	net->n_pairs++;
	pair->slot = loop_slot_add(net->loop, tap);
	return pair->slot < 0 ? pair->slot : 0;
}

static int add_pairs(struct net *net, const struct virtio_net_config *config)
{
	char name[IFNAMSIZ] = "";
	int r = 0;

	for (unsigned i = 0; i < config->n_pairs && r == 0; i++) {
		r = check_tap(config->taps[i], config, name);
		if (r == 0)
			r = add_pair(net, config->taps[i]);
	}
	if (r == 0)
		r = set_up_tap(net, net->pairs[0].fd);
	return r == 0 ? attach_pairs(net, 1) : r;
}

static bool is_limit(const struct rate *rate)
{
	return rate->bytes_per_s || rate->ops_per_s;
}

static void init_net(struct net *net, struct loop *loop, const struct virtio_net_config *config)
{
	net->dev.ops = &net_ops;
	net->dev.offered = FEATURES;
	if (config->n_pairs > 1)
		net->dev.offered |= BIT(VIRTIO_NET_F_MQ);
	net->dev.n_queues = NET_QUEUES(config->n_pairs);
	net->dev.queue_size_max = virtio_queue_size(config->queue_size);
	net->loop = loop;
	net->mtu = config->mtu ? config->mtu : DEFAULT_MTU;
	net->link_up = true;
	memcpy(net->mac, config->mac, sizeof(net->mac));
	memcpy(net->first_mac, config->mac, sizeof(net->first_mac));
	net->rx_limited = is_limit(&config->rx);
	net->tx_limited = is_limit(&config->tx);
	rate_limit_init(&net->rx_limit, loop, &config->rx, on_rx_ready, net);
	rate_limit_init(&net->tx_limit, loop, &config->tx, on_tx_ready, net);
	rate_limit_init(&net->ctrl.limit, loop, &ctrl_rate, on_ctrl_ready, net);
}

int virtio_net_new(struct virtio_dev **out, struct loop *loop,
		   const struct virtio_net_config *config)
{
	struct net *net;
	int r;

	if (config->n_pairs == 0 || config->n_pairs > VIRTIO_NET_PAIRS_MAX || config->mac[0] & 1 ||
	    (config->mtu && config->mtu < MTU_MIN) || virtio_queue_size(config->queue_size) == 0)
		return -EINVAL;
	net = calloc(1, sizeof(*net) + config->n_pairs * sizeof(net->pairs[0]));
	if (!net)
		return -ENOMEM;
	init_net(net, loop, config);
	r = add_pairs(net, config);
	if (r < 0) {
		destroy(&net->dev);
		return r;
	}
	*out = &net->dev;
	return 0;
}

void virtio_net_set_link(struct virtio_dev *dev, bool up)
{
	struct net *net = from_dev(dev);

	if (net->link_up == up)
		return;
	net->link_up = up;
	if (net_negotiated(net, VIRTIO_NET_F_STATUS))
		dev->config_changed(dev);
}
