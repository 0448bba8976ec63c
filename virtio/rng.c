// SPDX-License-Identifier: Apache-2.0
#include "virtio/rng.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/random.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "base/clock.h"
#include "base/util.h"

#define QUEUE_SIZE    16u
#define RATE_BYTES    (64u * 1024) /* a second, and at once after a rest */
#define PAUSE_NS      (100 * NS_PER_MS)
#define GETRANDOM_MAX 256u /* up to here getrandom(2) is never cut short */

struct rng {
	struct virtio_dev dev;
	struct loop *loop;
	struct loop_timer timer;
	bool waiting;	 /* the timer is under way */
	uint32_t tokens; /* bytes that may be given */
	uint64_t refilled_ns;
	uint64_t n_requests, n_bytes, n_throttled;
	void (*drained)(void *user); /* a reset waits for the timer */
	void *drained_user;
	struct vq_chain chain;
};

static struct rng *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct rng, dev);
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *data, uint32_t len)
{
	(void)dev;
	virtio_config_copy(NULL, 0, off, data, len);
}

static int activate(struct virtio_dev *dev)
{
	(void)dev;
	return 0;
}

/* The budget lives on over resets, or a reset would be the way around it. */
static void refill(struct rng *rng)
{
	uint64_t now_ns = clock_now_ns(), passed_ns = now_ns - rng->refilled_ns;
	uint64_t earned;

	if (passed_ns > NS_PER_S)
		passed_ns = NS_PER_S;
	earned = passed_ns * RATE_BYTES / NS_PER_S;
	if (earned == 0)
		return;
	rng->tokens = (uint32_t)(rng->tokens + earned);
	if (rng->tokens > RATE_BYTES)
		rng->tokens = RATE_BYTES;
	rng->refilled_ns = now_ns;
}

/* #syscalls loop: getrandom(_, _, 0) */
/* Fills as much of the chain as there are tokens for. Returns the bytes written: at least one
 * (§5.4.6.1), or a negative errno. */
static int fill(struct rng *rng)
{
	const struct vq_chain *chain = &rng->chain;
	uint32_t want = chain->in_len < rng->tokens ? chain->in_len : rng->tokens, done = 0;

	while (done < want) {
		uint8_t bytes[GETRANDOM_MAX];
		uint32_t part = want - done < GETRANDOM_MAX ? want - done : GETRANDOM_MAX;

		if (getrandom(bytes, part, 0) != (ssize_t)part)
			return done ? (int)done : -EIO;
		vq_copy_in(chain, done, bytes, part);
		done += part;
		rng->tokens -= part;
	}
	return (int)done;
}

static void wait_for_tokens(struct rng *rng)
{
	if (rng->waiting)
		return;
	rng->waiting = true;
	rng->n_throttled++;
	if (loop_timer_start(rng->loop, &rng->timer, clock_now_ns() + PAUSE_NS) < 0)
		loop_defer(rng->loop, &rng->timer.op);
}

/* Serves requests: 1 when the queue is empty, 0 when more may come, negative when it is broken. */
static int serve(struct rng *rng, struct vq *vq)
{
	for (unsigned n = 0; n < vq->size; n++) {
		int r, written;

		if (rng->tokens == 0) {
			wait_for_tokens(rng);
			return 1;
		}
		r = vq_pop(vq, &rng->chain);
		if (r <= 0)
			return r < 0 ? r : 1;
		if (rng->chain.n_in == 0 || rng->chain.n_out > 0)
			return -EBADMSG;
		written = fill(rng);
		if (written < 0)
			return written;
		vq_push(vq, rng->chain.head, (uint32_t)written);
		rng->n_requests++;
		rng->n_bytes += (uint64_t)written;
	}
	return 0;
}

static void kick(struct virtio_dev *dev, unsigned queue)
{
	struct rng *rng = from_dev(dev);
	struct vq *vq = &dev->queues[queue];
	int r;

	if (rng->waiting)
		return;
	refill(rng);
	vq_no_kicks(vq);
	r = serve(rng, vq);
	vq_flush(vq);
	if (r < 0)
		virtio_dev_broken(dev, "its request queue");
	else if (r == 0 || (!rng->waiting && vq_want_kicks(vq)))
		dev->kick_again(dev, queue);
}

static void on_timer(struct loop_op *op, int res, uint32_t flags)
{
	struct rng *rng = container_of(op, struct rng, timer.op);

	(void)res;
	(void)flags;
	rng->waiting = false;
	if (rng->drained) {
		void (*drained)(void *user) = rng->drained;

		rng->drained = NULL;
		drained(rng->drained_user);
	} else if (rng->dev.active && !rng->dev.broken) {
		kick(&rng->dev, 0);
	}
}

static void reset(struct virtio_dev *dev, void (*drained)(void *user), void *user)
{
	struct rng *rng = from_dev(dev);

	if (!rng->waiting) {
		drained(user);
		return;
	}
	rng->drained = drained;
	rng->drained_user = user;
	/* Should there be no room for the cancellation, the timer ends soon enough by itself. */
	loop_cancel(rng->loop, &rng->timer.op);
}

/* No request is held from one turn to the next. The budget is the device's. */
static void reset_queue(struct virtio_dev *dev, unsigned queue, void (*drained)(void *user),
			void *user)
{
	(void)dev;
	(void)queue;
	drained(user);
}

static unsigned counters(const struct virtio_dev *dev, struct virtio_counter *out, unsigned max)
{
	const struct rng *rng = (const struct rng *)(const void *)dev;
	const struct virtio_counter all[] = {
		{"requests", rng->n_requests},
		{"bytes", rng->n_bytes},
		{"throttled", rng->n_throttled},
	};

	_Static_assert(offsetof(struct rng, dev) == 0, "a cast that keeps the const");
	return virtio_counters_copy(all, ARRAY_SIZE(all), out, max);
}

static void destroy(struct virtio_dev *dev)
{
	free(from_dev(dev));
}

static const struct virtio_ops rng_ops = {
	.id = VIRTIO_ID_RNG,
	.pci_class = 0x108000, /* encryption controller, other */
	.name = "rng",
	.config_read = config_read,
	.activate = activate,
	.kick = kick,
	.reset = reset,
	.reset_queue = reset_queue,
	.counters = counters,
	.destroy = destroy,
};

int virtio_rng_new(struct virtio_dev **out, struct loop *loop)
{
	struct rng *rng = calloc(1, sizeof(*rng));

	if (!rng)
		return -ENOMEM;
	rng->dev.ops = &rng_ops;
	rng->dev.n_queues = 1;
	rng->dev.queue_size_max = QUEUE_SIZE;
	rng->dev.offered = UINT64_C(1) << VIRTIO_F_VERSION_1 |
			   UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC |
			   UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX;
	rng->loop = loop;
	rng->timer.op.done = on_timer;
	rng->tokens = RATE_BYTES;
	rng->refilled_ns = clock_now_ns();
	*out = &rng->dev;
	return 0;
}
