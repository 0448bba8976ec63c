// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/harness.h"

#include "base/clock.h"
#include "base/util.h"
#include "virtio/pace.h"

UNIT_SUITE(virtio_pace);

#define GAP_NS 1000u

struct fixture {
	struct loop *loop;
	struct pace pace;
	uint64_t now_ns;
	unsigned n_late;
};

static void on_late(void *user)
{
	struct fixture *f = user;

	f->n_late++;
	loop_stop(f->loop);
}

static void begin(struct fixture *f)
{
	*f = (struct fixture){.now_ns = clock_now_ns()};
	cr_assert_eq(loop_new(&f->loop, 8, 8), 0);
	pace_init(&f->pace, f->loop, on_late, f);
}

static void end(struct fixture *f)
{
	if (!pace_stop(&f->pace))
		cr_assert_eq(loop_run(f->loop), 0);
	cr_assert_not(f->pace.timing);
	loop_free(f->loop);
}

/* The device takes n requests that came in due time; of how many it wants to hear then. */
static unsigned take(struct fixture *f, unsigned n)
{
	f->now_ns += (uint64_t)n * GAP_NS;
	pace_took(&f->pace, n, false, f->now_ns);
	return pace_wait(&f->pace);
}

static unsigned take_late(struct fixture *f, unsigned n)
{
	f->now_ns += 100 * GAP_NS;
	pace_took(&f->pace, n, true, f->now_ns);
	return pace_wait(&f->pace);
}

static unsigned grow(struct fixture *f)
{
	unsigned batch = 1;

	for (unsigned i = 0; i < 100; i++)
		batch = take(f, batch < 2 ? 2 : batch);
	return batch;
}

Test(virtio_pace, grows_while_batches_are_filled)
{
	struct fixture f;

	begin(&f);
	cr_assert_eq(take(&f, 2), 1, "nothing is known yet");
	cr_assert_eq(grow(&f), PACE_BATCH_MAX);
	end(&f);
}

Test(virtio_pace, one_at_a_time_is_not_held_up)
{
	struct fixture f;

	begin(&f);
	for (unsigned i = 0; i < 1000; i++)
		cr_assert_eq(take(&f, 1), 1);
	cr_assert_not(f.pace.timing);
	end(&f);
}

Test(virtio_pace, shrinks_at_once_and_tries_less_and_less_often)
{
	unsigned n_takes = 0, before = 0;
	struct fixture f;

	begin(&f);
	cr_assert_eq(grow(&f), PACE_BATCH_MAX);
	cr_assert_eq(take_late(&f, 1), PACE_BATCH_MAX, "forgiven");
	cr_assert_eq(take_late(&f, 1), 1);
	for (unsigned tries = 0; tries < 5; tries++) {
		for (n_takes = 0; take(&f, 2) == 1; n_takes++)
			cr_assert_lt(n_takes, 10000);
		cr_assert_gt(n_takes, before);
		before = n_takes;
		cr_assert_eq(take_late(&f, 1), 1);
	}
	end(&f);
}

Test(virtio_pace, a_hiccup_is_forgiven)
{
	struct fixture f;

	begin(&f);
	for (unsigned i = 0; i < 10; i++) {
		cr_assert_eq(grow(&f), PACE_BATCH_MAX, "%u", i);
		cr_assert_eq(take_late(&f, 5), PACE_BATCH_MAX);
	}
	end(&f);
}

Test(virtio_pace, the_first_after_a_rest_is_not_held_up)
{
	struct fixture f;

	begin(&f);
	grow(&f);
	cr_assert_eq(take_late(&f, 0), 1);
	f.now_ns += NS_PER_S;
	cr_assert_eq(take(&f, 1), PACE_BATCH_MAX, "a rest is no gap");
	end(&f);
}

Test(virtio_pace, slow_requests_are_not_gathered)
{
	struct fixture f;

	begin(&f);
	grow(&f);
	for (unsigned i = 0; i < 100; i++) {
		f.now_ns += PACE_WAIT_MAX_NS;
		take(&f, 2);
	}
	cr_assert_eq(take(&f, 2), 1);
	end(&f);
}

Test(virtio_pace, is_late_in_time)
{
	struct fixture f;
	uint64_t begin_ns;

	begin(&f);
	grow(&f);
	begin_ns = clock_now_ns();
	f.now_ns = begin_ns;
	take(&f, 8);
	cr_assert_eq(loop_run(f.loop), 0);
	cr_assert_eq(f.n_late, 1);
	cr_assert_geq(clock_now_ns() - begin_ns, 2 * PACE_BATCH_MAX * GAP_NS);
	end(&f);
}
