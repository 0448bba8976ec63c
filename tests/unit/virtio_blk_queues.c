// SPDX-License-Identifier: Apache-2.0
/* Disks with several queues, rate limits, direct I/O, and files that change under them. */
#include "tests/unit/harness.h"
#include "tests/unit/virtio_driver.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/loop.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "base/clock.h"
#include "base/util.h"
#include "virtio/blk.h"
#include "virtio/regs.h"

UNIT_SUITE(virtio_blk_queues);

#define DISK_LEN    (4u << 20)
#define RING_RESET  (1ull << VIRTIO_F_RING_RESET)
#define QUEUE_RESET 58u
#define TRIM	    (1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES)
#define FEATURES                                                                                   \
	(DRIVER_COMMON_FEATURES | RING_RESET | 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_MQ)
#define N_PLACES 64u
#define DATA	 (DRIVER_DATA + 0x10000)

struct disk {
	struct driver d;
	int fd;
	gpa_t headers, statuses; /* N_PLACES each */
	unsigned next;
};

/* A file with the number of each sector, plus base, in it. */
static int make_file(uint32_t len, uint32_t base)
{
	char path[] = "/var/tmp/virtio-blk-XXXXXX";
	int fd = mkstemp(path);
	uint8_t sector[512] = {0};

	cr_assert_geq(fd, 0);
	unlink(path);
	for (uint32_t i = 0; i < len / 512; i++) {
		const uint32_t value = base + i;

		memcpy(sector, &value, sizeof(value));
		cr_assert_eq(pwrite(fd, sector, sizeof(sector), i * 512), sizeof(sector));
	}
	return fd;
}

static struct virtio_dev *make_dev(struct disk *disk, const struct virtio_blk_params *params)
{
	struct virtio_blk_params copy = *params;
	struct virtio_dev *dev;

	copy.fd = disk->fd;
	copy.serial = "test";
	cr_assert_eq(virtio_blk_new(&dev, disk->d.loop, &copy), 0);
	return dev;
}

static void attach(struct disk *disk, const struct virtio_blk_params *params)
{
	struct virtio_dev *dev;

	cr_assert_eq(driver_init(&disk->d), 0);
	dev = make_dev(disk, params);
	cr_assert_eq(driver_attach(&disk->d, dev), 0);
	driver_start(&disk->d, dev->offered & (FEATURES | TRIM), 256);
	disk->headers = driver_alloc(&disk->d, 16 * N_PLACES);
	disk->statuses = driver_alloc(&disk->d, N_PLACES);
}

static void start(struct disk *disk, const struct virtio_blk_params *params)
{
	*disk = (struct disk){.fd = make_file(DISK_LEN, 0)};
	attach(disk, params);
}

static void end(struct disk *disk)
{
	driver_deinit(&disk->d);
	close(disk->fd);
}

static uint8_t *status_at(struct disk *disk, unsigned place)
{
	return driver_at(&disk->d, disk->statuses + place);
}

/* Makes a request available; returns its place. */
static unsigned add(struct disk *disk, unsigned queue, uint32_t type, uint64_t sector, gpa_t data,
		    uint32_t len)
{
	unsigned place = disk->next++ % N_PLACES, n = 1;
	const struct virtio_blk_outhdr header = {.type = type, .sector = sector};
	struct segment segments[3] = {{disk->headers + place * 16, 16, false}};

	memcpy(driver_at(&disk->d, segments[0].gpa), &header, sizeof(header));
	*status_at(disk, place) = 0xee;
	if (len)
		segments[n++] = (struct segment){data, len, type == VIRTIO_BLK_T_IN};
	segments[n++] = (struct segment){disk->statuses + place, 1, true};
	driver_add(&disk->d, queue, segments, n);
	return place;
}

