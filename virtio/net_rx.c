// SPDX-License-Identifier: Apache-2.0
/*
 * Frames to the guest. One is taken off the tap whether the driver has buffers or not; it then
 * waits in our memory for buffers (the driver is asked for a notification) or for the rate limit,
 * and the tap keeps the others. A poll is armed only when the tap was found empty, and it tells
 * what is there already: so no wakeup is lost when tap and queue are both full.
 */
#include "virtio/net_dev.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"

/* After a long frame so many are read directly, since long ones come in rows. */
#define DIRECT_FRAMES 32u
/* Polls that bring errors only until the tap is given up. */
#define POLL_ERRORS_MAX 8u

/* What became of a step: go on, wait (for a kick, a timer, a poll), or negative: broken. */
enum { STEP_ON = 0, STEP_WAIT = 1 };

static void forget_frame(struct net_rx *rx)
{
	rx->frame_len = 0;
	rx->charged = false;
}

static void drop_frame(struct net_pair *pair)
{
	pair->net->counters.rx_drops++;
	forget_frame(&pair->rx);
}

static void arm(struct net_pair *pair)
{
	struct net_rx *rx = &pair->rx;

	if (rx->armed)
		return;
	rx->armed = true;
	rx->deferred = loop_poll(pair->net->loop, &rx->poll, pair->slot, POLLIN) < 0;
	if (rx->deferred)
		loop_defer(pair->net->loop, &rx->poll);
}

static void give_up(struct net_pair *pair, int error)
{
	uint32_t suppressed;

	pair->rx.running = false;
	pair->net->counters.rx_errors++;
	if (log_allowed(&pair->net->log_limit, 5, &suppressed))
		log_warning("dev=net queue=%u err=%d why=\"the tap cannot be read\" suppressed=%u",
			    2 * pair->index, error, suppressed);
}

/* Receive buffers. */

static bool room_to_hold(const struct net_rx *rx)
{
	return rx->n_held < NET_HELD_MAX && rx->n_iov + VQ_IOV_MAX <= NET_HELD_IOV;
}

/* Pops one more buffer into those held: as vq_pop(), and negative for one that cannot be written
 * to. */
static int hold_one(struct net_pair *pair)
{
	struct vq_chain *chain = &pair->net->chain;
	struct net_rx *rx = &pair->rx;
	int r = vq_pop(net_rx_vq(pair), chain);

	if (r <= 0)
		return r;
	if (chain->n_out > 0 || chain->in_len < NET_HEADER_LEN)
		return -EBADMSG;
	rx->held[rx->n_held++] = (struct net_held){
		.head = chain->head, .n_iov = (uint16_t)chain->n_in, .len = chain->in_len};
	memcpy(&rx->iov[rx->n_iov], chain->iov, chain->n_in * sizeof(chain->iov[0]));
	rx->n_iov += chain->n_in;
	rx->held_len += chain->in_len;
	return 1;
}

static bool enough_held(const struct net_pair *pair, uint32_t len)
{
	const struct net_rx *rx = &pair->rx;

	if (net_negotiated(pair->net, VIRTIO_NET_F_MRG_RXBUF))
		return rx->held_len >= len;
	return rx->n_held > 0;
}

/* Holds as much as there is, up to len bytes: 1 when that is enough, 0, or negative. */
static int hold(struct net_pair *pair, uint32_t len)
{
	while (!enough_held(pair, len)) {
		int r = room_to_hold(&pair->rx) ? hold_one(pair) : 0;

		if (r <= 0)
			return r;
	}
	return 1;
}

/* Lets go of the first n buffers held, which were given back. */
static void unhold(struct net_rx *rx, unsigned n)
{
	unsigned n_iov = 0;

	if (n == rx->n_held) {
		rx->n_held = rx->n_iov = 0;
		rx->held_len = 0;
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		n_iov += rx->held[i].n_iov;
		rx->held_len -= rx->held[i].len;
	}
	rx->n_held -= n;
	rx->n_iov -= n_iov;
	memmove(rx->held, rx->held + n, rx->n_held * sizeof(rx->held[0]));
	memmove(rx->iov, rx->iov + n_iov, rx->n_iov * sizeof(rx->iov[0]));
}

