// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/harness.h"
#include "tests/unit/virtio_driver.h"

#include <string.h>
#include <sys/mman.h>

#include <linux/virtio_balloon.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "base/clock.h"
#include "base/util.h"
#include "virtio/balloon.h"

UNIT_SUITE(virtio_balloon);

#define PAGE	  4096u
#define PAGES	  (DRIVER_RAM_LEN / PAGE)
#define CONFIG	  0x1000u /* of the device, in the BAR */
#define INFLATE	  0u
#define DEFLATE	  1u
#define STATS	  2u
#define REPORTING 3u
#define FIRST	  0x200u /* pages the tests give: the upper half of memory */
#define ALL                                                                                        \
	(DRIVER_COMMON_FEATURES | 1u << VIRTIO_BALLOON_F_STATS_VQ |                                \
	 1u << VIRTIO_BALLOON_F_DEFLATE_ON_OOM | 1u << VIRTIO_BALLOON_F_REPORTING)

struct host {
	struct driver d;
	struct virtio_dev *dev;
	unsigned n_discards;
	uint64_t bytes, last_off, last_len;
};

/* What the VMM does, after it checked that the contract is kept. */
static void on_discard(void *user, void *host, uint64_t len)
{
	struct host *h = user;
	uint64_t off = (uint64_t)((uint8_t *)host - h->d.ram);

	cr_assert(range_fits(off, len, DRIVER_RAM_LEN));
	cr_assert_eq(off % PAGE | len % PAGE, 0);
	cr_assert_gt(len, 0);
	h->n_discards++;
	h->bytes += len;
	h->last_off = off;
	h->last_len = len;
	cr_assert_eq(madvise(host, len, MADV_DONTNEED), 0);
}

static void begin(struct host *h, uint64_t features)
{
	memset(h, 0, sizeof(*h));
	cr_assert_eq(driver_init(&h->d), 0);
	madvise(h->d.ram, DRIVER_RAM_LEN, MADV_NOHUGEPAGE);
	cr_assert_eq(virtio_balloon_new(&h->dev, on_discard, h), 0);
	virtio_balloon_set_target(h->dev, PAGE); /* nobody listens yet */
	cr_assert_eq(driver_attach(&h->d, h->dev), 0);
	driver_start(&h->d, features, 64);
}

static unsigned resident(const struct host *h)
{
	unsigned char present[PAGES];
	unsigned n = 0;

	cr_assert_eq(mincore(h->d.ram, DRIVER_RAM_LEN, present), 0);
	for (unsigned i = 0; i < PAGES; i++)
		n += present[i] & 1;
	return n;
}

static uint64_t counter(const struct host *h, const char *name)
{
	struct virtio_counter all[VIRTIO_COUNTERS_MAX];
	unsigned n = h->dev->ops->counters(h->dev, all, VIRTIO_COUNTERS_MAX);

	for (unsigned i = 0; i < n; i++)
		if (strcmp(all[i].name, name) == 0)
			return all[i].value;
	cr_assert_fail("no counter %s", name);
	return 0;
}

/* Gives a buffer of page numbers: pfn(i) for each i < n. */
static void give(struct host *h, unsigned queue, unsigned n, uint32_t (*pfn)(unsigned i))
{
	gpa_t at = driver_alloc(&h->d, n * 4);
	uint32_t *pfns = driver_at(&h->d, at);

	for (unsigned i = 0; i < n; i++)
		pfns[i] = pfn(i);
	driver_add(&h->d, queue, &(struct segment){at, n * 4, false}, 1);
	driver_kick(&h->d, queue);
	cr_assert(driver_wait_used(&h->d, queue, NULL, NULL));
}

static uint32_t ascending(unsigned i)
{
	return FIRST + i;
}

static uint32_t descending(unsigned i)
{
	return FIRST + 255 - i;
}

static uint32_t every_other(unsigned i)
{
	return FIRST + i * 2 % 512;
}

static uint32_t outside(unsigned i)
{
	static const uint32_t pfns[] = {PAGES, UINT32_MAX, 0x80000000, 0xfffff, FIRST};

	return pfns[i % ARRAY_SIZE(pfns)];
}