/* One request from start to end; its status. */
static uint8_t request(struct disk *disk, unsigned queue, uint32_t type, uint64_t sector,
		       gpa_t data, uint32_t len)
{
	unsigned place = add(disk, queue, type, sector, data, len);

	driver_kick(&disk->d, queue);
	cr_assert(driver_wait_used(&disk->d, queue, NULL, NULL));
	return *status_at(disk, place);
}

static uint32_t number_at(struct disk *disk, gpa_t gpa)
{
	uint32_t value;

	memcpy(&value, driver_at(&disk->d, gpa), sizeof(value));
	return value;
}

static uint64_t counter(struct disk *disk, const char *name)
{
	struct virtio_counter counters[VIRTIO_COUNTERS_MAX];
	unsigned n = disk->d.dev->ops->counters(disk->d.dev, counters, VIRTIO_COUNTERS_MAX);

	for (unsigned i = 0; i < n; i++)
		if (strcmp(counters[i].name, name) == 0)
			return counters[i].value;
	cr_assert(false, "no counter %s", name);
	return 0;
}

static uint64_t config(struct disk *disk, size_t off, unsigned len)
{
	return driver_reg_read(&disk->d, 0x1000 + (unsigned)off, len);
}

Test(virtio_blk_queues, how_many)
{
	struct disk disk = {.fd = make_file(4096, 0)};
	const unsigned wanted[] = {0, 1, 2, 8, 9, UINT32_MAX}, got[] = {1, 1, 2, 8, 8, 8};

	cr_assert_eq(driver_init(&disk.d), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct virtio_dev *dev =
			make_dev(&disk, &(struct virtio_blk_params){.n_queues = wanted[i]});

		cr_assert_eq(dev->n_queues, got[i]);
		cr_assert_eq(!!(dev->offered & (1ull << VIRTIO_BLK_F_MQ)), got[i] > 1);
		cr_assert_eq(driver_attach(&disk.d, dev), 0);
		cr_assert_eq(config(&disk, offsetof(struct virtio_blk_config, num_queues), 2),
			     got[i]);
		driver_detach(&disk.d);
	}
	end(&disk);
}

Test(virtio_blk_queues, each_has_its_own_requests_and_vector)
{
	struct disk disk;

	start(&disk, &(struct virtio_blk_params){.n_queues = 4});
	for (unsigned i = 0; i < 40; i++) /* the same heads in flight in every queue */
		add(&disk, i % 4, VIRTIO_BLK_T_IN, i * 7, DATA + i * 512, 512);
	for (unsigned queue = 0; queue < 4; queue++)
		driver_kick(&disk.d, queue);
	for (unsigned i = 0; i < 40; i++)
		cr_assert(driver_wait_used(&disk.d, i % 4, NULL, NULL));
	for (unsigned i = 0; i < 40; i++) {
		cr_assert_eq(*status_at(&disk, i), VIRTIO_BLK_S_OK);
		cr_assert_eq(number_at(&disk, DATA + i * 512), i * 7);
	}
	for (unsigned vector = 1; vector <= 4; vector++)
		cr_assert_gt(driver_interrupts(&disk.d, vector), 0);
	cr_assert_eq(counter(&disk, "reads"), 40);
	cr_assert_eq(counter(&disk, "bytes_read"), 40 * 512);
	cr_assert_eq(counter(&disk, "in_flight"), 0);
	end(&disk);
}

Test(virtio_blk_queues, counters)
{
	struct disk disk;

	start(&disk, &(struct virtio_blk_params){.n_queues = 1});
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_OUT, 0, DATA, 1024), 0);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, UINT64_MAX, DATA, 512), 1);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_DISCARD, 0, DATA, 16), 0);
	cr_assert_eq(counter(&disk, "writes"), 1);
	cr_assert_eq(counter(&disk, "bytes_written"), 1024);
	cr_assert_eq(counter(&disk, "flushes"), 1);
	cr_assert_eq(counter(&disk, "errors"), 1);
	cr_assert_eq(counter(&disk, "reads"), 0);
	cr_assert_eq(counter(&disk, "throttled"), 0);
	cr_assert(driver_reset(&disk.d));
	cr_assert_eq(counter(&disk, "writes"), 1, "they outlive a reset");
	end(&disk);
}

