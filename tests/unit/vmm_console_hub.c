// SPDX-License-Identifier: Apache-2.0
/* The console's readers: backlog first, the oldest bytes lost when one does not keep up, places
 * free again after a hang-up. */
#include "tests/unit/harness.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/util.h"
#include "virtio/console.h"
#include "runner/console_hub.h"

UNIT_SUITE(console_hub);

struct stopper {
	struct loop_timer timer;
	struct loop *loop;
};

static void stop(struct loop_op *op, int res, uint32_t flags)
{
	(void)res, (void)flags;
	loop_stop(container_of(op, struct stopper, timer.op)->loop);
}

static void run_for_ms(struct loop *loop, unsigned ms)
{
	struct stopper stopper = {.loop = loop, .timer.op.done = stop};

	cr_assert_eq(loop_timer_start(loop, &stopper.timer, clock_now_ns() + ms * NS_PER_MS), 0);
	cr_assert_eq(loop_run(loop), 0);
}

static struct console_hub *new_hub(struct loop **loop)
{
	struct console_hub *hub = malloc(sizeof(*hub));

	cr_assert_eq(loop_new(loop, 32, 32), 0);
	console_hub_init(hub, *loop);
	return hub;
}

Test(console_hub, a_reader_gets_the_backlog_and_then_what_comes)
{
	struct loop *loop;
	struct console_hub *hub = new_hub(&loop);
	char got[64] = "";
	int ends[2];

	console_hub_write(hub, "early ", 6);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	cr_assert_eq(console_hub_add(hub, ends[0], true), 0);
	run_for_ms(loop, 20);
	console_hub_write(hub, "late", 4);
	run_for_ms(loop, 20);
	cr_assert_eq(read(ends[1], got, sizeof(got)), 10);
	cr_assert_str_eq(got, "early late");
	close(ends[1]);
	run_for_ms(loop, 20);
	for (unsigned i = 0; i < CONSOLE_READERS_MAX; i++)
		cr_assert_null(hub->readers[i].hub);
	loop_free(loop);
	free(hub);
}

Test(console_hub, a_slow_reader_loses_the_oldest_and_holds_up_nobody)
{
	struct loop *loop;
	struct console_hub *hub = new_hub(&loop);
	static char chunk[1000], got[4 << 20];
	int ends[2];
	ssize_t n;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	cr_assert_eq(console_hub_add(hub, ends[0], true), 0);
	for (unsigned i = 0; i < 3000; i++) {
		memset(chunk, 'a' + (int)(i % 26), sizeof(chunk));
		console_hub_write(hub, chunk, sizeof(chunk));
		if (i % 100 == 0)
			run_for_ms(loop, 1);
	}
	memcpy(chunk, "the end", 7);
	console_hub_write(hub, chunk, 7);
	io_set_nonblock(ends[1], 1);
	n = 0;
	for (unsigned i = 0; i < 200; i++) {
		ssize_t more;

		run_for_ms(loop, 1);
		more = read(ends[1], got + n, sizeof(got) - (size_t)n);
		n += more > 0 ? more : 0;
	}
	cr_assert_lt(n, 2000000);
	cr_assert_eq(memcmp(got + n - 7, "the end", 7), 0);
	close(ends[1]);
	run_for_ms(loop, 20);
	loop_free(loop);
	free(hub);
}

Test(console_hub, readers_that_do_not_read_keep_nobody_out)
{
	struct loop *loop;
	struct console_hub *hub = new_hub(&loop);
	int ends[2], stuck[2 * CONSOLE_READERS_MAX];
	static char chunk[4096];
	char got[64] = "";

	for (unsigned i = 0; i < ARRAY_SIZE(stuck); i++) {
		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
		cr_assert_eq(console_hub_add(hub, ends[0], true), 0, "reader %u", i);
		stuck[i] = ends[1];
		run_for_ms(loop, 5);
	}
	for (unsigned i = 0; i < 200; i++) {
		console_hub_write(hub, chunk, sizeof(chunk));
		run_for_ms(loop, 1);
	}
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	cr_assert_eq(console_hub_add(hub, ends[0], true), 0);
	run_for_ms(loop, 20);
	while (recv(ends[1], chunk, sizeof(chunk), MSG_DONTWAIT) > 0)
		run_for_ms(loop, 1);
	console_hub_write(hub, "news", 4);
	run_for_ms(loop, 5);
	cr_assert_eq(recv(ends[1], got, sizeof(got), MSG_DONTWAIT), 4);
	cr_assert_str_eq(got, "news");
	close(ends[1]);
	for (unsigned i = 0; i < ARRAY_SIZE(stuck); i++)
		close(stuck[i]);
	run_for_ms(loop, 20);
	cr_assert(console_hub_is_closed(hub));
	loop_free(loop);
	free(hub);
}

/* The backlog as a new reader gets it. */
static void expect_backlog(struct console_hub *hub, const char *expected)
{
	char got[4096] = "";
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	cr_assert_eq(console_hub_add(hub, ends[0], true), 0);
	run_for_ms(hub->loop, 20);
	cr_assert_gt(recv(ends[1], got, sizeof(got) - 1, MSG_DONTWAIT), 0);
	cr_assert_str_eq(got, expected);
	close(ends[1]);
	run_for_ms(hub->loop, 20);
}

Test(console_hub, what_the_agent_says_stands_in_lines_of_its_own)
{
	struct loop *loop;
	struct console_hub *hub = new_hub(&loop);

	console_hub_port_write(hub, CONSOLE_PORT_AGENT, "one\ntw", 6);
	console_hub_port_write(hub, CONSOLE_PORT_KERNEL, "[0.1] half", 10);
	console_hub_port_write(hub, CONSOLE_PORT_AGENT, "o\n", 2);
	console_hub_port_write(hub, CONSOLE_PORT_KERNEL, " a line\r\n", 9);
	console_hub_port_write(hub, CONSOLE_PORT_AGENT, "three\n", 6);
	expect_backlog(hub, "agent: one\r\n[0.1] half\r\nagent: two\r\n a line\r\n"
			    "agent: three\r\n");
	loop_free(loop);
	free(hub);
}

Test(console_hub, a_line_without_end_is_cut)
{
	struct loop *loop;
	struct console_hub *hub = new_hub(&loop);
	static char text[2 * CONSOLE_LINE_MAX + 9], expected[sizeof(text) + 64];

	memset(text, 'x', sizeof(text) - 1);
	snprintf(expected, sizeof(expected), "agent: %.*s\r\nagent: %.*s\r\nagent: xxxxxxxx\r\n",
		 (int)CONSOLE_LINE_MAX, text, (int)CONSOLE_LINE_MAX, text);
	console_hub_port_write(hub, CONSOLE_PORT_AGENT, text, sizeof(text) - 1);
	console_hub_port_write(hub, CONSOLE_PORT_AGENT, "\n", 1);
	expect_backlog(hub, expected);
	loop_free(loop);
	free(hub);
}