Test(virtio_balloon, given_pages_are_really_gone)
{
	struct host h;
	unsigned before;

	begin(&h, ALL);
	memset(driver_at(&h.d, FIRST * PAGE), 0xaa, 512 * PAGE);
	before = resident(&h);
	give(&h, INFLATE, 256, ascending);
	cr_assert_eq(h.n_discards, 1);
	cr_assert_eq(h.last_off, FIRST * PAGE);
	cr_assert_eq(h.last_len, 256 * PAGE);
	cr_assert_leq(resident(&h), before - 255); /* one may have come: the numbers' own */
	cr_assert_eq(*(uint8_t *)driver_at(&h.d, FIRST * PAGE), 0);
	cr_assert_eq(*(uint8_t *)driver_at(&h.d, (FIRST + 256) * PAGE), 0xaa);
	driver_deinit(&h.d);
}

Test(virtio_balloon, neighbours_are_discarded_together_in_either_order)
{
	struct host h;

	begin(&h, ALL);
	give(&h, INFLATE, 256, descending);
	cr_assert_eq(h.n_discards, 1);
	cr_assert_eq(h.last_off, FIRST * PAGE);
	cr_assert_eq(h.last_len, 256 * PAGE);
	driver_deinit(&h.d);
}

Test(virtio_balloon, pages_outside_of_memory_are_ignored)
{
	struct host h;

	begin(&h, ALL);
	give(&h, INFLATE, 100, outside);
	cr_assert_eq(h.bytes, 20 * PAGE);
	cr_assert_eq(counter(&h, "ignored_pages"), 80);
	cr_assert_eq(counter(&h, "inflated_pages"), 20);
	cr_assert_not(h.dev->broken);
	driver_deinit(&h.d);
}

Test(virtio_balloon, odd_and_empty_buffers_are_harmless)
{
	struct host h;
	const struct segment odd = {DRIVER_DATA, 7, false}, writable = {DRIVER_DATA, 64, true};

	begin(&h, ALL);
	*(uint32_t *)driver_at(&h.d, DRIVER_DATA) = FIRST;
	driver_add(&h.d, INFLATE, &odd, 1);
	driver_add(&h.d, INFLATE, &writable, 1);
	driver_kick(&h.d, INFLATE);
	cr_assert(driver_wait_used(&h.d, INFLATE, NULL, NULL));
	cr_assert(driver_wait_used(&h.d, INFLATE, NULL, NULL));
	cr_assert_eq(h.bytes, PAGE);
	driver_deinit(&h.d);
}

/* One buffer of very many numbers is worked off in pieces. */
Test(virtio_balloon, a_turn_is_bounded)
{
	const uint32_t len = 512 * 1024;
	struct host h;
	uint32_t *pfns;
	unsigned turns;

	begin(&h, ALL);
	pfns = driver_at(&h.d, DRIVER_DATA);
	for (unsigned i = 0; i < len / 4; i++)
		pfns[i] = every_other(i);
	driver_add(&h.d, INFLATE, &(struct segment){DRIVER_DATA, len, false}, 1);
	for (turns = 0; !driver_take_used(&h.d, INFLATE, NULL, NULL); turns++) {
		unsigned before = h.n_discards;

		cr_assert_lt(turns, 100000);
		h.dev->ops->kick(h.dev, INFLATE);
		cr_assert_leq(h.n_discards - before, 256);
	}
	cr_assert_eq(counter(&h, "inflated_pages"), len / 4);
	cr_assert_gt(turns, len / 4 / 256);
	driver_deinit(&h.d);
}

Test(virtio_balloon, a_reset_in_the_middle_ends_it)
{
	const uint32_t len = 512 * 1024;
	struct host h;
	unsigned discards;

	begin(&h, ALL);
	driver_add(&h.d, INFLATE, &(struct segment){DRIVER_DATA, len, false}, 1);
	driver_reg_write(&h.d, CONFIG + 4, 4, 77);
	h.dev->ops->kick(h.dev, INFLATE);
	cr_assert(driver_reset(&h.d));
	cr_assert_eq(virtio_balloon_given(h.dev), 0);
	driver_start(&h.d, ALL, 64);
	driver_run(&h.d, 5);
	discards = h.n_discards;
	driver_run(&h.d, 5);
	cr_assert_eq(h.n_discards, discards);
	give(&h, INFLATE, 1, ascending);
	cr_assert_eq(h.n_discards, discards + 1);
	driver_deinit(&h.d);
}

