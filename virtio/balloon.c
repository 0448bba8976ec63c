// SPDX-License-Identifier: Apache-2.0
#include "virtio/balloon.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_balloon.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "base/clock.h"
#include "base/util.h"

#define PAGE	   4096u /* of the device, whatever the guest's are */
#define QUEUE_SIZE 128u
/* The bounds of a turn: each discard may make every vCPU flush its TLB, and freeing memory takes
 * its time too. */
#define TURN_PFNS     1024u
#define TURN_DISCARDS 256u
#define TURN_BYTES    (256u << 20)
#define CHUNK_PFNS    256u
#define STATS_MAX     16u /* kinds of them in one buffer; Linux knows 10 */
#define STATS_PERIOD  NS_PER_S

enum kind { KIND_INFLATE, KIND_DEFLATE, KIND_STATS, KIND_REPORTING, KINDS };

/* A chain that is worked off, over several turns if it is long. */
struct work {
	bool busy;
	uint64_t done; /* bytes of the chain */
	struct vq_chain chain;
};

/* What a turn may still do. */
struct budget {
	unsigned pfns, discards;
	uint64_t bytes;
};

/* Pages that follow each other and have not been discarded yet. */
struct run {
	uint8_t *host;
	uint64_t len;
};

struct balloon {
	struct virtio_dev dev;
	void (*discard)(void *user, void *host, uint64_t len);
	void *user;
	uint32_t target_pages;
	uint32_t given_pages; /* the driver's word */
	bool stats_held;      /* the driver's buffer waits here until statistics are wanted */
	uint16_t stats_head;
	uint64_t asked_ns; /* when it was last given back; 0: never */
	struct balloon_stats stats;
	struct work inflate, reporting;
	struct vq_chain chain; /* of the other queues: the one being looked at */
	uint64_t n_inflated, n_ignored, n_discards, reported_bytes, n_stats;
};

static struct balloon *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct balloon, dev);
}

static const struct balloon *from_const_dev(const struct virtio_dev *dev)
{
	return from_dev((struct virtio_dev *)(uintptr_t)dev);
}

/* Queues that were not negotiated leave no gap: so number Linux and QEMU them, whatever §5.5.2
 * says. */
static enum kind kind_of(const struct virtio_dev *dev, unsigned queue)
{
	bool stats = dev->negotiated & (1u << VIRTIO_BALLOON_F_STATS_VQ);
	bool reporting = dev->negotiated & (1u << VIRTIO_BALLOON_F_REPORTING);

	if (queue <= KIND_DEFLATE)
		return (enum kind)queue;
	if (queue == 2 && stats)
		return KIND_STATS;
	if (queue == (stats ? 3u : 2u) && reporting)
		return KIND_REPORTING;
	return KINDS;
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *data, uint32_t len)
{
	const struct balloon *balloon = from_dev(dev);
	const struct virtio_balloon_config config = {
		.num_pages = htole32(balloon->target_pages),
		.actual = htole32(balloon->given_pages),
	};

	virtio_config_copy(&config, sizeof(config), off, data, len);
}

static void config_write(struct virtio_dev *dev, uint32_t off, const void *data, uint32_t len)
{
	uint32_t value;

	if (off != offsetof(struct virtio_balloon_config, actual) || len != sizeof(value))
		return;
	memcpy(&value, data, sizeof(value));
	from_dev(dev)->given_pages = le32toh(value);
}

static int activate(struct virtio_dev *dev)
{
	(void)dev;
	return 0;
}

/* 1 when there is a chain to work on, 0 when the queue is empty, negative when it is broken. */
static int next_work(struct vq *vq, struct work *work)
{
	int r;

	if (vq->stopped)
		return 0;
	if (work->busy)
		return 1;
	r = vq_pop(vq, &work->chain);
	if (r <= 0)
		return r;
	work->busy = true;
	work->done = 0;
	return 1;
}

static void finish_work(struct vq *vq, struct work *work)
{
	work->busy = false;
	vq_push(vq, work->chain.head, 0);
}

static void discard(struct balloon *balloon, struct budget *budget, void *host, uint64_t len)
{
	balloon->discard(balloon->user, host, len);
	balloon->n_discards++;
	budget->discards--;
	budget->bytes -= len < budget->bytes ? len : budget->bytes;
}