static void reset_queue(struct disk *disk, unsigned queue)
{
	cr_assert(driver_reset_queue(&disk->d, queue));
}

/* Of one queue, with requests in flight, while the other goes on; then with another size. */
Test(virtio_blk_queues, reset_of_one)
{
	struct disk disk;

	start(&disk, &(struct virtio_blk_params){.n_queues = 2});
	for (unsigned round = 0; round < 20; round++) {
		uint16_t used;

		for (unsigned i = 0; i < 24; i++)
			add(&disk, 0, i % 4 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 0, DATA,
			    1u << 20);
		for (unsigned i = 0; i < 16; i++)
			add(&disk, 1, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
		driver_kick(&disk.d, 0);
		driver_kick(&disk.d, 1);
		if (round % 3)
			driver_run(&disk.d, round % 3);
		reset_queue(&disk, 0);
		used = disk.d.queues[0].used->idx;
		for (unsigned i = 0; i < 16; i++)
			cr_assert(driver_wait_used(&disk.d, 1, NULL, NULL));
		cr_assert_eq(disk.d.queues[0].used->idx, used, "nothing after its end");
		driver_setup_queue(&disk.d, 0, round % 2 ? 256 : 128);
		cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
	}
	cr_assert_not(driver_status(&disk.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	/* And of a queue and the device at once. */
	for (unsigned i = 0; i < 24; i++)
		add(&disk, i % 2, VIRTIO_BLK_T_IN, 0, DATA, 1u << 20);
	driver_kick(&disk.d, 0);
	driver_kick(&disk.d, 1);
	driver_run(&disk.d, 1);
	driver_reg_write(&disk.d, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	driver_reg_write(&disk.d, QUEUE_RESET, 2, 1);
	end(&disk);
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
			add(&p->disk, 0, VIRTIO_BLK_T_IN, p->n_done, DATA, 512);
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

	start(&p.disk, &(struct virtio_blk_params){.direct = true});
	cr_assert(driver_reset(&p.disk.d));
	driver_start(&p.disk.d, DRIVER_COMMON_FEATURES | DRIVER_EVENT_IDX, 256);
	vq = &p.disk.d.dev->queues[0];
	p.interrupt = vq->interrupt;
	p.interrupt_user = vq->interrupt_user;
	vq->interrupt = on_polite_interrupt;
	vq->interrupt_user = &p;
	driver_run(&p.disk.d, 1);
	for (unsigned i = 0; i < 31; i++) /* one goes with every end, until they run out */
		add(&p.disk, 0, VIRTIO_BLK_T_IN, i, DATA, 512);
	kick_if_asked(&p, 0);
	cr_assert_eq(p.n_kicks, 1);
	cr_assert(driver_wait(&p.disk.d, is_all_done, &p), "%u", p.n_done);
	/* A disk that ends them all at once hears of each 31. */
	cr_assert_leq(p.n_kicks, POLITE_REQUESTS / 31 + 1, "%u", p.n_kicks);
	end(&p.disk);
}

/* One round of a driver that has n requests and waits for all. Whether it notified of any. */
static bool do_round(struct polite *p, unsigned n)
{
	struct driver_queue *q = &p->disk.d.queues[0];
	bool kicked = false;

	for (unsigned i = 0; i < n; i++) {
		uint16_t old_idx = q->avail_idx;

		add(&p->disk, 0, VIRTIO_BLK_T_IN, i, DATA, 512);
		kicked |= kick_if_asked(p, old_idx);
	}
	for (unsigned i = 0; i < n; i++)
		cr_assert(driver_wait_used(&p->disk.d, 0, NULL, NULL));
	return kicked;
}

static void be_polite(struct polite *p)
{
	start(&p->disk, &(struct virtio_blk_params){0});
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
	end(&p.disk);
}

Test(virtio_blk_queues, one_request_at_a_time_is_notified_of)
{
	struct polite p = {0};

	be_polite(&p);
	for (unsigned i = 0; i < 200; i++)
		cr_assert(do_round(&p, 1));
	end(&p.disk);
}

/* A reset while the driver's pace is waited for. */
Test(virtio_blk_queues, resets_while_a_batch_is_gathered)
{
	struct polite p = {0};

	be_polite(&p);
	for (unsigned i = 0; i < 100; i++)
		do_round(&p, 4);
	add(&p.disk, 0, VIRTIO_BLK_T_IN, 1, DATA, 512);
	cr_assert(driver_reset(&p.disk.d));
	driver_start(&p.disk.d, DRIVER_COMMON_FEATURES | DRIVER_EVENT_IDX, 256);
	cr_assert(do_round(&p, 1));
	end(&p.disk);
}

/* Limits. */

static uint64_t run_ms(struct disk *disk, unsigned n, uint32_t len)
{
	uint64_t begin_ns = clock_now_ns();

	for (unsigned i = 0; i < n; i++)
		add(disk, i % 2, VIRTIO_BLK_T_IN, i, DATA, len);
	driver_kick(&disk->d, 0);
	driver_kick(&disk->d, 1);
	for (unsigned i = 0; i < n; i++)
		cr_assert(driver_wait_used(&disk->d, i % 2, NULL, NULL));
	return (clock_now_ns() - begin_ns) / NS_PER_MS;
}

Test(virtio_blk_queues, operations_are_limited)
{
	struct disk disk;
	uint64_t ms;

	start(&disk, &(struct virtio_blk_params){.n_queues = 2,
						 .rate = {.ops_per_s = 200, .burst_ops = 4}});
	ms = run_ms(&disk, 44, 512); /* 40 at 5 ms each */
	cr_assert_geq(ms, 195, "%lu", ms);
	cr_assert_leq(ms, 3000, "%lu", ms);
	cr_assert_geq(counter(&disk, "throttled"), 10);
	cr_assert_leq(counter(&disk, "throttled"), 40);
	end(&disk);
}

/* A queue with much to do leaves the others their share. */
Test(virtio_blk_queues, queues_share_a_limit)
{
	struct disk disk;
	unsigned n = 0;

	start(&disk, &(struct virtio_blk_params){.n_queues = 2,
						 .rate = {.ops_per_s = 200, .burst_ops = 2}});
	for (unsigned i = 0; i < 54; i++)
		add(&disk, i < 50 ? 0 : 1, VIRTIO_BLK_T_IN, i, DATA, 512);
	driver_kick(&disk.d, 0);
	driver_kick(&disk.d, 1);
	for (unsigned i = 0; i < 4; i++)
		cr_assert(driver_wait_used(&disk.d, 1, NULL, NULL));
	while (driver_take_used(&disk.d, 0, NULL, NULL))
		n++;
	cr_assert_lt(n, 25, "%u", n);
	end(&disk);
}

Test(virtio_blk_queues, bytes_are_limited)
{
	struct disk disk;
	uint64_t ms;

	start(&disk,
	      &(struct virtio_blk_params){
		      .n_queues = 2, .rate = {.bytes_per_s = 1 << 20, .burst_bytes = 64 << 10}});
	ms = run_ms(&disk, 16, 16 << 10); /* 192 KiB at 1 MiB/s */
	cr_assert_geq(ms, 180, "%lu", ms);
	cr_assert_leq(ms, 3000, "%lu", ms);
	/* More than the burst in one: from a full bucket. */
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, 0, DATA, 256 << 10), 0);
	end(&disk);
}

/* What is held back ends with its queue, or its device, at once; the others are not forgotten. */
Test(virtio_blk_queues, resets_of_what_is_held_back)
{
	struct disk disk;
	uint64_t begin_ns;

	start(&disk,
	      &(struct virtio_blk_params){.n_queues = 2, .rate = {.ops_per_s = 4, .burst_ops = 1}});
	begin_ns = clock_now_ns();
	add(&disk, 0, VIRTIO_BLK_T_IN, 0, DATA, 512);
	add(&disk, 0, VIRTIO_BLK_T_IN, 1, DATA, 512);
	driver_kick(&disk.d, 0);
	cr_assert(driver_wait_used(&disk.d, 0, NULL, NULL));
	add(&disk, 1, VIRTIO_BLK_T_IN, 9, DATA + 512, 512);
	driver_kick(&disk.d, 1);
	driver_run(&disk.d, 5);
	cr_assert_eq(counter(&disk, "in_flight"), 1, "the other is not even looked at");
	reset_queue(&disk, 0);
	cr_assert_eq(counter(&disk, "in_flight"), 0);
	cr_assert(driver_wait_used(&disk.d, 1, NULL, NULL));
	cr_assert_eq(number_at(&disk, DATA + 512), 9);
	add(&disk, 1, VIRTIO_BLK_T_IN, 0, DATA, 512);
	driver_kick(&disk.d, 1);
	driver_run(&disk.d, 5);
	cr_assert_eq(counter(&disk, "in_flight"), 1);
	cr_assert(driver_reset(&disk.d));
	cr_assert_leq(clock_now_ns() - begin_ns, 2 * NS_PER_S);
	driver_start(&disk.d, FEATURES, 256);
	cr_assert_eq(request(&disk, 1, VIRTIO_BLK_T_IN, 5, DATA, 512), 0);
	cr_assert_eq(number_at(&disk, DATA), 5);
	/* And the end of all of it. */
	add(&disk, 1, VIRTIO_BLK_T_IN, 0, DATA, 512);
	add(&disk, 1, VIRTIO_BLK_T_IN, 0, DATA, 512);
	driver_kick(&disk.d, 1);
	driver_run(&disk.d, 1);
	end(&disk);
}

/* Direct I/O. */

/* False where the file system cannot. */
static bool start_direct(struct disk *disk)
{
	*disk = (struct disk){.fd = make_file(DISK_LEN, 0)};
	if (fcntl(disk->fd, F_SETFL, O_RDWR | O_DIRECT) < 0) {
		close(disk->fd);
		return false;
	}
	cr_assert_eq(fcntl(disk->fd, F_SETFL, O_RDWR), 0);
	attach(disk, &(struct virtio_blk_params){.n_queues = 2, .direct = true});
	cr_assert(fcntl(disk->fd, F_GETFL) & O_DIRECT);
	if (config(disk, offsetof(struct virtio_blk_config, blk_size), 4) == 512)
		return true;
	end(disk);
	return false;
}

Test(virtio_blk_queues, direct)
{
	struct disk disk;

	if (!start_direct(&disk))
		cr_skip_test("no direct I/O by sectors in /var/tmp");
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, 77, DATA, 4096), 0);
	cr_assert_eq(number_at(&disk, DATA), 77);
	cr_assert_eq(number_at(&disk, DATA + 512), 78);
	cr_assert_eq(request(&disk, 1, VIRTIO_BLK_T_OUT, 3, DATA, 512), 0);
	cr_assert_eq(request(&disk, 1, VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, 3, DATA + 4096, 512), 0);
	cr_assert_eq(number_at(&disk, DATA + 4096), 77);
	end(&disk);
}