/* The guest may give away what its rings are in. */
Test(virtio_balloon, its_own_rings_may_be_given)
{
	struct host h;
	uint32_t *pfns;

	begin(&h, ALL);
	pfns = driver_at(&h.d, DRIVER_DATA);
	for (unsigned i = 0; i < PAGES; i++)
		pfns[i] = i;
	driver_add(&h.d, INFLATE, &(struct segment){DRIVER_DATA, PAGES * 4, false}, 1);
	driver_kick(&h.d, INFLATE);
	driver_run(&h.d, 20);
	cr_assert_geq(h.n_discards, 1);
	cr_assert(driver_reset(&h.d));
	driver_start(&h.d, ALL, 64);
	give(&h, INFLATE, 1, ascending);
	driver_deinit(&h.d);
}

Test(virtio_balloon, taking_back_is_only_acknowledged)
{
	struct host h;

	begin(&h, ALL);
	give(&h, DEFLATE, 256, ascending);
	give(&h, DEFLATE, 100, outside);
	cr_assert_eq(h.n_discards, 0);
	driver_deinit(&h.d);
}

Test(virtio_balloon, target_and_given)
{
	struct host h;

	begin(&h, ALL);
	cr_assert_eq(driver_reg_read(&h.d, CONFIG, 4), 1);
	driver_interrupts(&h.d, 0);
	virtio_balloon_set_target(h.dev, 5 * PAGE + 1);
	cr_assert_eq(driver_interrupts(&h.d, 0), 1);
	cr_assert_eq(driver_reg_read(&h.d, CONFIG, 4), 5);
	virtio_balloon_set_target(h.dev, 5 * PAGE);
	cr_assert_eq(driver_interrupts(&h.d, 0), 0);
	virtio_balloon_set_target(h.dev, UINT64_MAX);
	cr_assert_eq(virtio_balloon_target(h.dev), UINT32_MAX * (uint64_t)PAGE);
	driver_reg_write(&h.d, CONFIG + 4, 4, 3);
	driver_reg_write(&h.d, CONFIG + 4, 2, 9);
	driver_reg_write(&h.d, CONFIG, 4, 9);
	driver_reg_write(&h.d, CONFIG + 8, 4, 9);
	cr_assert_eq(virtio_balloon_given(h.dev), 3 * PAGE);
	driver_deinit(&h.d);
}

static gpa_t add_stats(struct host *h, unsigned n, uint32_t len)
{
	gpa_t at = driver_alloc(&h->d, len);
	struct virtio_balloon_stat *stats = driver_at(&h->d, at);

	for (unsigned i = 0; i < n; i++)
		stats[i] = (struct virtio_balloon_stat){.tag = (uint16_t)i, .val = 1000 + i};
	driver_add(&h->d, STATS, &(struct segment){at, len, false}, 1);
	driver_kick(&h->d, STATS);
	return at;
}

Test(virtio_balloon, statistics_come_when_asked_for)
{
	struct host h;
	struct balloon_stats stats;
	uint64_t start_ns;

	begin(&h, ALL);
	stats = virtio_balloon_stats(h.dev);
	cr_assert_eq(stats.taken_ns, 0);
	cr_assert_eq(stats.free_bytes, UINT64_MAX);
	add_stats(&h, 7, 7 * sizeof(struct virtio_balloon_stat)); /* no caches */
	driver_run(&h.d, 5);
	cr_assert_not(driver_take_used(&h.d, STATS, NULL, NULL)); /* held until asked for */
	start_ns = clock_now_ns();
	stats = virtio_balloon_stats(h.dev);
	cr_assert_gt(stats.taken_ns, 0);
	cr_assert_eq(stats.swap_in, 1000);
	cr_assert_eq(stats.free_bytes, 1004);
	cr_assert_eq(stats.available_bytes, 1006);
	cr_assert_eq(stats.cached_bytes, UINT64_MAX);
	cr_assert(driver_take_used(&h.d, STATS, NULL, NULL));
	add_stats(&h, 16, 2 * PAGE);
	driver_run(&h.d, 5);
	stats = virtio_balloon_stats(h.dev);
	cr_assert_eq(stats.cached_bytes, 1007);
	if (clock_now_ns() - start_ns < NS_PER_S) /* not more than once a second */
		cr_assert_not(driver_take_used(&h.d, STATS, NULL, NULL));
	cr_assert_not(h.dev->broken);
	driver_deinit(&h.d);
}