static void end_run(struct balloon *balloon, struct budget *budget, struct run *run)
{
	if (run->len > 0)
		discard(balloon, budget, run->host, run->len);
	run->len = 0;
}

/* Adds a page to the run, at either end of it, or begins another. */
static void add_page(struct balloon *balloon, struct budget *budget, struct run *run, uint8_t *page)
{
	if (run->len > 0 && page == run->host + run->len) {
		run->len += PAGE;
	} else if (run->len > 0 && page + PAGE == run->host) {
		run->host = page;
		run->len += PAGE;
	} else {
		end_run(balloon, budget, run);
		*run = (struct run){.host = page, .len = PAGE};
	}
}

/* Takes the next numbers of a chain, as far as the budget goes. False when it has none left. */
static bool inflate_chunk(struct balloon *balloon, const struct vq *vq, struct budget *budget,
			  struct run *run)
{
	struct work *work = &balloon->inflate;
	uint32_t pfns[CHUNK_PFNS];
	size_t n = vq_copy_out(&work->chain, work->done, pfns, sizeof(pfns)) / sizeof(pfns[0]);

	for (size_t i = 0; i < n && budget->pfns > 0 && budget->discards > 1; i++) {
		uint64_t gpa = (uint64_t)le32toh(pfns[i]) << VIRTIO_BALLOON_PFN_SHIFT;
		uint8_t *page = mem_ptr(vq->mem, gpa, PAGE);

		budget->pfns--;
		work->done += sizeof(pfns[0]);
		if (page) {
			balloon->n_inflated++;
			add_page(balloon, budget, run, page);
		} else {
			balloon->n_ignored++;
		}
	}
	return n > 0;
}

/* Each serve function returns 1 when its queue is empty, 0 when more may come, negative when it is
 * broken. */
static int serve_inflate(struct balloon *balloon, struct vq *vq)
{
	struct budget budget = {TURN_PFNS, TURN_DISCARDS, TURN_BYTES};
	struct run run = {0};
	int r = 1;

	/* The last discard is kept for the run that is open at the end. */
	while (budget.pfns > 0 && budget.discards > 1) {
		r = next_work(vq, &balloon->inflate);
		if (r <= 0)
			break;
		if (!inflate_chunk(balloon, vq, &budget, &run)) {
			finish_work(vq, &balloon->inflate);
			budget.pfns--; /* empty chains are work, too */
		}
	}
	end_run(balloon, &budget, &run);
	return r < 0 ? r : r == 0;
}

/* What the guest takes back it simply touches, without MUST_TELL_HOST even before it says so. */
static int serve_deflate(struct balloon *balloon, struct vq *vq)
{
	for (unsigned n = 0; n < vq->size; n++) {
		int r = vq_pop(vq, &balloon->chain);

		if (r <= 0)
			return r < 0 ? r : 1;
		vq_push(vq, balloon->chain.head, 0);
	}
	return 0;
}

static struct balloon_stats no_stats(void)
{
	return (struct balloon_stats){UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,	UINT64_MAX,
				      UINT64_MAX, UINT64_MAX, UINT64_MAX, .taken_ns = 0};
}

/* Kinds that came later are ignored. */
static void take_stat(struct balloon_stats *stats, unsigned tag, uint64_t value)
{
	uint64_t *const places[] = {
		[VIRTIO_BALLOON_S_SWAP_IN] = &stats->swap_in,
		[VIRTIO_BALLOON_S_SWAP_OUT] = &stats->swap_out,
		[VIRTIO_BALLOON_S_MAJFLT] = &stats->major_faults,
		[VIRTIO_BALLOON_S_MINFLT] = &stats->minor_faults,
		[VIRTIO_BALLOON_S_MEMFREE] = &stats->free_bytes,
		[VIRTIO_BALLOON_S_MEMTOT] = &stats->total_bytes,
		[VIRTIO_BALLOON_S_AVAIL] = &stats->available_bytes,
		[VIRTIO_BALLOON_S_CACHES] = &stats->cached_bytes,
	};

	if (tag < ARRAY_SIZE(places))
		*places[tag] = value;
}

