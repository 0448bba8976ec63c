// SPDX-License-Identifier: Apache-2.0
#include "virtio/memdev.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mem.h>
#include <linux/virtio_ring.h>

#include "base/util.h"

#define QUEUE_SIZE 16u
/* Of a turn: each is some system calls, and unplugging flushes the vCPUs' TLBs. */
#define TURN_BLOCKS 32u

/* Blocks [at, end) are still to be plugged or unplugged, [first, at) are done. */
struct request {
	bool busy, plugging;
	unsigned first, at, end;
	uint16_t answer;
};

struct memdev {
	struct virtio_dev dev;
	struct memdev_host host;
	gpa_t start;
	uint64_t len, block_size, target; /* bytes */
	unsigned n_blocks, n_plugged;
	struct request request;
	struct vq_chain chain; /* the request's */
	uint64_t plugs, unplugs, n_refused;
};

static struct memdev *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct memdev, dev);
}

static const struct memdev *from_const_dev(const struct virtio_dev *dev)
{
	return from_dev((struct virtio_dev *)(uintptr_t)dev);
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *data, uint32_t len)
{
	const struct memdev *memdev = from_dev(dev);
	const struct virtio_mem_config config = {
		.block_size = htole64(memdev->block_size),
		.addr = htole64(memdev->start),
		.region_size = htole64(memdev->len),
		.usable_region_size = htole64(memdev->len),
		.plugged_size = htole64(virtio_memdev_plugged(dev)),
		.requested_size = htole64(memdev->target),
	};

	virtio_config_copy(&config, sizeof(config), off, data, len);
}

/* Without this feature the driver may read what is unplugged (§5.15.3). */
static int activate(struct virtio_dev *dev)
{
	return dev->negotiated & (1u << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE) ? 0 : -ENOTSUP;
}

static bool is_plugged(const struct memdev *memdev, unsigned block)
{
	return memdev->host.plugged[block / 64] & (UINT64_C(1) << (block % 64));
}

static unsigned count_plugged(const struct memdev *memdev, unsigned first, unsigned end)
{
	unsigned n = 0;

	for (unsigned block = first; block < end; block++)
		n += is_plugged(memdev, block);
	return n;
}

static void answer(struct memdev *memdev, uint16_t type, uint16_t state)
{
	const struct virtio_mem_resp resp = {.type = htole16(type),
					     .u.state.state = htole16(state)};

	memdev->request.busy = false;
	memdev->n_refused += type != VIRTIO_MEM_RESP_ACK;
	vq_copy_in(&memdev->chain, 0, &resp, sizeof(resp));
	vq_push(&memdev->dev.queues[0], memdev->chain.head, sizeof(resp));
}

/* The blocks of a request; false when they are not in the region. */
static bool find_blocks(const struct memdev *memdev, uint64_t gpa, uint16_t n, unsigned *first,
			unsigned *end)
{
	uint64_t off = gpa - memdev->start; /* of what lies before the region: far too large */

	if (off % memdev->block_size || n == 0 ||
	    !range_fits(off / memdev->block_size, n, memdev->n_blocks))
		return false;
	*first = (unsigned)(off / memdev->block_size);
	*end = *first + n;
	return true;
}

static void begin(struct memdev *memdev, bool plugging, unsigned first, unsigned end)
{
	memdev->request = (struct request){.busy = true,
					   .plugging = plugging,
					   .first = first,
					   .at = first,
					   .end = end,
					   .answer = VIRTIO_MEM_RESP_ACK};
}

static void start_plug(struct memdev *memdev, unsigned first, unsigned end)
{
	uint64_t n = memdev->n_plugged + (uint64_t)(end - first);

	if (count_plugged(memdev, first, end) > 0)
		answer(memdev, VIRTIO_MEM_RESP_ERROR, 0);
	else if (n * memdev->block_size > memdev->target)
		answer(memdev, VIRTIO_MEM_RESP_NACK, 0);
	else
		begin(memdev, true, first, end);
}

static void start_unplug(struct memdev *memdev, unsigned first, unsigned end)
{
	if (count_plugged(memdev, first, end) < end - first)
		answer(memdev, VIRTIO_MEM_RESP_ERROR, 0);
	else
		begin(memdev, false, first, end);
}

