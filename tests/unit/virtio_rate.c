// SPDX-License-Identifier: Apache-2.0
/* Rate limits: by a clock of the test's own, exactly, and by the real one, nearly. */
#include "tests/unit/harness.h"

#include "base/clock.h"
#include "base/util.h"
#include "virtio/rate_limit.h"

UNIT_SUITE(virtio_rate);

#define T0 (NS_PER_S * 100)

struct limited {
	struct loop *loop;
	struct rate_limit limit;
	unsigned n_ready, n_done;
	uint64_t until_ns; /* ask again in ready() until then; 0: never */
};

/* Takes all that may go now, asks for one more, and is told when that may. */
static void take_all(struct limited *l)
{
	while (rate_limit_take(&l->limit, 1, clock_now_ns()))
		l->n_done++;
}

static void on_ready(void *user)
{
	struct limited *l = user;

	l->n_ready++;
	if (l->until_ns == 0 || clock_now_ns() >= l->until_ns)
		loop_stop(l->loop);
	else
		take_all(l);
}

static void begin(struct limited *l, const struct rate *rate)
{
	*l = (struct limited){0};
	cr_assert_eq(loop_new(&l->loop, 8, 1), 0);
	rate_limit_init(&l->limit, l->loop, rate, on_ready, l);
}

static void end(struct limited *l)
{
	/* Its times are long ago, or it is cancelled. */
	if (!rate_limit_stop(&l->limit))
		loop_run(l->loop);
	l->loop = loop_free(l->loop);
}

/* Takes until it may no more; ends the wait as the timer would. */
static unsigned take_at(struct limited *l, uint64_t bytes, uint64_t now_ns)
{
	unsigned n = 0;

	while (rate_limit_take(&l->limit, bytes, now_ns))
		n++;
	cr_assert(l->limit.waiting);
	loop_run(l->loop);
	cr_assert(!l->limit.waiting);
	return n;
}

Test(virtio_rate, no_limit)
{
	struct limited l;

	begin(&l, &(struct rate){.burst_bytes = 1, .burst_ops = 1});
	for (unsigned i = 0; i < 100000; i++)
		cr_assert(rate_limit_take(&l.limit, UINT64_MAX, T0));
	cr_assert(rate_limit_stop(&l.limit));
	end(&l);
}

/* 10 operations in 10 ms are 1000 in a second, whatever the steps of the clock. */
Test(virtio_rate, a_fine_scale)
{
	const uint64_t steps_ns[] = {10 * NS_PER_MS, 3333333, 1000001, 999999, 77777, NS_PER_S / 7};

	for (unsigned i = 0; i < ARRAY_SIZE(steps_ns); i++) {
		struct limited l;
		uint64_t n = 0, now_ns = T0;

		begin(&l, &(struct rate){.ops_per_s = 1000, .burst_ops = 200});
		while (rate_limit_take(&l.limit, 0, now_ns)) /* the burst */
			n++;
		cr_assert_eq(n, 200);
		loop_run(l.loop);
		for (n = 0; now_ns < T0 + NS_PER_S; now_ns += steps_ns[i])
			n += take_at(&l, 0, now_ns);
		n += take_at(&l, 0, T0 + NS_PER_S);
		cr_assert_eq(n, 1000, "step %lu: %lu", steps_ns[i], n);
		end(&l);
	}
}

/* Rates that are no divisor of a second lose nothing to rounding. */
Test(virtio_rate, uneven_rates_are_exact)
{
	const uint64_t rates[] = {1, 3, 7, 999983, 123456789, 7000000001};

	for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
		struct limited l;
		uint64_t got = 0, now_ns = T0;

		begin(&l, &(struct rate){.bytes_per_s = rates[i], .burst_bytes = rates[i] * 2});
		cr_assert(rate_limit_take(&l.limit, rates[i] * 2, now_ns));
		for (unsigned step = 0; step < 10000; step++) {
			uint64_t part;

			now_ns += 100003 + step % 5;
			(void)rate_limit_take(&l.limit, 0, now_ns);
			part = (uint64_t)l.limit.bytes.tokens;
			cr_assert(rate_limit_take(&l.limit, part, now_ns));
			got += part;
		}
		cr_assert_eq(got, (now_ns - T0) * rates[i] / NS_PER_S);
		end(&l);
	}
}

