// SPDX-License-Identifier: Apache-2.0
/* The pump over a real socket pair, both ends polled by one thread. */
#include "tests/unit/idm_pair.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "idm-vsock/pump.h"

UNIT_SUITE(idm_pump);

struct wired {
	struct pair pair;
	struct idm_pump client, server;
	int fds[2];
};

static struct wired *wired_new(void)
{
	struct wired *wired = malloc(sizeof(*wired));

	cr_assert_not_null(wired);
	pair_init(&wired->pair);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, wired->fds), 0);
	cr_assert_eq(idm_pump_init(&wired->client, wired->fds[0], wired->pair.client.idm), 0);
	cr_assert_eq(idm_pump_init(&wired->server, wired->fds[1], wired->pair.server.idm), 0);
	return wired;
}

static void wired_free(struct wired *wired)
{
	pair_deinit(&wired->pair);
	close(wired->fds[0]);
	close(wired->fds[1]);
	free(wired);
}

/* Runs until nothing happens any more. */
static void wired_run(struct wired *wired)
{
	for (;;) {
		struct pollfd polls[2] = {{wired->fds[0], idm_pump_events(&wired->client), 0},
					  {wired->fds[1], idm_pump_events(&wired->server), 0}};

		if (poll(polls, 2, 50) == 0)
			return;
		if (polls[0].revents)
			cr_assert_eq(idm_pump_run(&wired->client, 1), 0);
		if (polls[1].revents)
			cr_assert_eq(idm_pump_run(&wired->server, 1), 0);
	}
}

Test(idm_pump, streams_and_calls_over_a_socket)
{
	const size_t len = 5u << 20;
	uint8_t *bytes = malloc(len);
	struct pair_stream client = {.send = bytes, .send_len = len}, server = {.expect = bytes};
	struct pair_answer answer = {0};
	struct wired *wired = wired_new();

	cr_assert_not_null(bytes);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	cr_assert_eq(idm_stream_open(wired->pair.client.idm, 100, &pair_stream_ops, &client,
				     &client.stream),
		     0);
	wired_run(wired);
	cr_assert_eq(idm_stream_accept(wired->pair.server.idm, 1, 4u << 20, &pair_stream_ops,
				       &server, &server.stream),
		     0);
	wired_run(wired);
	pair_stream_push(&client);
	cr_assert_eq(idm_call(wired->pair.client.idm, PAIR_ECHO, "hi", 2, 0, pair_answered, &answer,
			      NULL),
		     0);
	wired_run(wired);
	cr_assert_eq(server.received, len);
	cr_assert_eq(answer.len, 2);
	wired_free(wired);
	free(bytes);
}

Test(idm_pump, the_end_of_the_connection_is_told)
{
	struct wired *wired = wired_new();

	close(wired->fds[1]);
	cr_assert_eq(idm_pump_run(&wired->client, 1), -ECONNRESET);
	cr_assert_eq(idm_event(wired->pair.client.idm, 1, "x", 1), 0);
	cr_assert_eq(idm_pump_flush(&wired->client), -ECONNRESET);
	wired->fds[1] = -1;
	wired_free(wired);
}

Test(idm_pump, garbage_ends_the_connection)
{
	struct wired *wired = wired_new();

	cr_assert_eq(write(wired->fds[1], "\xff\xff\xff\xff", 4), 4);
	cr_assert_eq(idm_pump_run(&wired->client, 1), -EBADMSG);
	wired_free(wired);
}