/* Memory that direct I/O cannot use: several at once, longer than the buffer they share. */
Test(virtio_blk_queues, direct_with_uneven_memory)
{
	const uint32_t len = 300 << 10;
	struct disk disk;

	if (!start_direct(&disk))
		cr_skip_test("no direct I/O by sectors in /var/tmp");
	for (unsigned i = 0; i < 6; i++)
		add(&disk, i % 2, VIRTIO_BLK_T_IN, i * 100, DATA + 3 + i * (len + 3), len);
	driver_kick(&disk.d, 0);
	driver_kick(&disk.d, 1);
	for (unsigned i = 0; i < 6; i++)
		cr_assert(driver_wait_used(&disk.d, i % 2, NULL, NULL));
	for (unsigned i = 0; i < 6; i++) {
		cr_assert_eq(*status_at(&disk, i), 0);
		for (unsigned sector = 0; sector < len / 512; sector++)
			cr_assert_eq(number_at(&disk, DATA + 3 + i * (len + 3) + sector * 512),
				     i * 100 + sector);
	}
	/* And back: the numbers of 100 on are those of 5000 on then. */
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_OUT, 5000, DATA + 3 + len + 3, len), 0);
	memset(driver_at(&disk.d, DATA), 0, len);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, 5000, DATA, len), 0);
	for (unsigned sector = 0; sector < len / 512; sector++)
		cr_assert_eq(number_at(&disk, DATA + sector * 512), 100 + sector);
	/* A driver without FLUSH: the sync comes after the buffer was given on. */
	cr_assert(driver_reset(&disk.d));
	driver_start(&disk.d, DRIVER_COMMON_FEATURES, 256);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_OUT, 0, DATA + 1, 1024), 0);
	end(&disk);
}

