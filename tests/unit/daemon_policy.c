// SPDX-License-Identifier: Apache-2.0
/* How much memory a zone should have, as tables: what was said, what had, what follows. And a guest
 * that grows and shrinks over simulated minutes. */
#include "tests/unit/harness.h"

#include <errno.h>

#include "base/clock.h"
#include "base/util.h"
#include "supervisor/daemon/policy.h"
#include "supervisor/daemon/pressure.h"

UNIT_SUITE(daemon_policy);

#define START (1000 * NS_PER_S)
#define HUGE  (UINT64_MAX / MIB) /* what a runner can say at most */

static const struct policy_bounds bounds = {128, 1024};

Test(daemon_policy, one_sample)
{
	static const struct {
		const char *what;
		uint64_t target_mib;
		struct policy_sample sample;
		uint64_t wanted_mib;
	} table[] = {
		{"in between: nothing", 256, {500, 256, 60, 0}, 256},
		{"as much as it wants: nothing", 256, {500, 256, 48, 0}, 256},
		{"half of the headroom is left", 256, {500, 256, 28, 0}, 256},
		{"less than half: all that it wants", 256, {500, 256, 20, 0}, 296},
		{"nothing left: half as much again", 256, {500, 256, 0, 0}, 384},
		{"hardly any left", 512, {500, 512, 29, 0}, 768},
		{"it took more by itself", 128, {500, 640, 0, 0}, 960},
		{"what is on its way counts", 512, {500, 256, 0, 0}, 512},
		{"never above the maximum", 1000, {500, 1000, 0, 0}, 1024},
		{"never below the minimum", 100, {500, 128, 60, 0}, 128},
		{"nothing was said", 256, {0, 256, 0, 0}, 256},
		{"old words", 256, {10001, 256, 0, 0}, 256},
		{"old words, and a target out of bounds", 4096, {10001, 256, 0, 0}, 1024},
		{"more available than there is", 256, {500, 256, HUGE, HUGE}, 256},
		{"more than there can be", 256, {500, HUGE, 0, HUGE}, 1024},
		{"less than nothing", 256, {500, 0, 0, 0}, 256},
		{"an age that overflows", 256, {UINT64_MAX, HUGE, HUGE, HUGE}, 256},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
		struct policy_memory memory = {0};
		uint64_t got = policy_dynamic(&memory, table[i].target_mib, bounds,
					      &table[i].sample, START);

		cr_expect_eq(got, table[i].wanted_mib, "%s: %llu, not %llu", table[i].what,
			     (unsigned long long)got, (unsigned long long)table[i].wanted_mib);
	}
}

/* A guest that follows at once, looked at each second. Returns how often its target changed. */
struct guest {
	struct policy_memory memory;
	uint64_t target_mib, have_mib, used_mib;
	uint64_t now_ns;
};

static unsigned live(struct guest *guest, unsigned seconds)
{
	unsigned changes = 0;

	for (unsigned i = 0; i < seconds; i++) {
		const struct policy_sample sample = {
			.age_ms = 1000,
			.have_mib = guest->have_mib,
			.available_mib = guest->have_mib > guest->used_mib
						 ? guest->have_mib - guest->used_mib
						 : 0,
		};
		uint64_t target = policy_dynamic(&guest->memory, guest->target_mib, bounds, &sample,
						 guest->now_ns);

		cr_assert(target >= bounds.min_mib && target <= bounds.max_mib);
		changes += target != guest->target_mib;
		guest->target_mib = guest->have_mib = target;
		guest->now_ns += NS_PER_S;
	}
	return changes;
}

