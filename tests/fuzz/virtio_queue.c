// SPDX-License-Identifier: Apache-2.0
/* The split queue, and a console behind it, over guest memory that is the fuzzer's input. */
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_ring.h>

#include "virtio/console.h"
#include "virtio/queue.h"

#define LEN	 0x2000u
#define AVAIL	 0x800u
#define USED	 0xc00u
#define INDIRECT 0x1000u
#define TURNS	 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t memory[2][LEN] __attribute__((aligned(4096)));

static void make_queue(struct vq *vq, const struct mem *mem, uint8_t settings)
{
	*vq = (struct vq){.mem = mem,
			  .size = (uint16_t)(1u << (settings & 7)),
			  .max_size = 128,
			  .driver_gpa = AVAIL,
			  .device_gpa = USED,
			  .indirect = !(settings & 16)};
	if (vq_enable(vq, settings & 8) < 0)
		abort();
}

static void check_chain(const struct vq_chain *chain)
{
	const uint8_t *all = (const uint8_t *)memory;
	uint8_t bytes[64];
	uint64_t out = 0, in = 0;

	if (chain->n_out + chain->n_in > VQ_IOV_MAX || chain->n_out + chain->n_in == 0)
		abort();
	for (unsigned i = 0; i < chain->n_out + chain->n_in; i++) {
		const uint8_t *start = chain->iov[i].iov_base;
		uint64_t len = chain->iov[i].iov_len;

		if (len == 0 || start < all || start + len > all + sizeof(memory))
			abort();
		*(i < chain->n_out ? &out : &in) += len;
	}
	if (out != chain->out_len || in != chain->in_len)
		abort();
	vq_copy_out(chain, chain->out_len / 2, bytes, sizeof(bytes));
}

static void run_queue(const struct mem *mem, uint8_t settings)
{
	static struct vq_chain chain;
	struct vq vq;

	make_queue(&vq, mem, settings);
	for (unsigned i = 0; i < 2 * 128 && vq_pop(&vq, &chain) == 1; i++) {
		check_chain(&chain);
		if (i % 3 == 0)
			continue; /* stays in flight */
		vq_copy_in(&chain, 1, "0123456789", 10);
		vq_push(&vq, chain.head, 1);
		if (i % 2)
			vq_flush(&vq);
	}
	vq_want_kicks(&vq);
	if (vq.n_in_flight > vq.size)
		abort();
}

static void on_output(void *user, unsigned port, const void *data, size_t len)
{
	uint8_t *sum = user;

	(void)port;
	for (size_t i = 0; i < len; i++)
		*sum ^= ((const uint8_t *)data)[i];
}

static void on_kick_again(struct virtio_dev *dev, unsigned queue)
{
	(void)queue;
	(*(unsigned *)dev->transport)++;
}

static void on_drained(void *user)
{
	(void)user;
}

static void run_console(const struct mem *mem, uint8_t settings)
{
	struct vq queues[2] = {{.mem = mem}};
	struct virtio_dev *dev;
	unsigned again = 0;
	uint8_t sum = 0;

	if (virtio_console_new(&dev, on_output, &sum) < 0)
		abort();
	make_queue(&queues[1], mem, settings);
	dev->queues = queues;
	dev->kick_again = on_kick_again;
	dev->transport = &again;
	dev->log_limit.used = UINT32_MAX / 2; /* silent */
	dev->ops->activate(dev);
	for (unsigned turn = 0; turn < TURNS && !dev->broken; turn++) {
		unsigned before = again;

		dev->ops->kick(dev, 1);
		if (again == before)
			break;
	}
	dev->ops->reset(dev, on_drained, NULL);
	dev->ops->destroy(dev);
}

/* Where a queue begins, and a descriptor, in an input. */
struct start {
	uint8_t settings, n_available, heads[16];
};

struct piece {
	uint16_t addr, len;
	uint8_t flags, next;
};

/* Descriptors for the table, then for an indirect one; address and length are such that they often
 * fit. */
static void fill(const struct start *start, const uint8_t *data, size_t size)
{
	struct vring_avail *avail = (struct vring_avail *)(void *)&memory[0][AVAIL];
	unsigned queue_size = 1u << (start->settings & 7);

	memset(memory, 0xa5, sizeof(memory));
	avail->flags = start->settings >> 4;
	avail->idx = start->n_available;
	for (unsigned i = 0; i < queue_size + 1; i++)
		avail->ring[i] = start->heads[i % 16];
	for (unsigned i = 0; i < 32 && size >= sizeof(struct piece); i++) {
		struct piece piece;
		struct vring_desc desc;

		memcpy(&piece, data, sizeof(piece));
		data += sizeof(piece);
		size -= sizeof(piece);
		desc = (struct vring_desc){.addr = piece.flags & 0x40 ? INDIRECT : piece.addr,
					   .len = (uint32_t)piece.len
						  << (piece.flags & 0x80 ? 16 : 0),
					   .flags = piece.flags & 7,
					   .next = piece.next};
		memcpy(&memory[0][i < 16 ? i * sizeof(desc) : INDIRECT + (i - 16) * sizeof(desc)],
		       &desc, sizeof(desc));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct mem mem = {
		.n_regions = 2,
		.regions = {{.start = 0, .len = LEN, .host = memory[0]},
			    {.start = LEN, .len = LEN, .host = memory[1]}},
	};

	struct start start;

	if (size < sizeof(start))
		return 0;
	memcpy(&start, data, sizeof(start));
	fill(&start, data + sizeof(start), size - sizeof(start));
	run_queue(&mem, start.settings);
	fill(&start, data + sizeof(start), size - sizeof(start));
	run_console(&mem, start.settings);
	return 0;
}