Test(virtio_blk_queues, resets_of_who_waits_for_the_buffer)
{
	const uint32_t len = 600 << 10;
	struct disk disk;

	if (!start_direct(&disk))
		cr_skip_test("no direct I/O by sectors in /var/tmp");
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 12; i++)
			add(&disk, i % 2, i % 4 < 2, 0, DATA + 1 + i, len);
		driver_kick(&disk.d, 0);
		driver_kick(&disk.d, 1);
		if (round % 2)
			driver_run(&disk.d, 1);
		reset_queue(&disk, 1);
		for (unsigned i = 0; i < 6; i++)
			cr_assert(driver_wait_used(&disk.d, 0, NULL, NULL));
		driver_setup_queue(&disk.d, 1, 256);
		for (unsigned i = 0; i < 12; i++)
			add(&disk, i % 2, VIRTIO_BLK_T_IN, 0, DATA + 1 + i, len);
		driver_kick(&disk.d, 1);
		driver_kick(&disk.d, 0);
		driver_run(&disk.d, round % 2);
		cr_assert(driver_reset(&disk.d));
		driver_start(&disk.d, FEATURES, 256);
	}
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, 8, DATA + 1, 512), 0);
	end(&disk);
}

/* Files that change. */

static unsigned n_open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

Test(virtio_blk_queues, swap)
{
	struct disk disk;
	int larger = make_file(DISK_LEN + 4096, 1000000), smaller = make_file(DISK_LEN - 512, 0),
	    read_only = open("/proc/self/exe", O_RDONLY);
	unsigned n_open;

	start(&disk, &(struct virtio_blk_params){.rate = {.ops_per_s = 3, .burst_ops = 1}});
	n_open = n_open_files();
	cr_assert_eq(virtio_blk_swap(disk.d.dev, smaller), -ENOSPC);
	cr_assert_eq(virtio_blk_swap(disk.d.dev, read_only), -EACCES);
	cr_assert_eq(n_open_files(), n_open);
	add(&disk, 0, VIRTIO_BLK_T_IN, 1, DATA, 512);
	add(&disk, 0, VIRTIO_BLK_T_IN, 2, DATA + 512, 512);
	add(&disk, 0, VIRTIO_BLK_T_IN, 3, DATA + 1024, 512);
	driver_kick(&disk.d, 0);
	cr_assert(driver_wait_used(&disk.d, 0, NULL, NULL));
	/* The second one is under way, held back; the third has not begun. */
	(void)driver_interrupts(&disk.d, 0);
	cr_assert_eq(virtio_blk_swap(disk.d.dev, larger), 0);
	cr_assert_eq(driver_interrupts(&disk.d, 0), 1, "the size changed");
	cr_assert_eq(n_open_files(), n_open + 1);
	cr_assert(driver_wait_used(&disk.d, 0, NULL, NULL));
	cr_assert_eq(n_open_files(), n_open, "the old one goes with its last request");
	cr_assert(driver_wait_used(&disk.d, 0, NULL, NULL));
	cr_assert_eq(number_at(&disk, DATA), 1);
	cr_assert_eq(number_at(&disk, DATA + 512), 2);
	cr_assert_eq(number_at(&disk, DATA + 1024), 1000003);
	cr_assert_eq(virtio_blk_size(disk.d.dev), DISK_LEN + 4096);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, DISK_LEN / 512, DATA, 512), 0);
	cr_assert_eq(number_at(&disk, DATA), 1000000 + DISK_LEN / 512);
	cr_assert_eq(virtio_blk_swap(disk.d.dev, disk.fd), -ENOSPC, "it has become larger");
	close(larger);
	close(smaller);
	close(read_only);
	end(&disk);
}

