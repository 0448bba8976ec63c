// SPDX-License-Identifier: Apache-2.0
/* The request Stats: which counter of which device becomes what, and a guest's word with its age.
 */
#include "tests/unit/harness.h"
#include "tests/unit/virtio_driver.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_balloon.h>

#include "base/clock.h"
#include "base/util.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "vmm/control.h"
#include "vmm/stats.h"

UNIT_SUITE(vmm_stats);

#define STATS	 2u
#define FEATURES (DRIVER_COMMON_FEATURES | 1u << VIRTIO_BALLOON_F_STATS_VQ)

static unsigned nic_counters(const struct virtio_dev *dev, struct virtio_counter *out, unsigned max)
{
	static const struct virtio_counter all[] = {
		{"rx_frames", 1}, {"rx_bytes", 2},  {"tx_frames", 3},
		{"tx_bytes", 4},  {"rx_drops", 10}, {"tx_drops", 5},
	};

	(void)dev;
	cr_assert_geq(max, ARRAY_SIZE(all));
	memcpy(out, all, sizeof(all));
	return ARRAY_SIZE(all);
}

static void discard(void *user, void *host, uint64_t len)
{
	(void)user, (void)host, (void)len;
}

/* A machine of a balloon that a driver drives, and of devices that are only looked at. */
struct fixture {
	struct machine *machine;
	struct driver d;
	struct stats stats;
};

static void make(struct fixture *f)
{
	struct virtio_dev *balloon;

	memset(f, 0, sizeof(*f));
	f->machine = calloc(1, sizeof(*f->machine));
	cr_assert_eq(driver_init(&f->d), 0);
	cr_assert_eq(virtio_balloon_new(&balloon, discard, NULL), 0);
	cr_assert_eq(driver_attach(&f->d, balloon), 0);
	driver_start(&f->d, FEATURES, 64);
	resources_init(&f->machine->resources, 64 * MIB, 64 * MIB, balloon, NULL);
	f->machine->slots.at[4] = balloon;
}

static void finish(struct fixture *f)
{
	driver_deinit(&f->d);
	free(f->machine);
}

/* The driver says each of them. */
static void say(struct fixture *f, const struct virtio_balloon_stat *stats, unsigned n)
{
	gpa_t at = driver_alloc(&f->d, 256);

	memcpy(driver_at(&f->d, at), stats, n * sizeof(*stats));
	driver_add(&f->d, STATS, &(struct segment){at, (uint32_t)(n * sizeof(*stats)), false}, 1);
	driver_kick(&f->d, STATS);
	driver_run(&f->d, 5);
}

static struct virtio_balloon_stat stat_of(uint16_t tag, uint64_t value)
{
	return (struct virtio_balloon_stat){.tag = tag, .val = value};
}

static void pack_and_unpack(struct fixture *f)
{
	uint8_t packed[4096];
	size_t len = protect__runner__stats_reply__pack(&f->stats.reply, packed);
	Protect__Runner__StatsReply *reply =
		protect__runner__stats_reply__unpack(NULL, len, packed);

	cr_assert_not_null(reply);
	cr_expect_eq(reply->n_disks, f->stats.reply.n_disks);
	protect__runner__stats_reply__free_unpacked(reply, NULL);
}

