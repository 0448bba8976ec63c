// SPDX-License-Identifier: Apache-2.0
/*
 * Our block path: virtio/blk.c behind its PCI function on base/loop.c, driven by a virtio driver in
 * this process, one request in a indirect table each, as Linux does it. The driver's interrupt
 * handler runs where the device signals its irqfd, in the same thread: it takes what is used, makes
 * as many requests available again and writes the doorbell's eventfd. So both the figures hold the
 * driver's work too, which in a zone is done by the guest. For arguments see measure.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>

#include "base/clock.h"
#include "base/util.h"
#include "measure.h"
#include "tests/unit/virtio_driver.h"
#include "virtio/blk.h"

#define FEATURES                                                                                   \
	(DRIVER_COMMON_FEATURES | DRIVER_EVENT_IDX | 1ull << VIRTIO_BLK_F_FLUSH |                  \
	 1ull << VIRTIO_BLK_F_SEG_MAX)
#define QUEUE_SIZE 256
#define SEGMENTS   3u /* header, data, status */

/* Where a request's parts are in guest memory, apart from its data. */
struct place {
	struct virtio_blk_outhdr header;
	uint8_t status;
	uint8_t unused[15];
	struct vring_desc table[SEGMENTS];
};

struct bench {
	struct driver d;
	struct blk_job job;
	struct place *places;
	uint64_t n_ops, begin, end;
	void (*interrupt)(void *user); /* the device's own */
	void *interrupt_user;
};

static void die(const char *what, int r)
{
	fprintf(stderr, "bench_blk_path: %s: %s\n", what, strerror(-r));
	exit(EXIT_FAILURE);
}

static void start_request(struct bench *bench, uint16_t i)
{
	struct place *place = &bench->places[i];

	place->header.sector = blk_job_next(&bench->job) / 512;
	place->status = 0xff;
	driver_make_available(&bench->d, 0, i);
}

static void notify(struct bench *bench, uint16_t old_idx)
{
	struct driver_queue *q = &bench->d.queues[0];
	const uint16_t *avail_event = (const uint16_t *)(void *)&q->used->ring[q->size];

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (vring_need_event(__atomic_load_n(avail_event, __ATOMIC_RELAXED), q->avail_idx, old_idx))
		driver_kick(&bench->d, 0);
}

/* The guest's interrupt handler, as in Linux: whatever came while it was at work is taken too. */
static void on_interrupt(void *user)
{
	struct bench *bench = user;
	struct driver_queue *q = &bench->d.queues[0];
	uint16_t old_idx = q->avail_idx;
	uint32_t id;

	bench->interrupt(bench->interrupt_user);
	bench->end = clock_now_ns();
	if (bench->end - bench->begin >= bench->job.run_ns)
		loop_stop(bench->d.loop);
	while (driver_take_used(&bench->d, 0, &id, NULL)) {
		if (bench->places[id].status != VIRTIO_BLK_S_OK)
			die("a request failed", -EIO);
		bench->n_ops++;
		start_request(bench, (uint16_t)id);
	}
	q->avail->ring[q->size] = q->last_used; /* used_event */
	notify(bench, old_idx);
}

static void make_places(struct bench *bench)
{
	struct driver_queue *q = &bench->d.queues[0];
	uint32_t table_len = sizeof(bench->places[0].table);
	gpa_t gpa = driver_alloc(&bench->d, bench->job.depth * (uint32_t)sizeof(struct place));
	gpa_t data = align_up(driver_alloc(&bench->d, 4096), 4096);

	bench->places = driver_at(&bench->d, gpa);
	driver_alloc(&bench->d, bench->job.depth * bench->job.block_bytes);
	for (unsigned i = 0; i < bench->job.depth; i++, gpa += sizeof(struct place)) {
		struct place *place = &bench->places[i];
		uint16_t in = bench->job.write ? 0 : VRING_DESC_F_WRITE;

		place->header.type = bench->job.write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
		place->table[0] = (struct vring_desc){gpa, 16, VRING_DESC_F_NEXT, 1};
		place->table[1] =
			(struct vring_desc){data + (uint64_t)i * bench->job.block_bytes,
					    bench->job.block_bytes, in | VRING_DESC_F_NEXT, 2};
		place->table[2] = (struct vring_desc){gpa + offsetof(struct place, status), 1,
						      VRING_DESC_F_WRITE, 0};
		q->desc[i] = (struct vring_desc){gpa + offsetof(struct place, table), table_len,
						 VRING_DESC_F_INDIRECT, 0};
		memset(driver_at(&bench->d, place->table[1].addr), 0x5a, bench->job.block_bytes);
	}
}

static void open_disk(struct bench *bench, int fd)
{
	struct virtio_dev *dev = NULL;
	struct vq *vq;
	int r;

	r = driver_init(&bench->d);
	if (r == 0)
		r = virtio_blk_new(
			&dev, bench->d.loop,
			&(struct virtio_blk_params){.fd = fd, .serial = "bench", .n_queues = 1});
	if (r == 0)
		r = driver_attach(&bench->d, dev);
	if (r < 0 || !dev)
		die("cannot make the device", r);
	driver_start(&bench->d, FEATURES, QUEUE_SIZE);
	if (!(driver_status(&bench->d) & VIRTIO_CONFIG_S_DRIVER_OK))
		die("the device does not start", -EPROTO);
	vq = &dev->queues[0];
	bench->interrupt = vq->interrupt;
	bench->interrupt_user = vq->interrupt_user;
	vq->interrupt = on_interrupt;
	vq->interrupt_user = bench;
}

int main(int argc, char **argv)
{
	static struct bench bench;
	uint64_t cpu;
	int r, fd = blk_job_open(&bench.job, argc, argv);

	if (bench.job.depth > QUEUE_SIZE || bench.job.depth * bench.job.block_bytes > 2 * MIB)
		return 2;
	open_disk(&bench, fd);
	make_places(&bench);
	bench.begin = clock_now_ns();
	cpu = cpu_ns();
	for (unsigned i = 0; i < bench.job.depth; i++)
		start_request(&bench, (uint16_t)i);
	driver_kick(&bench.d, 0);
	r = loop_run(bench.d.loop);
	if (r < 0)
		die("loop", r);
	blk_job_report(bench.n_ops, bench.end - bench.begin, cpu_ns() - cpu);
	return 0;
}