Test(virtio_blk_queues, resize)
{
	struct disk disk;
	uint8_t generation;

	start(&disk, &(struct virtio_blk_params){0});
	generation = (uint8_t)driver_reg_read(&disk.d, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	cr_assert_eq(virtio_blk_resize(disk.d.dev), 0);
	cr_assert_eq(driver_interrupts(&disk.d, 0), 0, "nothing changed");
	cr_assert_eq(ftruncate(disk.fd, 2 * DISK_LEN + 100), 0);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, DISK_LEN / 512, DATA, 512), 1);
	cr_assert_eq(virtio_blk_resize(disk.d.dev), 0);
	cr_assert_eq(driver_interrupts(&disk.d, 0), 1);
	cr_assert_neq(driver_reg_read(&disk.d, VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	cr_assert_eq(config(&disk, 0, 8), 2 * DISK_LEN / 512);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, 2 * DISK_LEN / 512 - 1, DATA, 512), 0);
	cr_assert_eq(ftruncate(disk.fd, 100), 0);
	cr_assert_eq(virtio_blk_resize(disk.d.dev), -EINVAL);
	cr_assert_eq(virtio_blk_size(disk.d.dev), 2 * DISK_LEN);
	end(&disk);
}

Test(virtio_blk_queues, a_file_that_cannot_be_written)
{
	struct disk disk = {.fd = open("/proc/self/exe", O_RDONLY)};
	struct virtio_dev *dev;

	cr_assert_eq(driver_init(&disk.d), 0);
	cr_assert_eq(virtio_blk_new(&dev, disk.d.loop,
				    &(struct virtio_blk_params){.fd = disk.fd, .serial = "x"}),
		     -EACCES);
	dev = make_dev(&disk, &(struct virtio_blk_params){.read_only = true});
	dev->ops->destroy(dev);
	end(&disk);
}