Test(daemon_policy, grows_fast_and_shrinks_slowly)
{
	struct guest guest = {.target_mib = 256, .have_mib = 256, .used_mib = 190, .now_ns = START};

	cr_expect_eq(live(&guest, 120), 0, "it has what it wants");
	guest.used_mib = 700;
	live(&guest, 3);
	cr_expect_eq(guest.target_mib, 864, "all of it within three looks: %llu",
		     (unsigned long long)guest.target_mib);
	guest.used_mib = 100;
	cr_expect_eq(live(&guest, 30), 0, "not before it has been idle for 30 s");
	cr_expect_eq(live(&guest, 10), 1, "a step each 10 s");
	cr_expect_eq(guest.target_mib, 756, "of an eighth: %llu",
		     (unsigned long long)guest.target_mib);
	live(&guest, 300);
	cr_expect_eq(guest.target_mib, 164,
		     "down to no more than half a headroom above what it wants: %llu",
		     (unsigned long long)guest.target_mib);
	cr_expect_eq(live(&guest, 300), 0, "and it rests there");
}

Test(daemon_policy, a_use_that_comes_and_goes_changes_nothing)
{
	struct guest guest = {.target_mib = 400, .have_mib = 400, .used_mib = 280, .now_ns = START};
	unsigned changes = 0;

	for (unsigned i = 0; i < 20; i++) {
		guest.used_mib = i % 2 ? 280 : 350;
		changes += live(&guest, 20);
	}
	cr_expect_eq(changes, 0);
	cr_expect_eq(guest.target_mib, 400);
}

/* It is asked once for what it does not give, not for more and more. */
Test(daemon_policy, a_guest_that_does_not_follow)
{
	const struct policy_sample sample = {.age_ms = 1, .have_mib = 800, .available_mib = 700};
	struct policy_memory memory = {0};
	uint64_t target = 800, now_ns = START;

	for (unsigned i = 0; i < 600; i++, now_ns += NS_PER_S)
		target = policy_dynamic(&memory, target, bounds, &sample, now_ns);
	cr_expect_eq(target, 700);
}

/* Its driver gave pages of the balloon back to it before the OOM killer would have run. */
Test(daemon_policy, a_guest_that_took_memory_by_itself)
{
	struct policy_sample sample = {.age_ms = 1, .have_mib = 500, .available_mib = 5};
	struct policy_memory memory = {0};
	uint64_t target, now_ns = START;

	target = policy_dynamic(&memory, 256, bounds, &sample, now_ns);
	cr_expect_eq(target, 750, "it keeps it, and gets more: %llu", (unsigned long long)target);
	sample.available_mib = 400;
	target = 256;
	for (unsigned i = 0; i < 31; i++, now_ns += NS_PER_S)
		target = policy_dynamic(&memory, target, bounds, &sample, now_ns);
	cr_expect_eq(target, 440, "it gives back from what it has: %llu",
		     (unsigned long long)target);
}

Test(daemon_policy, statistics_that_stop_start_the_wait_anew)
{
	struct policy_sample sample = {.age_ms = 1, .have_mib = 800, .available_mib = 700};
	struct policy_memory memory = {0};
	uint64_t now_ns = START;

	for (unsigned i = 0; i < 600; i++, now_ns += NS_PER_S) {
		sample.age_ms = i % 20 ? 1 : 11000;
		cr_assert_eq(policy_dynamic(&memory, 800, bounds, &sample, now_ns), 800);
	}
}