/* Oversized statistics, and more buffers than one: bounded copies, no spinning. */
Test(virtio_balloon, hostile_statistics)
{
	struct host h;
	uint64_t before;

	begin(&h, ALL);
	add_stats(&h, 16, 1 << 20);
	driver_add(&h.d, STATS, &(struct segment){DRIVER_DATA, 1 << 20, false}, 1);
	driver_add(&h.d, STATS, &(struct segment){DRIVER_DATA, 3, false}, 1);
	driver_add(&h.d, STATS, &(struct segment){DRIVER_DATA, 64, true}, 1);
	for (unsigned i = 0; i < 3; i++) {
		driver_kick(&h.d, STATS);
		driver_run(&h.d, 2);
	}
	cr_assert_eq(counter(&h, "statistics"), 1);
	before = counter(&h, "statistics");
	virtio_balloon_stats(h.dev);
	cr_assert(driver_wait_used(&h.d, STATS, NULL, NULL));
	driver_run(&h.d, 5);
	cr_assert_eq(counter(&h, "statistics"), before + 1);
	driver_set_status(&h.d, 0);
	cr_assert_eq(virtio_balloon_stats(h.dev).taken_ns, 0);
	driver_deinit(&h.d);
}

Test(virtio_balloon, reported_pages_are_discarded_whole_pages_only)
{
	struct host h;
	const struct segment segments[] = {{FIRST * PAGE, 64 * PAGE, true},
					   {(FIRST + 80) * PAGE + 1, 3 * PAGE, true},
					   {(FIRST + 90) * PAGE + 5, 100, true}};

	begin(&h, ALL);
	memset(driver_at(&h.d, FIRST * PAGE), 0xaa, 512 * PAGE);
	driver_add_indirect(&h.d, REPORTING, segments, 3);
	driver_kick(&h.d, REPORTING);
	cr_assert(driver_wait_used(&h.d, REPORTING, NULL, NULL));
	cr_assert_eq(h.n_discards, 2);
	cr_assert_eq(h.bytes, (64 + 2) * PAGE);
	cr_assert_eq(h.last_off, (FIRST + 81) * PAGE);
	cr_assert_eq(counter(&h, "reported_bytes"), 66 * PAGE);
	cr_assert_eq(*(uint8_t *)driver_at(&h.d, (FIRST + 80) * PAGE + PAGE - 1), 0xaa);
	cr_assert_eq(*(uint8_t *)driver_at(&h.d, (FIRST + 83) * PAGE), 0xaa);
	/* What may only be read is not ours to discard. */
	driver_add(&h.d, REPORTING, &(struct segment){FIRST * PAGE, PAGE, false}, 1);
	driver_kick(&h.d, REPORTING);
	cr_assert(driver_wait_used(&h.d, REPORTING, NULL, NULL));
	cr_assert_eq(h.n_discards, 2);
	driver_deinit(&h.d);
}

static unsigned n_again;

static void count_again(struct virtio_dev *dev, unsigned queue)
{
	(void)dev;
	(void)queue;
	n_again++;
}

Test(virtio_balloon, queues_are_numbered_without_gaps)
{
	struct host h;
	const struct segment page = {FIRST * PAGE, PAGE, true};

	begin(&h, ALL & ~(1ull << VIRTIO_BALLOON_F_STATS_VQ));
	driver_add(&h.d, 2, &page, 1);
	driver_kick(&h.d, 2);
	cr_assert(driver_wait_used(&h.d, 2, NULL, NULL));
	cr_assert_eq(h.bytes, PAGE);
	/* The last is nobody's: left alone, and no reason to spin. */
	h.dev->kick_again = count_again;
	driver_add(&h.d, 3, &page, 1);
	driver_kick(&h.d, 3);
	driver_run(&h.d, 5);
	cr_assert_eq(n_again, 0);
	cr_assert_not(driver_take_used(&h.d, 3, NULL, NULL));
	cr_assert_eq(h.bytes, PAGE);
	driver_deinit(&h.d);
}

Test(virtio_balloon, one_queue_reset_keeps_the_others)
{
	struct host h;

	begin(&h, ALL | UINT64_C(1) << VIRTIO_F_RING_RESET);
	add_stats(&h, 7, 70);
	driver_run(&h.d, 5);
	driver_reg_write(&h.d, VIRTIO_PCI_COMMON_Q_SELECT, 2, STATS);
	driver_reg_write(&h.d, 58, 2, 1); /* queue_reset */
	virtio_balloon_stats(h.dev);	  /* nothing is held any more */
	give(&h, INFLATE, 1, ascending);
	cr_assert_not(h.dev->broken);
	driver_setup_queue(&h.d, STATS, 32);
	add_stats(&h, 7, 70);
	driver_run(&h.d, 5);
	cr_assert_eq(counter(&h, "statistics"), 2);
	driver_deinit(&h.d);
}