/* Whether the driver can have no other buffer: all that its queue takes are held. */
static bool holds_all(const struct net_pair *pair)
{
	const struct vq *vq = net_rx_vq(pair);

	return pair->rx.n_held == vq->size || (!vq->indirect && pair->rx.n_iov >= vq->size);
}

/* Copies into the segments held, from `offset` on; they have the room. */
static void copy_to_held(const struct net_rx *rx, size_t offset, const uint8_t *from, size_t len)
{
	const struct iovec *iov = rx->iov;

	for (; offset >= iov->iov_len; iov++)
		offset -= iov->iov_len;
	while (len > 0) {
		size_t part = iov->iov_len - offset;

		if (part > len)
			part = len;
		memcpy((uint8_t *)iov->iov_base + offset, from, part);
		from += part;
		len -= part;
		offset = 0;
		iov++;
	}
}

/* Reading. */

/* The header into our memory, then what fits into the segments held, the rest into ours again. */
static int direct_segments(struct net_rx *rx)
{
	size_t skip = NET_HEADER_LEN, direct = 0;
	int n = 0;

	rx->read_iov[n++] = (struct iovec){.iov_base = rx->frame, .iov_len = NET_HEADER_LEN};
	for (unsigned i = 0; i < rx->n_iov && direct < NET_FRAME_MAX; i++) {
		size_t len = rx->iov[i].iov_len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		rx->read_iov[n++] = (struct iovec){
			.iov_base = (uint8_t *)rx->iov[i].iov_base + skip, .iov_len = len - skip};
		direct += len - skip;
		skip = 0;
	}
	rx->direct_len = direct < NET_FRAME_MAX ? (uint32_t)direct : NET_FRAME_MAX;
	rx->read_iov[n++] = (struct iovec){.iov_base = rx->frame + NET_HEADER_LEN,
					   .iov_len = sizeof(rx->frame) - NET_HEADER_LEN};
	return n;
}

/* #syscalls loop: read readv */
static ssize_t read_tap(struct net_pair *pair)
{
	struct net_rx *rx = &pair->rx;

	if (rx->n_direct == 0) {
		rx->direct_len = 0;
		return read(pair->fd, rx->frame, sizeof(rx->frame));
	}
	rx->n_direct--;
	return readv(pair->fd, rx->read_iov, direct_segments(rx));
}

/* Takes a frame off the tap. */
static int take_frame(struct net_pair *pair)
{
	struct net_rx *rx = &pair->rx;
	ssize_t n;

	if (rx->n_direct > 0 && pair->net->link_up && hold(pair, NET_FRAME_MAX) < 0)
		return -EBADMSG;
	do
		n = read_tap(pair);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN) {
		arm(pair);
		return STEP_WAIT;
	}
	if (n < 0) {
		give_up(pair, errno);
		return STEP_WAIT;
	}
	rx->n_errors = 0;
	if ((uint32_t)n > NET_FRAME_MAX || (uint32_t)n < NET_HEADER_LEN || !pair->net->link_up) {
		drop_frame(pair);
		return STEP_ON;
	}
	rx->frame_len = (uint32_t)n;
	if (rx->frame_len > NET_COPY_MAX)
		rx->n_direct = DIRECT_FRAMES;
	return STEP_ON;
}

/* Delivering. */

/* Whether the buffers held have the room; without MRG_RXBUF the first alone must. */
static bool fits(const struct net_pair *pair)
{
	return net_negotiated(pair->net, VIRTIO_NET_F_MRG_RXBUF) ||
	       pair->rx.held[0].len >= pair->rx.frame_len;
}