static void tell_state(struct memdev *memdev, unsigned first, unsigned end)
{
	unsigned n = count_plugged(memdev, first, end);
	uint16_t state = VIRTIO_MEM_STATE_MIXED;

	if (n == 0)
		state = VIRTIO_MEM_STATE_UNPLUGGED;
	else if (n == end - first)
		state = VIRTIO_MEM_STATE_PLUGGED;
	answer(memdev, VIRTIO_MEM_RESP_ACK, state);
}

static void start_request(struct memdev *memdev, const struct virtio_mem_req *req)
{
	uint16_t type = le16toh(req->type);
	unsigned first, end;

	if (type == VIRTIO_MEM_REQ_UNPLUG_ALL) {
		begin(memdev, false, 0, memdev->n_blocks);
		return;
	}
	/* The three others have the same form (§5.15.6). */
	if (type > VIRTIO_MEM_REQ_STATE ||
	    !find_blocks(memdev, le64toh(req->u.plug.addr), le16toh(req->u.plug.nb_blocks), &first,
			 &end))
		answer(memdev, VIRTIO_MEM_RESP_ERROR, 0);
	else if (type == VIRTIO_MEM_REQ_PLUG)
		start_plug(memdev, first, end);
	else if (type == VIRTIO_MEM_REQ_UNPLUG)
		start_unplug(memdev, first, end);
	else
		tell_state(memdev, first, end);
}

/* Takes a request from the queue: 1, or 0 when there is none, or negative when the queue is broken.
 */
static int next_request(struct memdev *memdev, struct vq *vq)
{
	struct virtio_mem_req req;
	int r = vq_pop(vq, &memdev->chain);

	if (r <= 0)
		return r;
	if (memdev->chain.out_len < sizeof(req) ||
	    memdev->chain.in_len < sizeof(struct virtio_mem_resp))
		return -EBADMSG;
	vq_copy_out(&memdev->chain, 0, &req, sizeof(req));
	start_request(memdev, &req);
	return 1;
}

static int plug_block(struct memdev *memdev, unsigned block)
{
	int r = memdev->host.plug(memdev->host.user, block);

	if (r < 0)
		return r;
	memdev->n_plugged++;
	memdev->plugs++;
	return 0;
}

static int unplug_block(struct memdev *memdev, unsigned block)
{
	int r = memdev->host.unplug(memdev->host.user, block);

	if (r < 0)
		return r;
	memdev->n_plugged--;
	memdev->unplugs++;
	return 0;
}

/* All or nothing: what was plugged goes again, and the driver may retry. */
static void undo_plug(struct memdev *memdev)
{
	struct request *request = &memdev->request;

	request->plugging = false;
	request->end = request->at;
	request->at = request->first;
	request->answer = VIRTIO_MEM_RESP_BUSY;
}

/* One block. Negative when it cannot be unplugged: the driver would be told what is not so. */
static int step(struct memdev *memdev)
{
	struct request *request = &memdev->request;
	unsigned block = request->at;

	if (request->plugging) {
		if (plug_block(memdev, block) < 0) {
			undo_plug(memdev);
			return 0;
		}
	} else if (is_plugged(memdev, block)) { /* UNPLUG_ALL names the others, too */
		int r = unplug_block(memdev, block);

		if (r < 0)
			return r;
	}
	request->at++;
	return 0;
}

/* 1 when the queue is empty, 0 when more may come, negative when the device is broken. */
static int serve(struct memdev *memdev, struct vq *vq)
{
	for (unsigned n = 0; n < TURN_BLOCKS && !vq->stopped; n++) {
		int r;

		if (!memdev->request.busy) {
			r = next_request(memdev, vq);
			if (r <= 0)
				return r < 0 ? r : 1;
		} else if (memdev->request.at < memdev->request.end) {
			r = step(memdev);
			if (r < 0)
				return r;
		} else {
			answer(memdev, memdev->request.answer, 0);
		}
	}
	return vq->stopped;
}