/* Block devices: loop devices over a file, where that is allowed. */

static int open_loop(int file, uint32_t block)
{
	struct loop_config setup = {
		.fd = (uint32_t)file, .block_size = block, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), n, fd = -1;
	char path[32];

	for (unsigned tries = 0; control >= 0 && fd < 0 && tries < 10; tries++) {
		n = ioctl(control, LOOP_CTL_GET_FREE);
		snprintf(path, sizeof(path), "/dev/loop%d", n);
		fd = n < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &setup) < 0) {
			close(fd);
			fd = -1;
		}
	}
	close(control);
	return fd;
}

static void trim(struct disk *disk, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags,
		 uint8_t expected)
{
	const struct virtio_blk_discard_write_zeroes range = {
		.sector = sector, .num_sectors = n, .flags = flags};

	memcpy(driver_at(&disk->d, DATA), &range, sizeof(range));
	cr_assert_eq(request(disk, 0, type, 0, DATA, 16), expected);
}

static void use_block_device(uint32_t block, bool direct)
{
	struct disk disk = {0};
	int file = make_file(DISK_LEN, 0);

	disk.fd = open_loop(file, block);
	close(file);
	if (disk.fd < 0)
		cr_skip_test("no loop devices here");
	attach(&disk, &(struct virtio_blk_params){.direct = direct});
	cr_assert_eq(config(&disk, offsetof(struct virtio_blk_config, blk_size), 4), block);
	cr_assert_eq(virtio_blk_size(disk.d.dev), DISK_LEN);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, 64, DATA, 8192), 0);
	cr_assert_eq(number_at(&disk, DATA + 512), 65);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_OUT, 128, DATA, 4096), 0);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, 3, DATA, 512), block > 512);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, 8, DATA, 512), block > 512);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, DISK_LEN / 512, DATA, 4096), 1);
	trim(&disk, VIRTIO_BLK_T_DISCARD, 64, 8, 0, 0);
	trim(&disk, VIRTIO_BLK_T_WRITE_ZEROES, 72, 8, 0, 0);
	trim(&disk, VIRTIO_BLK_T_WRITE_ZEROES, 128, 8, 1, 0);
	trim(&disk, VIRTIO_BLK_T_WRITE_ZEROES, DISK_LEN / 512, 8, 1, 1);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, 64, DATA, 16 * 512), 0);
	for (unsigned i = 0; i < 16; i++)
		cr_assert_eq(number_at(&disk, DATA + i * 512), 0);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, 128, DATA, 4096), 0);
	cr_assert_eq(number_at(&disk, DATA), 0);
	cr_assert_eq(request(&disk, 0, VIRTIO_BLK_T_IN, 80, DATA, 4096), 0);
	cr_assert_eq(number_at(&disk, DATA), 80);
	end(&disk);
}