Test(daemon_policy, gifts)
{
	static const struct {
		const char *what;
		bool dynamic;
		struct policy_sample sample;
		uint64_t gift_mib;
	} table[] = {
		{"static: what lies idle, but for a rest", false, {1, 1024, 900, 200}, 136},
		{"static: cache is not idle", false, {1, 1024, 900, 60}, 0},
		{"static: at most a fourth at once", false, {1, 1024, 900, 800}, 256},
		{"dynamic: what is available, but for a headroom", true, {1, 512, 150, 10}, 84},
		{"dynamic: at most a fourth at once", true, {1, 512, 500, 10}, 128},
		{"not below the minimum", true, {1, 160, 150, 100}, 32},
		{"at the minimum", true, {1, 128, 120, 100}, 0},
		{"too little", false, {1, 256, 39, 39}, 0},
		{"nothing was said", true, {0, 512, 500, 500}, 0},
		{"old words", true, {20000, 512, 500, 500}, 0},
		{"lies", false, {1, 200, HUGE, HUGE}, 50},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		cr_expect_eq(policy_gift(table[i].dynamic, bounds, &table[i].sample),
			     table[i].gift_mib, "%s: %llu", table[i].what,
			     (unsigned long long)policy_gift(table[i].dynamic, bounds,
							     &table[i].sample));
}

/* What is taken for the host's sake is not so much that the policy gives it back at once. */
Test(daemon_policy, a_gift_does_not_starve)
{
	for (uint64_t have = 64; have < 1024; have += 7)
		for (uint64_t available = 0; available <= have; available += 5) {
			struct policy_sample sample = {1, have, available, available};
			uint64_t gift =
				policy_gift(true, (struct policy_bounds){64, 1024}, &sample);

			sample.have_mib -= gift;
			sample.available_mib -= gift;
			cr_assert(gift == 0 || !policy_is_starved(&sample));
		}
}

Test(daemon_policy, what_a_zone_boots_with)
{
	cr_expect_eq(policy_boot_mib(256, 1024), 512);
	cr_expect_eq(policy_boot_mib(256, 300), 300);
	cr_expect_eq(policy_boot_mib(256, 256), 256);
}

Test(daemon_policy, pressure_is_read)
{
	static const char good[] =
		"some avg10=12.50 avg60=1.00 avg300=0.10 total=123456\nfull avg10=1.00\n";
	static const char *const bad[] = {"",
					  "full avg10=1.00 avg60=1.00 avg300=0.10 total=1",
					  "some avg10=",
					  "some avg10=x",
					  "some avg10=nan avg60=0 avg300=0 total=1",
					  "some avg10=-1 avg60=0 avg300=0 total=1",
					  "some avg10=101 avg60=0 avg300=0 total=1"};
	double percent = 0;
	uint64_t stalled_us = 0;

	cr_expect_eq(pressure_parse(good, &percent, &stalled_us), 0);
	cr_expect(percent > 12.4 && percent < 12.6 && stalled_us == 123456);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_eq(pressure_parse(bad[i], &percent, &stalled_us), -EBADMSG, "%s", bad[i]);
}

Test(daemon_policy, pressure_comes_and_goes)
{
	static const struct {
		unsigned second;
		double percent;
		bool is_short, is_over;
	} table[] = {
		{0, 0.0, false, false},	  {31, 0.0, false, true},  {32, 9.9, false, false},
		{33, 10.0, true, false},  {34, 3.0, true, false},  {35, 0.9, false, false},
		{64, 0.5, false, false},  {65, 0.5, false, true},  {66, 1.0, false, false},
		{100, 0.0, false, false}, {130, 0.0, false, true},
	};
	struct pressure pressure = {0};

	for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
		uint64_t now_ns = START + table[i].second * NS_PER_S;

		pressure_step(&pressure, true, table[i].percent, now_ns);
		cr_expect_eq(pressure.is_short, table[i].is_short, "second %u", table[i].second);
		cr_expect_eq(pressure_is_over(&pressure, now_ns), table[i].is_over, "second %u",
			     table[i].second);
	}
	pressure_step(&pressure, true, 50.0, START);
	pressure_step(&pressure, false, 50.0, START);
	cr_expect(!pressure.is_short && !pressure.known, "a host that does not say");
}

Test(daemon_policy, pressure_of_this_host_and_of_none)
{
	struct pressure pressure = {0};

	pressure_poll(&pressure, PRESSURE_FILE, START);
	pressure_poll(&pressure, "/nonexistent", START);
	cr_expect(!pressure.known && pressure.percent < 0.1);
	pressure_poll(&pressure, "/proc/self/stat", START);
	cr_expect(!pressure.known);
}