/* Holds one buffer, which goes back to the driver to ask for the next statistics; more than one
 * would be against the rules (§5.5.6.3) and waits in the queue. */
static int serve_stats(struct balloon *balloon, struct vq *vq)
{
	struct virtio_balloon_stat stats[STATS_MAX];
	size_t n;
	int r;

	if (balloon->stats_held)
		return 1;
	r = vq_pop(vq, &balloon->chain);
	if (r <= 0)
		return r < 0 ? r : 1;
	balloon->stats_held = true;
	balloon->stats_head = balloon->chain.head;
	n = vq_copy_out(&balloon->chain, 0, stats, sizeof(stats)) / sizeof(stats[0]);
	balloon->stats = no_stats();
	balloon->stats.taken_ns = clock_now_ns();
	balloon->n_stats++;
	for (size_t i = 0; i < n; i++)
		take_stat(&balloon->stats, le16toh(stats[i].tag), le64toh(stats[i].val));
	return 1;
}

/* Discards the whole pages of the next piece of the chain's writable part, at most max bytes.
 * Returns how long the piece is; 0 at the end. */
static uint64_t report_piece(struct balloon *balloon, struct budget *budget)
{
	const struct vq_chain *chain = &balloon->reporting.chain;
	uint64_t offset = balloon->reporting.done;

	for (unsigned i = 0; i < chain->n_in; i++) {
		const struct iovec *iov = &chain->iov[chain->n_out + i];
		uint64_t len = iov->iov_len, part, skip, whole;
		uint8_t *host = iov->iov_base;

		if (offset >= len) {
			offset -= len;
			continue;
		}
		part = len - offset < budget->bytes ? len - offset : budget->bytes;
		skip = -((uintptr_t)host + offset) % PAGE;
		whole = part > skip ? (part - skip) / PAGE * PAGE : 0;
		if (whole > 0) {
			discard(balloon, budget, host + offset + skip, whole);
			balloon->reported_bytes += whole;
		} else {
			budget->discards--;
		}
		return part;
	}
	return 0;
}

static int serve_reporting(struct balloon *balloon, struct vq *vq)
{
	struct budget budget = {.discards = TURN_DISCARDS, .bytes = TURN_BYTES};

	while (budget.discards > 0 && budget.bytes > 0) {
		int r = next_work(vq, &balloon->reporting);
		uint64_t part;

		if (r <= 0)
			return r < 0 ? r : 1;
		part = report_piece(balloon, &budget);
		balloon->reporting.done += part;
		if (part == 0) {
			finish_work(vq, &balloon->reporting);
			budget.discards--; /* empty chains are work, too */
		}
	}
	return 0;
}

static int serve(struct balloon *balloon, enum kind kind, struct vq *vq)
{
	switch (kind) {
	case KIND_INFLATE:
		return serve_inflate(balloon, vq);
	case KIND_DEFLATE:
		return serve_deflate(balloon, vq);
	case KIND_STATS:
		return serve_stats(balloon, vq);
	case KIND_REPORTING:
		return serve_reporting(balloon, vq);
	case KINDS: /* of a feature that was not negotiated */
		break;
	}
	return 1;
}

/* Whether nothing is to be taken: a queue without a use, or the device has the statistics buffer.
 */
static bool is_waiting(const struct balloon *balloon, enum kind kind)
{
	return kind == KINDS || (kind == KIND_STATS && balloon->stats_held);
}

static void kick(struct virtio_dev *dev, unsigned queue)
{
	struct balloon *balloon = from_dev(dev);
	struct vq *vq = &dev->queues[queue];
	enum kind kind = kind_of(dev, queue);
	int r;

	vq_no_kicks(vq);
	r = serve(balloon, kind, vq);
	vq_flush(vq);
	if (r < 0)
		virtio_dev_broken(dev, "one of its queues");
	else if (r == 0 || (vq_want_kicks(vq) && !is_waiting(balloon, kind)))
		dev->kick_again(dev, queue);
}

static void forget(struct balloon *balloon, enum kind kind)
{
	if (kind == KIND_INFLATE)
		balloon->inflate.busy = false;
	else if (kind == KIND_STATS)
		balloon->stats_held = false;
	else if (kind == KIND_REPORTING)
		balloon->reporting.busy = false;
}