Test(virtio_blk_queues, block_device)
{
	use_block_device(512, false);
}

Test(virtio_blk_queues, block_device_with_large_blocks)
{
	use_block_device(4096, false);
}

Test(virtio_blk_queues, block_device_directly)
{
	use_block_device(4096, true);
}

/* A read that waits, into memory that is unplugged meanwhile: it never lands, and neither does its
 * status. A write from there is only read. */
Test(virtio_blk_queues, requests_in_unplugged_memory_end)
{
	struct disk disk;
	uint64_t plugged = UINT64_MAX;
	struct virtio_regs *regs;

	for (unsigned writing = 0; writing < 2; writing++) {
		start(&disk, &(struct virtio_blk_params){.rate = {.ops_per_s = 4, .burst_ops = 1}});
		regs = disk.d.dev->transport;
		disk.d.mem.regions[1].plugged = &plugged;
		disk.d.mem.regions[1].block_shift = 16;
		plugged = UINT64_MAX;
		add(&disk, 0, VIRTIO_BLK_T_IN, 0, DATA, 512);
		add(&disk, 0, writing ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, 1,
		    DRIVER_REGION_LEN + 4096, 512);
		driver_kick(&disk.d, 0);
		cr_assert(driver_wait_used(&disk.d, 0, NULL, NULL));
		cr_assert_eq(counter(&disk, "in_flight"), 1);
		cr_assert_not(virtio_regs_memory_unplugged(regs));
		plugged &= ~UINT64_C(1);
		virtio_regs_memory_unplugged(regs);
		driver_run(&disk.d, 5);
		cr_assert_not(virtio_regs_memory_unplugged(regs), "it was held by the limit only");
		cr_assert_eq(!!(driver_status(&disk.d) & VIRTIO_CONFIG_S_NEEDS_RESET), !writing);
		cr_assert_eq(counter(&disk, "in_flight"), writing);
		cr_assert_eq(*(uint32_t *)driver_at(&disk.d, DRIVER_REGION_LEN + 4096), 0);
		end(&disk);
	}
}