static void kick(struct virtio_dev *dev, unsigned queue)
{
	struct vq *vq = &dev->queues[queue];
	int r;

	vq_no_kicks(vq);
	r = serve(from_dev(dev), vq);
	vq_flush(vq);
	if (r < 0)
		virtio_dev_broken(dev, "its request queue");
	else if (r == 0 || vq_want_kicks(vq))
		dev->kick_again(dev, queue);
}

/* A request that is cut off leaves some of its blocks changed, as config_read() and STATE tell. */
static void reset(struct virtio_dev *dev, void (*drained)(void *user), void *user)
{
	from_dev(dev)->request.busy = false;
	drained(user);
}

static void reset_queue(struct virtio_dev *dev, unsigned queue, void (*drained)(void *user),
			void *user)
{
	(void)queue;
	reset(dev, drained, user);
}

/* The answer, to who unplugs the memory in which it is to lie. */
static bool writes_unplugged(const struct virtio_dev *dev, const struct mem *mem)
{
	const struct memdev *memdev = from_const_dev(dev);
	const struct vq_chain *chain = &memdev->chain;

	return memdev->request.busy &&
	       !mem_are_plugged(mem, chain->iov + chain->n_out, chain->n_in);
}

static unsigned counters(const struct virtio_dev *dev, struct virtio_counter *out, unsigned max)
{
	const struct memdev *memdev = from_const_dev(dev);
	const struct virtio_counter all[] = {
		{"region_bytes", memdev->len},	   {"block_bytes", memdev->block_size},
		{"target_bytes", memdev->target},  {"plugged_bytes", virtio_memdev_plugged(dev)},
		{"plugged_blocks", memdev->plugs}, {"unplugged_blocks", memdev->unplugs},
		{"refused", memdev->n_refused},
	};

	return virtio_counters_copy(all, ARRAY_SIZE(all), out, max);
}

static void destroy(struct virtio_dev *dev)
{
	free(from_dev(dev));
}

static const struct virtio_ops memdev_ops = {
	.id = VIRTIO_ID_MEM,
	.pci_class = 0x050000, /* memory controller, RAM */
	.name = "mem",
	.config_read = config_read,
	.activate = activate,
	.kick = kick,
	.reset = reset,
	.reset_queue = reset_queue,
	.writes_unplugged = writes_unplugged,
	.counters = counters,
	.destroy = destroy,
};

int virtio_memdev_new(struct virtio_dev **out, gpa_t start, uint64_t len, uint64_t block_size,
		      const struct memdev_host *host)
{
	struct memdev *memdev;
	gpa_t end;

	if (!is_power_of_two(block_size) || block_size < MEMDEV_BLOCK_MIN || start % block_size ||
	    len % block_size || len == 0 || len / block_size > MEMDEV_BLOCKS_MAX ||
	    !checked_add(start, len, &end))
		return -EINVAL;
	memdev = calloc(1, sizeof(*memdev));
	if (!memdev)
		return -ENOMEM;
	memdev->dev.ops = &memdev_ops;
	memdev->dev.n_queues = 1;
	memdev->dev.queue_size_max = QUEUE_SIZE;
	memdev->dev.offered =
		UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC |
		UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX | 1u << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE;
	memdev->host = *host;
	memdev->start = start;
	memdev->len = len;
	memdev->block_size = block_size;
	memdev->n_blocks = (unsigned)(len / block_size);
	*out = &memdev->dev;
	return 0;
}

void virtio_memdev_set_target(struct virtio_dev *dev, uint64_t bytes)
{
	struct memdev *memdev = from_dev(dev);
	uint64_t target = (bytes < memdev->len ? bytes : memdev->len) & ~(memdev->block_size - 1);

	if (target == memdev->target)
		return;
	memdev->target = target;
	if (dev->transport)
		dev->config_changed(dev);
}

uint64_t virtio_memdev_target(const struct virtio_dev *dev)
{
	return from_const_dev(dev)->target;
}

uint64_t virtio_memdev_plugged(const struct virtio_dev *dev)
{
	const struct memdev *memdev = from_const_dev(dev);

	return memdev->n_plugged * memdev->block_size;
}