Test(virtio_rate, larger_than_the_burst_leaves_a_debt)
{
	struct limited l;

	begin(&l, &(struct rate){.bytes_per_s = 1000, .burst_bytes = 100});
	cr_assert(rate_limit_take(&l.limit, 1100, T0));
	cr_assert_eq(l.limit.bytes.tokens, -1000);
	cr_assert(!rate_limit_take(&l.limit, 1, T0));
	loop_run(l.loop);
	/* Due after 1.001 s, of which a wait is one at most; not full for another one before 1.1 s.
	 */
	cr_assert(!rate_limit_take(&l.limit, 1, T0 + NS_PER_S));
	cr_assert_eq(l.limit.due_ns, T0 + 1001 * NS_PER_MS);
	loop_run(l.loop);
	cr_assert(rate_limit_take(&l.limit, 1, T0 + 1001 * NS_PER_MS));
	cr_assert(!rate_limit_take(&l.limit, 500, T0 + 1001 * NS_PER_MS));
	cr_assert_eq(l.limit.due_ns, T0 + 1101 * NS_PER_MS);
	end(&l);
}

Test(virtio_rate, both_limits_hold)
{
	struct limited l;

	begin(&l, &(struct rate){.bytes_per_s = 1000, .ops_per_s = 10, .burst_bytes = 1000});
	cr_assert(rate_limit_take(&l.limit, 10, T0)); /* 100 ms of operations: one */
	cr_assert(!rate_limit_take(&l.limit, 10, T0));
	cr_assert_eq(l.limit.bytes.tokens, 990, "what may not go is not charged");
	cr_assert_eq(l.limit.due_ns, T0 + 100 * NS_PER_MS);
	loop_run(l.loop);
	cr_assert(rate_limit_take(&l.limit, 1000, T0 + 100 * NS_PER_MS));
	cr_assert(!rate_limit_take(&l.limit, 500, T0 + 200 * NS_PER_MS));
	cr_assert_eq(l.limit.due_ns, T0 + 600 * NS_PER_MS);
	end(&l);
}

Test(virtio_rate, extremes)
{
	struct limited l;

	begin(&l, &(struct rate){.bytes_per_s = UINT64_MAX,
				 .ops_per_s = UINT64_MAX,
				 .burst_bytes = UINT64_MAX});
	cr_assert(rate_limit_take(&l.limit, UINT64_MAX, T0));
	cr_assert_lt(l.limit.bytes.tokens, 0);
	cr_assert(rate_limit_take(&l.limit, UINT64_MAX, T0 + 10 * NS_PER_S));
	cr_assert(!rate_limit_take(&l.limit, 1, T0), "a clock that goes back gives nothing");
	end(&l);
	begin(&l, &(struct rate){.bytes_per_s = 1, .ops_per_s = 1});
	cr_assert(rate_limit_take(&l.limit, UINT64_MAX, T0));
	cr_assert(!rate_limit_take(&l.limit, 0, UINT64_MAX - NS_PER_S));
	end(&l);
}

/* Who waited goes as of when it was due, however small the bucket. */
Test(virtio_rate, late_timers_cost_nothing)
{
	struct limited l;

	begin(&l, &(struct rate){.ops_per_s = 1000, .burst_ops = 1});
	cr_assert(rate_limit_take(&l.limit, 0, T0));
	cr_assert(!rate_limit_take(&l.limit, 0, T0));
	loop_run(l.loop);
	cr_assert(rate_limit_take(&l.limit, 0, T0 + 1900000));
	cr_assert(!rate_limit_take(&l.limit, 0, T0 + 1900000));
	cr_assert_eq(l.limit.due_ns, T0 + 2000000);
	end(&l);
}

Test(virtio_rate, by_the_real_clock)
{
	struct limited l;
	uint64_t start_ns;

	begin(&l, &(struct rate){.ops_per_s = 1000, .burst_ops = 10});
	start_ns = clock_now_ns();
	l.until_ns = start_ns + 500 * NS_PER_MS;
	take_all(&l);
	loop_run(l.loop);
	/* A burst, and 500; no more than the time allows, and hardly less. */
	cr_assert_leq(l.n_done, 10 + (clock_now_ns() - start_ns) / NS_PER_MS);
	cr_assert_geq(l.n_done, 400, "%u", l.n_done);
	end(&l);
}

Test(virtio_rate, stop)
{
	struct limited l;

	begin(&l, &(struct rate){.ops_per_s = 1});
	cr_assert(rate_limit_take(&l.limit, 0, clock_now_ns()));
	cr_assert(rate_limit_stop(&l.limit));
	cr_assert(!rate_limit_take(&l.limit, 0, clock_now_ns()));
	cr_assert(!rate_limit_stop(&l.limit));
	loop_run(l.loop); /* ready() ends it */
	cr_assert_eq(l.n_ready, 1);
	cr_assert(rate_limit_stop(&l.limit));
	cr_assert(!rate_limit_take(&l.limit, 0, clock_now_ns()), "and nothing was given away");
	end(&l);
}
