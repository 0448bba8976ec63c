// SPDX-License-Identifier: Apache-2.0
/* Calls, answers, events, deadlines, limits of a session. */
#include "tests/unit/idm_pair.h"

#include <errno.h>
#include <string.h>

UNIT_SUITE(idm_call);

Test(idm_call, answers_find_their_calls_at_any_chunk_size)
{
	for (size_t chunk = 1; chunk < 40; chunk++) {
		struct pair_answer answers[3] = {0};
		struct pair pair;

		pair_init(&pair);
		pair.chunk = chunk;
		for (unsigned i = 0; i < 3; i++)
			cr_assert_eq(idm_call(pair.client.idm, PAIR_ECHO, "hello", i, 0,
					      pair_answered, &answers[i], NULL),
				     0);
		cr_assert_eq(pair_run(&pair), 0);
		for (unsigned i = 0; i < 3; i++) {
			cr_assert_eq(answers[i].count, 1);
			cr_assert_eq(answers[i].error, 0);
			cr_assert_eq(answers[i].len, i);
			cr_assert_eq(memcmp(answers[i].payload, "hello", i), 0);
		}
		cr_assert_eq(pair.client.snooped_out, pair.server.snooped_in);
		cr_assert_eq(pair.client.snooped_in, 3);
		pair_deinit(&pair);
	}
}

Test(idm_call, errors_carry_their_text)
{
	struct pair_answer fail = {0}, unknown = {0}, huge = {0};
	struct pair pair;

	pair_init(&pair);
	cr_assert_eq(idm_call(pair.client.idm, PAIR_FAIL, NULL, 0, 0, pair_answered, &fail, NULL),
		     0);
	cr_assert_eq(idm_call(pair.client.idm, 99, NULL, 0, 0, pair_answered, &unknown, NULL), 0);
	cr_assert_eq(idm_call(pair.client.idm, PAIR_HUGE, NULL, 0, 0, pair_answered, &huge, NULL),
		     0);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(fail.error, -ENOENT);
	cr_assert_str_eq(fail.text, "no zone of that name");
	cr_assert_eq(unknown.error, -ENOSYS);
	cr_assert_str_eq(unknown.text, strerror(ENOSYS));
	cr_assert_eq(huge.error, -EMSGSIZE);
	pair_deinit(&pair);
}

Test(idm_call, without_a_handler_the_answer_is_enosys)
{
	static const struct idm_handler none = {NULL, NULL, NULL};
	struct pair_answer answer = {0};
	struct pair pair;

	pair_init(&pair);
	idm_free(pair.server.idm);
	pair.server.idm = idm_new(IDM_SERVER, &none, NULL);
	cr_assert_eq(idm_call(pair.client.idm, PAIR_ECHO, NULL, 0, 0, pair_answered, &answer, NULL),
		     0);
	cr_assert_eq(idm_event(pair.client.idm, 1, NULL, 0), 0);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(answer.error, -ENOSYS);
	pair_deinit(&pair);
}

Test(idm_call, deadlines_end_calls_and_late_answers_are_ignored)
{
	struct pair_answer early = {0}, late = {0}, never = {0};
	struct pair pair;

	pair_init(&pair);
	cr_assert_eq(idm_next_deadline(pair.client.idm), 0);
	cr_assert_eq(
		idm_call(pair.client.idm, PAIR_LATER, NULL, 0, 5000, pair_answered, &early, NULL),
		0);
	cr_assert_eq(
		idm_call(pair.client.idm, PAIR_NEVER, NULL, 0, 9000, pair_answered, &late, NULL),
		0);
	cr_assert_eq(idm_call(pair.client.idm, PAIR_NEVER, NULL, 0, 0, pair_answered, &never, NULL),
		     0);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(idm_next_deadline(pair.client.idm), 5000);
	idm_tick(pair.client.idm, 4999);
	cr_assert_eq(early.count, 0);
	idm_tick(pair.client.idm, 5000);
	cr_assert_eq(early.error, -ETIMEDOUT);
	cr_assert_eq(idm_next_deadline(pair.client.idm), 9000);
	cr_assert_eq(idm_reply(pair.server.idm, 1, 0, NULL, NULL, 0), 0);
	cr_assert_eq(idm_reply(pair.server.idm, 1, 0, NULL, NULL, 0), -ENOENT);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(early.count, 1);
	pair_deinit(&pair);
	cr_assert_eq(late.error, -ECONNRESET);
	cr_assert_eq(never.error, -ECONNRESET);
	cr_assert_eq(never.count, 1);
}

