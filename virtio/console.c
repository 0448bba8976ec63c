// SPDX-License-Identifier: Apache-2.0
#include "virtio/console.h"

#include <errno.h>
#include <stdlib.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "base/util.h"

#define QUEUE_TRANSMIT 1u
#define CHUNK_LEN      4096u
#define TURN_LEN       (64u * 1024) /* bytes passed on in one turn of the loop */

struct console {
	struct virtio_dev dev;
	void (*output)(void *user, const void *data, size_t len);
	void *user;
	bool busy; /* `chain` is under way, up to `done` */
	uint32_t done;
	struct vq_chain chain;
};

static struct console *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct console, dev);
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *data, uint32_t len)
{
	(void)dev;
	/* Without its features the configuration has no valid field (§5.3.4). */
	virtio_config_copy(NULL, 0, off, data, len);
}

static int activate(struct virtio_dev *dev)
{
	from_dev(dev)->busy = false;
	return 0;
}

/* Passes on at most *budget bytes of the present chain, through a copy: the guest may still be
 * writing to its own. */
static void pass_on(struct console *console, uint32_t *budget)
{
	uint8_t chunk[CHUNK_LEN];

	while (*budget > 0) {
		size_t want = *budget < CHUNK_LEN ? *budget : CHUNK_LEN;
		size_t n = vq_copy_out(&console->chain, console->done, chunk, want);

		if (n == 0)
			return;
		console->output(console->user, chunk, n);
		console->done += (uint32_t)n;
		*budget -= (uint32_t)n;
	}
}

/* Works through the queue until it is empty (1), the turn's budget is used up (0), or it is broken
 * (negative). */
static int transmit(struct console *console, struct vq *vq)
{
	uint32_t budget = TURN_LEN;

	for (unsigned n = 0; n < vq->size && budget > 0; n++) {
		if (!console->busy) {
			int r = vq_pop(vq, &console->chain);

			if (r <= 0)
				return r < 0 ? r : 1;
			console->busy = true;
			console->done = 0;
		}
		pass_on(console, &budget);
		if (console->done < console->chain.out_len)
			return 0;
		vq_push(vq, console->chain.head, 0);
		console->busy = false;
	}
	return 0;
}

static void kick(struct virtio_dev *dev, unsigned queue)
{
	struct vq *vq = &dev->queues[queue];
	int r;

	if (queue != QUEUE_TRANSMIT)
		return;
	vq_no_kicks(vq);
	r = transmit(from_dev(dev), vq);
	vq_flush(vq);
	if (r < 0)
		virtio_dev_broken(dev, "its transmit queue");
	else if (r == 0 || vq_want_kicks(vq))
		dev->kick_again(dev, queue);
}

static void reset(struct virtio_dev *dev, void (*drained)(void *user), void *user)
{
	from_dev(dev)->busy = false;
	drained(user);
}

static void destroy(struct virtio_dev *dev)
{
	free(from_dev(dev));
}

static const struct virtio_ops console_ops = {
	.id = VIRTIO_ID_CONSOLE,
	.pci_class = 0x078000, /* communication controller, other */
	.name = "console",
	.config_read = config_read,
	.activate = activate,
	.kick = kick,
	.reset = reset,
	.destroy = destroy,
};

int virtio_console_new(struct virtio_dev **out,
		       void (*output)(void *user, const void *data, size_t len), void *user)
{
	struct console *console = calloc(1, sizeof(*console));

	if (!console)
		return -ENOMEM;
	console->dev.ops = &console_ops;
	console->dev.n_queues = 2;
	console->dev.queue_size_max = 64;
	console->dev.offered = UINT64_C(1) << VIRTIO_F_VERSION_1 |
			       UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC |
			       UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX;
	console->output = output;
	console->user = user;
	*out = &console->dev;
	return 0;
}