static void reset(struct virtio_dev *dev, void (*drained)(void *user), void *user)
{
	struct balloon *balloon = from_dev(dev);

	for (enum kind kind = 0; kind < KINDS; kind++)
		forget(balloon, kind);
	balloon->stats = no_stats();
	balloon->given_pages = 0;
	drained(user);
}

static void reset_queue(struct virtio_dev *dev, unsigned queue, void (*drained)(void *user),
			void *user)
{
	forget(from_dev(dev), kind_of(dev, queue));
	drained(user);
}

static unsigned counters(const struct virtio_dev *dev, struct virtio_counter *out, unsigned max)
{
	const struct balloon *balloon = from_const_dev(dev);
	const struct virtio_counter all[] = {
		{"target_bytes", virtio_balloon_target(dev)},
		{"given_bytes", virtio_balloon_given(dev)},
		{"inflated_pages", balloon->n_inflated},
		{"ignored_pages", balloon->n_ignored},
		{"reported_bytes", balloon->reported_bytes},
		{"discards", balloon->n_discards},
		{"statistics", balloon->n_stats},
	};

	return virtio_counters_copy(all, ARRAY_SIZE(all), out, max);
}

static void destroy(struct virtio_dev *dev)
{
	free(from_dev(dev));
}

static const struct virtio_ops balloon_ops = {
	.id = VIRTIO_ID_BALLOON,
	.pci_class = 0x050000, /* memory controller, RAM */
	.name = "balloon",
	.config_read = config_read,
	.config_write = config_write,
	.activate = activate,
	.kick = kick,
	.reset = reset,
	.reset_queue = reset_queue,
	.counters = counters,
	.destroy = destroy,
};

int virtio_balloon_new(struct virtio_dev **out,
		       void (*discard_fn)(void *user, void *host, uint64_t len), void *user)
{
	struct balloon *balloon = calloc(1, sizeof(*balloon));

	if (!balloon)
		return -ENOMEM;
	balloon->dev.ops = &balloon_ops;
	balloon->dev.n_queues = KINDS;
	balloon->dev.queue_size_max = QUEUE_SIZE;
	balloon->dev.offered =
		UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC |
		UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX | 1u << VIRTIO_BALLOON_F_STATS_VQ |
		1u << VIRTIO_BALLOON_F_DEFLATE_ON_OOM | 1u << VIRTIO_BALLOON_F_REPORTING;
	balloon->discard = discard_fn;
	balloon->user = user;
	balloon->stats = no_stats();
	*out = &balloon->dev;
	return 0;
}

void virtio_balloon_set_target(struct virtio_dev *dev, uint64_t bytes)
{
	uint64_t pages = bytes / PAGE;
	uint32_t target = pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX;
	struct balloon *balloon = from_dev(dev);

	if (target == balloon->target_pages)
		return;
	balloon->target_pages = target;
	if (dev->transport)
		dev->config_changed(dev);
}

uint64_t virtio_balloon_target(const struct virtio_dev *dev)
{
	return (uint64_t)from_const_dev(dev)->target_pages * PAGE;
}

uint64_t virtio_balloon_given(const struct virtio_dev *dev)
{
	return (uint64_t)from_const_dev(dev)->given_pages * PAGE;
}

static void ask_for_stats(struct balloon *balloon)
{
	struct virtio_dev *dev = &balloon->dev;
	struct vq *vq = &dev->queues[KIND_STATS];
	uint64_t now_ns = clock_now_ns();

	if (!dev->active || dev->broken || vq->stopped || !balloon->stats_held)
		return;
	if (balloon->asked_ns != 0 && now_ns - balloon->asked_ns < STATS_PERIOD)
		return;
	balloon->asked_ns = now_ns;
	balloon->stats_held = false;
	vq_push(vq, balloon->stats_head, 0);
	vq_flush(vq);
	/* One that waits already rings no doorbell. */
	dev->kick_again(dev, KIND_STATS);
}

struct balloon_stats virtio_balloon_stats(struct virtio_dev *dev)
{
	struct balloon *balloon = from_dev(dev);

	ask_for_stats(balloon);
	return balloon->stats;
}