Test(idm_call, forgotten_calls_stay_silent)
{
	struct pair_answer answer = {0};
	struct pair pair;
	uint64_t id;

	pair_init(&pair);
	cr_assert_eq(idm_call(pair.client.idm, PAIR_ECHO, NULL, 0, 0, pair_answered, &answer, &id),
		     0);
	idm_call_forget(pair.client.idm, id);
	idm_call_forget(pair.client.idm, 12345);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(pair.server.requests, 1);
	pair_deinit(&pair);
	cr_assert_eq(answer.count, 0);
}

Test(idm_call, calls_under_way_are_bounded)
{
	struct pair_answer answer = {0};
	struct pair pair;

	pair_init(&pair);
	for (unsigned i = 0; i < IDM_CALLS_MAX; i++)
		cr_assert_eq(idm_call(pair.client.idm, PAIR_NEVER, NULL, 0, 0, pair_answered,
				      &answer, NULL),
			     0);
	cr_assert_eq(
		idm_call(pair.client.idm, PAIR_NEVER, NULL, 0, 0, pair_answered, &answer, NULL),
		-EAGAIN);
	cr_assert_eq(pair_run(&pair), 0);
	pair_deinit(&pair);
	cr_assert_eq(answer.count, IDM_CALLS_MAX);
}

Test(idm_call, what_is_too_long_is_refused)
{
	static const uint8_t data[IDM_PACKET_MAX];
	struct pair_answer answer = {0};
	struct pair pair;

	pair_init(&pair);
	cr_assert_eq(
		idm_call(pair.client.idm, 1, data, sizeof(data), 0, pair_answered, &answer, NULL),
		-EMSGSIZE);
	cr_assert_eq(idm_event(pair.client.idm, 1, data, sizeof(data)), -EMSGSIZE);
	cr_assert_eq(idm_event(pair.client.idm, 1, data, sizeof(data) - 64), 0);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(pair.server.events, 1);
	pair_deinit(&pair);
}

Test(idm_call, events_arrive_in_order)
{
	struct pair pair;

	pair_init(&pair);
	cr_assert_eq(idm_event(pair.server.idm, 7, "first", 5), 0);
	cr_assert_eq(idm_event(pair.server.idm, 8, "second", 6), 0);
	cr_assert_eq(pair_run(&pair), 0);
	cr_assert_eq(pair.client.events, 2);
	cr_assert_eq(pair.client.last_event, 8);
	cr_assert_str_eq(pair.client.last_text, "second");
	pair_deinit(&pair);
}

/* A peer that asks without reading the answers must not fill our memory. */
Test(idm_call, unread_answers_are_bounded)
{
	static const uint8_t data[60000];
	struct pair_answer answer = {0};
	struct pair pair;
	uint8_t buf[65536];
	unsigned asked = 0;
	int r = 0;

	pair_init(&pair);
	while (!r && asked < 1000) {
		size_t n;

		asked++;
		cr_assert_eq(idm_call(pair.client.idm, PAIR_ECHO, data, sizeof(data), 0,
				      pair_answered, &answer, NULL),
			     0);
		while (!r && (n = idm_output(pair.client.idm, buf, sizeof(buf))))
			r = idm_feed(pair.server.idm, buf, n, 1);
	}
	cr_assert_eq(r, -EBADMSG);
	cr_assert_lt(asked, 200);
	pair_deinit(&pair);
}
