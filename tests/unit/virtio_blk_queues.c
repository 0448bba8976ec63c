// SPDX-License-Identifier: Apache-2.0
/* Disks with several queues: requests, resets, and how often a driver notifies. */
#include "tests/unit/harness.h"
#include "tests/unit/virtio_blk_disk.h"

#include <linux/virtio_pci.h>

#include "base/util.h"

UNIT_SUITE(virtio_blk_queues);

#define QUEUE_RESET 58u

Test(virtio_blk_queues, how_many)
{
	struct disk disk = {.fd = disk_file(4096, 0)};
	const unsigned wanted[] = {0, 1, 2, 8, 9, UINT32_MAX}, got[] = {1, 1, 2, 8, 8, 8};

	cr_assert_eq(driver_init(&disk.d), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct virtio_dev *dev =
			disk_dev(&disk, &(struct virtio_blk_params){.n_queues = wanted[i]});

		cr_assert_eq(dev->n_queues, got[i]);
		cr_assert_eq(!!(dev->offered & (1ull << VIRTIO_BLK_F_MQ)), got[i] > 1);
		cr_assert_eq(driver_attach(&disk.d, dev), 0);
		cr_assert_eq(disk_config(&disk, offsetof(struct virtio_blk_config, num_queues), 2),
			     got[i]);
		driver_detach(&disk.d);
	}
	disk_end(&disk);
}

Test(virtio_blk_queues, each_has_its_own_requests_and_vector)
{
	struct disk disk;

	disk_start(&disk, &(struct virtio_blk_params){.n_queues = 4});
	for (unsigned i = 0; i < 40; i++) /* the same heads in flight in every queue */
		disk_add(&disk, i % 4, VIRTIO_BLK_T_IN, i * 7, DATA + i * 512, 512);
	for (unsigned queue = 0; queue < 4; queue++)
		driver_kick(&disk.d, queue);
	for (unsigned i = 0; i < 40; i++)
		cr_assert(driver_wait_used(&disk.d, i % 4, NULL, NULL));
	for (unsigned i = 0; i < 40; i++) {
		cr_assert_eq(*disk_status(&disk, i), VIRTIO_BLK_S_OK);
		cr_assert_eq(disk_number(&disk, DATA + i * 512), i * 7);
	}
	for (unsigned vector = 1; vector <= 4; vector++)
		cr_assert_gt(driver_interrupts(&disk.d, vector), 0);
	cr_assert_eq(disk_counter(&disk, "reads"), 40);
	cr_assert_eq(disk_counter(&disk, "bytes_read"), 40 * 512);
	cr_assert_eq(disk_counter(&disk, "in_flight"), 0);
	disk_end(&disk);
}

Test(virtio_blk_queues, counters)
{
	struct disk disk;

	disk_start(&disk, &(struct virtio_blk_params){.n_queues = 1});
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_OUT, 0, DATA, 1024), 0);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_IN, UINT64_MAX, DATA, 512), 1);
	cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_DISCARD, 0, DATA, 16), 0);
	cr_assert_eq(disk_counter(&disk, "writes"), 1);
	cr_assert_eq(disk_counter(&disk, "bytes_written"), 1024);
	cr_assert_eq(disk_counter(&disk, "flushes"), 1);
	cr_assert_eq(disk_counter(&disk, "errors"), 1);
	cr_assert_eq(disk_counter(&disk, "reads"), 0);
	cr_assert_eq(disk_counter(&disk, "throttled"), 0);
	cr_assert(driver_reset(&disk.d));
	cr_assert_eq(disk_counter(&disk, "writes"), 1, "they outlive a reset");
	disk_end(&disk);
}