/* False for a frame that the tap queued before the driver said what it can do. */
static bool driver_can(const struct net_pair *pair)
{
	const uint64_t csum = UINT64_C(1) << VIRTIO_NET_F_GUEST_CSUM,
		       tso = UINT64_C(1) << VIRTIO_NET_F_GUEST_TSO4 |
			     UINT64_C(1) << VIRTIO_NET_F_GUEST_TSO6;
	uint64_t offloads = pair->net->offloads;
	const uint8_t *header = pair->rx.frame;
	uint8_t flags = header[offsetof(struct virtio_net_hdr_v1, flags)];

	if (header[offsetof(struct virtio_net_hdr_v1, gso_type)] && !(offloads & tso))
		return false;
	return !(flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || offloads & csum;
}

/* Gives the buffers of the frame back, all of which are written before the first is. */
static void push_buffers(struct net_pair *pair, unsigned n_buffers)
{
	struct net_rx *rx = &pair->rx;
	uint32_t left = rx->frame_len;

	for (unsigned i = 0; i < n_buffers; i++) {
		uint32_t part = rx->held[i].len < left ? rx->held[i].len : left;

		vq_push(net_rx_vq(pair), rx->held[i].head, part);
		left -= part;
	}
	unhold(rx, n_buffers);
}

/* The fields that the tap does not set, or that the driver must not see (§5.1.6.4.1). They are put
 * in place after the frame: the copy of bytes just written would have to wait for them. */
static void finish_header(const struct net_pair *pair, unsigned n_buffers)
{
	const struct net_rx *rx = &pair->rx;
	const size_t at = offsetof(struct virtio_net_hdr_v1, num_buffers);
	uint16_t num_buffers = htole16((uint16_t)n_buffers);
	uint8_t flags = 0;

	if (rx->iov[0].iov_len >= NET_HEADER_LEN)
		memcpy((uint8_t *)rx->iov[0].iov_base + at, &num_buffers, sizeof(num_buffers));
	else
		copy_to_held(rx, at, (const uint8_t *)&num_buffers, sizeof(num_buffers));
	if (!(pair->net->offloads & UINT64_C(1) << VIRTIO_NET_F_GUEST_CSUM))
		copy_to_held(rx, 0, &flags, sizeof(flags));
}

static void deliver(struct net_pair *pair)
{
	struct net *net = pair->net;
	struct net_rx *rx = &pair->rx;
	uint32_t at = NET_HEADER_LEN + rx->direct_len;
	unsigned n_buffers = 0;

	for (uint64_t covered = 0; covered < rx->frame_len; n_buffers++)
		covered += rx->held[n_buffers].len;
	if (rx->direct_len == 0) {
		copy_to_held(rx, 0, rx->frame, rx->frame_len);
	} else {
		copy_to_held(rx, 0, rx->frame, NET_HEADER_LEN);
		if (at < rx->frame_len)
			copy_to_held(rx, at, rx->frame + NET_HEADER_LEN, rx->frame_len - at);
	}
	finish_header(pair, n_buffers);
	net->counters.rx_frames++;
	net->counters.rx_bytes += rx->frame_len - NET_HEADER_LEN;
	push_buffers(pair, n_buffers);
	forget_frame(rx);
}

/* Waits for buffers, unless none can come that would help. */
static int starve(struct net_pair *pair)
{
	if (!room_to_hold(&pair->rx) || holds_all(pair)) {
		drop_frame(pair);
		return STEP_ON;
	}
	if (vq_want_kicks(net_rx_vq(pair)))
		return STEP_ON;
	pair->net->counters.rx_starved++;
	return STEP_WAIT;
}

static bool may_go(struct net_pair *pair)
{
	struct net *net = pair->net;
	struct net_rx *rx = &pair->rx;

	if (!net->rx_limited || rx->charged)
		return true;
	rx->charged =
		rate_limit_take(&net->rx_limit, rx->frame_len - NET_HEADER_LEN, clock_now_ns());
	if (!rx->charged)
		net->counters.rx_throttled++;
	return rx->charged;
}

/* Brings the frame that was taken to the guest. */
static int place_frame(struct net_pair *pair)
{
	struct net_rx *rx = &pair->rx;
	int r;

	if (!may_go(pair))
		return STEP_WAIT;
	r = hold(pair, rx->frame_len);
	if (r < 0)
		return r;
	if (r == 0)
		return starve(pair);
	if (fits(pair) && driver_can(pair))
		deliver(pair);
	else
		drop_frame(pair);
	return STEP_ON;
}

/* Frames of one turn. What is left after it is found by the poll. */
static int receive_frames(struct net_pair *pair)
{
	struct net_rx *rx = &pair->rx;
	uint64_t bytes = 0;

	for (unsigned n = 0; n < NET_TURN_FRAMES && bytes < NET_TURN_BYTES; n++) {
		int r = rx->frame_len ? STEP_ON : take_frame(pair);
		uint32_t len = rx->frame_len;

		bytes += len;
		if (r == STEP_ON && rx->frame_len)
			r = place_frame(pair);
		if (r != STEP_ON)
			return r;
		if (net_is_time_to_publish(n, len))
			vq_flush(net_rx_vq(pair));
	}
	/* Buffers for the present frame came just now: no poll tells of them, nor a notification.
	 */
	if (rx->frame_len)
		pair->net->dev.kick_again(&pair->net->dev, 2 * pair->index);
	else
		arm(pair);
	return STEP_WAIT;
}

void net_rx_run(struct net_pair *pair)
{
	struct net_rx *rx = &pair->rx;
	struct vq *vq = net_rx_vq(pair);
	int r;

	/* A reset of the queue ends first. */
	if (pair->net->dev.broken || !vq->enabled || pair->index >= pair->net->n_active ||
	    rx->drained)
		return;
	rx->running = true;
	if (rx->armed) /* the poll under way, even a cancelled one, runs this again */
		return;
	vq_no_kicks(vq);
	r = receive_frames(pair);
	vq_flush(vq);
	if (r < 0)
		virtio_dev_broken(&pair->net->dev, "a receive buffer without room, or its queue");
}

/* Tells who waits for a reset of the queue, when that has ended. */
static void tell_drained(struct net_pair *pair)
{
	void (*drained)(void *user) = pair->rx.drained;

	if (!drained || !net_rx_idle(pair))
		return;
	pair->rx.drained = NULL;
	drained(pair->rx.drained_user);
}

/* The end of a poll, of whatever kind. */
static void on_poll(struct loop_op *op, int res, uint32_t flags)
{
	struct net_pair *pair = container_of(op, struct net_pair, rx.poll);
	struct net_rx *rx = &pair->rx;

	(void)flags;
	rx->armed = rx->deferred = false;
	if (rx->drained) {
		tell_drained(pair); /* who may free the device */
		return;
	}
	if (pair->net->resetting) {
		net_maybe_drained(pair->net);
		return;
	}
	if (!rx->running || pair->index >= pair->net->n_active)
		return;
	if (res != -ECANCELED && (res < 0 || res & POLLERR))
		rx->n_errors++;
	if (rx->n_errors > POLL_ERRORS_MAX)
		give_up(pair, res < 0 ? -res : EIO);
	else
		net_rx_run(pair);
}

static void cancel(struct net_pair *pair)
{
	struct net_rx *rx = &pair->rx;

	if (!rx->armed || rx->deferred || rx->cancelling)
		return;
	rx->cancelling = loop_cancel(pair->net->loop, &rx->poll) < 0;
	if (rx->cancelling)
		loop_defer(pair->net->loop, &rx->cancel);
}

static void on_cancel(struct loop_op *op, int res, uint32_t flags)
{
	struct net_pair *pair = container_of(op, struct net_pair, rx.cancel);

	pair->rx.cancelling = false;
	if (pair->rx.armed)
		cancel(pair);
	else
		on_poll(&pair->rx.poll, res, flags); /* it ended by itself: who waits may go on */
}

void net_rx_init(struct net_pair *pair)
{
	pair->rx.poll.done = on_poll;
	pair->rx.cancel.done = on_cancel;
}

void net_rx_pause(struct net_pair *pair)
{
	struct net_rx *rx = &pair->rx;

	rx->running = false;
	forget_frame(rx);
	rx->n_direct = rx->n_errors = 0;
	cancel(pair);
}

void net_rx_stop(struct net_pair *pair)
{
	net_rx_pause(pair);
	unhold(&pair->rx, pair->rx.n_held);
}

bool net_rx_idle(const struct net_pair *pair)
{
	return !pair->rx.armed && !pair->rx.cancelling;
}

void net_rx_reset(struct net_pair *pair, void (*drained)(void *user), void *user)
{
	struct net_rx *rx = &pair->rx;

	net_rx_stop(pair);
	rx->drained = drained;
	rx->drained_user = user;
	tell_drained(pair);
}