Test(vmm_stats, a_guest_says_how_its_memory_is)
{
	struct virtio_balloon_stat stats[] = {
		stat_of(VIRTIO_BALLOON_S_MEMTOT, 60 * MIB),
		stat_of(VIRTIO_BALLOON_S_MEMFREE, 20 * MIB),
		stat_of(VIRTIO_BALLOON_S_AVAIL, 30 * MIB),
		stat_of(VIRTIO_BALLOON_S_CACHES, 8 * MIB),
		stat_of(VIRTIO_BALLOON_S_MAJFLT, 7),
	};
	const Protect__Runner__StatsReply *reply;
	struct fixture f;

	make(&f);
	reply = &f.stats.reply;
	stats_take(f.machine, &f.stats);
	cr_expect_eq(reply->guest_age_ms, 0, "nothing came yet");
	cr_expect_eq(reply->plugged_memory_bytes, 64 * MIB);
	say(&f, stats, ARRAY_SIZE(stats));
	stats_take(f.machine, &f.stats);
	cr_expect(reply->guest_age_ms > 0 && reply->guest_age_ms < 5000);
	cr_expect_eq(reply->guest_total_bytes, 60 * MIB);
	cr_expect_eq(reply->guest_free_bytes, 20 * MIB);
	cr_expect_eq(reply->guest_available_bytes, 30 * MIB);
	cr_expect_eq(reply->guest_cache_bytes, 8 * MIB);
	cr_expect_eq(reply->guest_major_faults, 7);
	cr_expect(driver_wait_used(&f.d, STATS, NULL, NULL), "the guest is asked again");
	/* A kernel that knows nothing of what is available. */
	say(&f, stats, 2);
	stats_take(f.machine, &f.stats);
	cr_expect_eq(reply->guest_available_bytes, 20 * MIB);
	cr_expect_eq(reply->guest_cache_bytes, 0);
	finish(&f);
}

Test(vmm_stats, statistics_that_say_nothing_count_as_none)
{
	struct virtio_balloon_stat stat = stat_of(VIRTIO_BALLOON_S_MEMTOT, 60 * MIB);
	struct fixture f;

	make(&f);
	say(&f, &stat, 1);
	stats_take(f.machine, &f.stats);
	cr_expect_eq(f.stats.reply.guest_age_ms, 0);
	finish(&f);
}

Test(vmm_stats, devices_by_their_names)
{
	static const struct virtio_ops nic_ops = {.counters = nic_counters};
	struct virtio_dev nic = {.ops = &nic_ops, .broken = true}, *blk;
	const struct virtio_blk_params params = {.fd = memfd_create("disk", MFD_CLOEXEC),
						 .serial = "root"};
	struct fixture f;

	make(&f);
	cr_assert_eq(ftruncate(params.fd, 1 << 20), 0);
	cr_assert_eq(virtio_blk_new(&blk, f.d.loop, &params), 0);
	strcpy(f.machine->disks.disks[2].serial, "root");
	f.machine->disks.disks[2].slot.dev = blk;
	strcpy(f.machine->disks.disks[3].serial, "leaving"); /* is being made, or has gone */
	strcpy(f.machine->nics.nics[0].name, "eth0");
	f.machine->nics.nics[0].slot.dev = f.machine->slots.at[9] = &nic;
	f.machine->console.written = 77;
	stats_take(f.machine, &f.stats);
	cr_assert_eq(f.stats.reply.n_disks, 1);
	cr_expect_str_eq(f.stats.reply.disks[0]->name, "root");
	cr_assert_eq(f.stats.reply.n_nics, 1);
	cr_expect_str_eq(f.stats.reply.nics[0]->name, "eth0");
	cr_expect_eq(f.stats.reply.nics[0]->read_ops, 1);
	cr_expect_eq(f.stats.reply.nics[0]->read_bytes, 2);
	cr_expect_eq(f.stats.reply.nics[0]->write_ops, 3);
	cr_expect_eq(f.stats.reply.nics[0]->write_bytes, 4);
	cr_expect_eq(f.stats.reply.nics[0]->errors, 15);
	cr_expect_eq(f.stats.reply.broken_devices, 1);
	cr_expect_eq(f.stats.reply.console_bytes, 77);
	pack_and_unpack(&f);
	blk->ops->destroy(blk);
	close(params.fd);
	finish(&f);
}

static void take_reply(void *user, const Protect__Runner__Reply *reply)
{
	cr_expect_eq(reply->error, 0);
	*(bool *)user = reply->stats != NULL;
}

Test(vmm_stats, the_request_is_answered)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Stats body = PROTECT__RUNNER__STATS__INIT;
	uint8_t frame[64];
	struct fixture f;
	bool answered = false;

	make(&f);
	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_STATS;
	request.stats = &body;
	control_request(f.machine, frame, protect__runner__request__pack(&request, frame), NULL, 0,
			take_reply, &answered);
	cr_expect(answered);
	finish(&f);
}