/* Of one queue, with requests in flight, while the other goes on; then with another size. */
Test(virtio_blk_queues, reset_of_one)
{
	struct disk disk;

	disk_start(&disk, &(struct virtio_blk_params){.n_queues = 2});
	for (unsigned round = 0; round < 20; round++) {
		uint16_t used;

		for (unsigned i = 0; i < 24; i++)
			disk_add(&disk, 0, i % 4 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 0, DATA,
				 1u << 20);
		for (unsigned i = 0; i < 16; i++)
			disk_add(&disk, 1, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
		driver_kick(&disk.d, 0);
		driver_kick(&disk.d, 1);
		if (round % 3)
			driver_run(&disk.d, round % 3);
		disk_reset_queue(&disk, 0);
		used = disk.d.queues[0].used->idx;
		for (unsigned i = 0; i < 16; i++)
			cr_assert(driver_wait_used(&disk.d, 1, NULL, NULL));
		cr_assert_eq(disk.d.queues[0].used->idx, used, "nothing after its end");
		driver_setup_queue(&disk.d, 0, round % 2 ? 256 : 128);
		cr_assert_eq(disk_request(&disk, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
	}
	cr_assert_not(driver_status(&disk.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	/* And of a queue and the device at once. */
	for (unsigned i = 0; i < 24; i++)
		disk_add(&disk, i % 2, VIRTIO_BLK_T_IN, 0, DATA, 1u << 20);
	driver_kick(&disk.d, 0);
	driver_kick(&disk.d, 1);
	driver_run(&disk.d, 1);
	driver_reg_write(&disk.d, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	driver_reg_write(&disk.d, QUEUE_RESET, 2, 1);
	disk_end(&disk);
}

/* A driver that notifies only when it is asked to, from its interrupt handler. */
struct polite {
	struct disk disk;
	void (*interrupt)(void *user);
	void *interrupt_user;
	unsigned n_done, n_kicks;
};

#define POLITE_REQUESTS 3000u

static bool kick_if_asked(struct polite *p, uint16_t old_idx)
{
	struct driver_queue *q = &p->disk.d.queues[0];
	uint16_t avail_event;

	memcpy(&avail_event, &q->used->ring[q->size], sizeof(avail_event));
	if (!vring_need_event(avail_event, q->avail_idx, old_idx))
		return false;
	p->n_kicks++;
	driver_kick(&p->disk.d, 0);
	return true;
}

static void on_polite_interrupt(void *user)
{
	struct polite *p = user;
	struct driver_queue *q = &p->disk.d.queues[0];
	uint16_t old_idx = q->avail_idx;

	p->interrupt(p->interrupt_user);
	while (driver_take_used(&p->disk.d, 0, NULL, NULL))
		if (++p->n_done + 31 <= POLITE_REQUESTS)
			disk_add(&p->disk, 0, VIRTIO_BLK_T_IN, p->n_done, DATA, 512);
	q->avail->ring[q->size] = q->last_used;
	kick_if_asked(p, old_idx);
}

static bool is_all_done(struct driver *d, void *user)
{
	(void)d;
	return ((struct polite *)user)->n_done == POLITE_REQUESTS;
}

/* With many requests in flight their ends look for more; none is forgotten when they run out. */
Test(virtio_blk_queues, hardly_any_notification_while_busy)
{
	struct polite p = {0};
	struct vq *vq;

	disk_start(&p.disk, &(struct virtio_blk_params){.direct = true});
	cr_assert(driver_reset(&p.disk.d));
	driver_start(&p.disk.d, DRIVER_COMMON_FEATURES | DRIVER_EVENT_IDX, 256);
	vq = &p.disk.d.dev->queues[0];
	p.interrupt = vq->interrupt;
	p.interrupt_user = vq->interrupt_user;
	vq->interrupt = on_polite_interrupt;
	vq->interrupt_user = &p;
	driver_run(&p.disk.d, 1);
	for (unsigned i = 0; i < 31; i++) /* one goes with every end, until they run out */
		disk_add(&p.disk, 0, VIRTIO_BLK_T_IN, i, DATA, 512);
	kick_if_asked(&p, 0);
	cr_assert_eq(p.n_kicks, 1);
	cr_assert(driver_wait(&p.disk.d, is_all_done, &p), "%u", p.n_done);
	/* A disk that ends them all at once hears of each 31. */
	cr_assert_leq(p.n_kicks, POLITE_REQUESTS / 31 + 1, "%u", p.n_kicks);
	disk_end(&p.disk);
}

/* One round of a driver that has n requests and waits for all. Whether it notified of any. */
static bool do_round(struct polite *p, unsigned n)
{
	struct driver_queue *q = &p->disk.d.queues[0];
	bool kicked = false;

	for (unsigned i = 0; i < n; i++) {
		uint16_t old_idx = q->avail_idx;

		disk_add(&p->disk, 0, VIRTIO_BLK_T_IN, i, DATA, 512);
		kicked |= kick_if_asked(p, old_idx);
	}
	for (unsigned i = 0; i < n; i++)
		cr_assert(driver_wait_used(&p->disk.d, 0, NULL, NULL));
	return kicked;
}

static void be_polite(struct polite *p)
{
	disk_start(&p->disk, &(struct virtio_blk_params){0});
	cr_assert(driver_reset(&p->disk.d));
	driver_start(&p->disk.d, DRIVER_COMMON_FEATURES | DRIVER_EVENT_IDX, 256);
	driver_run(&p->disk.d, 1);
}

/* A disk that answers at once lets the driver gather requests, and looks when fewer come. */
Test(virtio_blk_queues, batches_that_stop_short_are_served)
{
	struct polite p = {0};
	unsigned n_rounds = 0;

	be_polite(&p);
	while (do_round(&p, 6))
		cr_assert_lt(++n_rounds, 1000u);
	cr_assert_gt(p.n_kicks, 8);
	disk_end(&p.disk);
}

Test(virtio_blk_queues, one_request_at_a_time_is_notified_of)
{
	struct polite p = {0};

	be_polite(&p);
	for (unsigned i = 0; i < 200; i++)
		cr_assert(do_round(&p, 1));
	disk_end(&p.disk);
}

/* A reset while the driver's pace is waited for. */
Test(virtio_blk_queues, resets_while_a_batch_is_gathered)
{
	struct polite p = {0};

	be_polite(&p);
	for (unsigned i = 0; i < 100; i++)
		do_round(&p, 4);
	disk_add(&p.disk, 0, VIRTIO_BLK_T_IN, 1, DATA, 512);
	cr_assert(driver_reset(&p.disk.d));
	driver_start(&p.disk.d, DRIVER_COMMON_FEATURES | DRIVER_EVENT_IDX, 256);
	cr_assert(do_round(&p, 1));
	disk_end(&p.disk);
}
