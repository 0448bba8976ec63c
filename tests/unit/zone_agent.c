// SPDX-License-Identifier: Apache-2.0
/* The agent as its host sees it: programs run in the zone itself, their streams and ends. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "tests/unit/zone_fixture.h"

UNIT_SUITE(zone_agent);

#define METHOD(name) PROTECT__AGENT__METHOD__METHOD_##name
#define SH(script)                                                                                 \
	{                                                                                          \
		"/bin/sh", "-c", script, NULL                                                      \
	}
#define BIG (10u << 20)

static int run_script(struct fixture *f, char *script)
{
	struct fixture_reply reply;
	struct fixture_run run = {.argv = SH(script)};

	cr_assert_eq(fixture_exec(f, &run, &reply), 0, "%s", reply.text);
	return fixture_finish(f);
}

Test(zone_agent, exit_codes)
{
	struct fixture f;

	fixture_init(&f);
	cr_assert_eq(run_script(&f, "exit 0"), 0);
	cr_assert_eq(run_script(&f, "exit 7"), 7);
	cr_assert_eq(run_script(&f, "kill -9 $$"), 137);
	cr_assert_eq(f.exits[2].signal, SIGKILL);
	cr_assert_str_eq(f.exits[2].id, FIXTURE_UUID_3);
	fixture_deinit(&f);
}

Test(zone_agent, output_and_errors_apart_and_before_the_exit)
{
	struct fixture f;

	fixture_init(&f);
	cr_assert_eq(run_script(&f, "echo out; echo err >&2"), 0);
	cr_assert_str_eq(f.out.data, "out\n");
	cr_assert_str_eq(f.err.data, "err\n");
	cr_assert_eq(f.exits[0].out_len, 4);
	cr_assert(f.out.ended && f.err.ended);
	fixture_deinit(&f);
}

Test(zone_agent, ten_mib_out_unharmed)
{
	struct fixture f;

	fixture_init(&f);
	cr_assert_eq(run_script(&f, "yes 0123456789abcde | head -c 10485760"), 0);
	cr_assert_eq(f.out.len, BIG);
	cr_assert_eq(f.exits[0].out_len, BIG);
	for (size_t i = 0; i < BIG; i += 16)
		cr_assert_eq(memcmp(f.out.data + i, "0123456789abcde\n", 16), 0);
	fixture_deinit(&f);
}

Test(zone_agent, ten_mib_in_and_out_again)
{
	char *data = malloc(BIG);
	struct fixture_reply reply;
	struct fixture_run run = {.argv = {"cat"}};
	struct fixture f;

	for (size_t i = 0; i < BIG; i++)
		data[i] = (char)(i * 31 >> 3);
	fixture_init(&f);
	cr_assert_eq(fixture_exec(&f, &run, &reply), 0);
	fixture_send(&f.out, data, BIG);
	cr_assert_eq(fixture_finish(&f), 0);
	cr_assert_eq(f.out.len, BIG);
	cr_assert_eq(memcmp(f.out.data, data, BIG), 0);
	fixture_deinit(&f);
	free(data);
}

Test(zone_agent, a_reader_that_stops_stops_the_process_only)
{
	struct fixture_reply reply;
	struct fixture_run run = {.argv = SH("yes | head -c 10485760"), .id = FIXTURE_UUID_1};
	Protect__Agent__Ping ping = PROTECT__AGENT__PING__INIT;
	struct fixture f;
	size_t before;

	fixture_init(&f);
	cr_assert_eq(fixture_exec(&f, &run, &reply), 0);
	f.out.stopped = true;
	fixture_idle(&f, 300);
	before = f.out.len;
	cr_assert_leq(before, IDM_WINDOW);
	cr_assert_eq(fixture_call(&f, METHOD(PING), &ping, &reply), 0);
	fixture_idle(&f, 100);
	cr_assert_eq(f.out.len, before);
	cr_assert_eq(f.n_exits, 0);
	f.out.stopped = false;
	idm_stream_consumed(f.out.stream, before);
	cr_assert_eq(fixture_finish(&f), 0);
	cr_assert_eq(f.out.len, BIG);
	fixture_deinit(&f);
}

Test(zone_agent, environment_and_directory)
{
	struct fixture_reply reply;
	struct fixture_run run = {
		.argv = SH("echo $A $B $HOME; pwd"),
		.env = {"A=1", "B=2", "A=3"},
		.directory = "/proc/sys",
	};
	struct fixture f;

	fixture_init(&f);
	cr_assert_eq(env_set(&f.zone.env, "B=zone"), 0);
	cr_assert_eq(fixture_exec(&f, &run, &reply), 0);
	cr_assert_eq(fixture_finish(&f), 0);
	cr_assert_str_eq(f.out.data, "3 2 /root\n/proc/sys\n");
	fixture_deinit(&f);
}

Test(zone_agent, a_program_that_cannot_start_says_why)
{
	struct fixture_reply reply;
	struct fixture_run nope = {.argv = {"/bin/nope"}}, no_path = {.argv = {"nope-nope"}},
			   no_dir = {.argv = {"true"}, .directory = "/nowhere"},
			   no_user = {.argv = {"true"}, .user = "nobody-at-all"},
			   a_dir = {.argv = {"/etc"}}, empty = {.argv = {""}};
	struct fixture f;

	fixture_init(&f);
	cr_assert_eq(fixture_exec(&f, &nope, &reply), -ENOENT);
	cr_assert_str_eq(reply.text, "exec /bin/nope: No such file or directory");
	fixture_idle(&f, 20);
	cr_assert_eq(f.out.error, -ENOENT);
	cr_assert_eq(fixture_exec(&f, &no_path, &reply), -ENOENT);
	cr_assert_str_eq(reply.text, "exec nope-nope: No such file or directory");
	cr_assert_eq(fixture_exec(&f, &no_dir, &reply), -ENOENT);
	cr_assert(strstr(reply.text, "/nowhere"), "%s", reply.text);
	cr_assert_eq(fixture_exec(&f, &no_user, &reply), -ENOENT);
	cr_assert(strstr(reply.text, "nobody-at-all"), "%s", reply.text);
	cr_assert_eq(fixture_exec(&f, &a_dir, &reply), -EACCES);
	cr_assert_eq(fixture_exec(&f, &empty, &reply), -EINVAL);
	fixture_idle(&f, 100);
	cr_assert_eq(f.n_exits, 0);
	for (unsigned i = 0; i < ZONE_EXECS_MAX; i++)
		cr_assert_null(f.zone.execs[i]);
	fixture_deinit(&f);
}

Test(zone_agent, a_user_of_the_zone)
{
	struct fixture_reply reply;
	struct fixture_run run = {.argv = SH("id -u; id -g; grep -E '^Cap(Prm|Eff)' "
					     "/proc/self/status; echo x >/dev/stdout"),
				  .user = "12:34"};
	struct fixture f;

	fixture_init(&f);
	cr_assert_eq(fixture_exec(&f, &run, &reply), 0);
	cr_assert_eq(fixture_finish(&f), 0);
	cr_assert_str_eq(f.out.data,
			 "12\n34\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nx\n");
	fixture_deinit(&f);
}

Test(zone_agent, a_descendant_that_keeps_the_pipe_delays_nothing)
{
	struct fixture f;
	uint64_t start;

	fixture_init(&f);
	start = clock_now_ns();
	cr_assert_eq(run_script(&f, "echo first; sleep 30 & exit 3"), 3);
	cr_assert_lt(clock_now_ns() - start, 10 * NS_PER_S);
	cr_assert_str_eq(f.out.data, "first\n");
	fixture_deinit(&f);
}

Test(zone_agent, terminal)
{
	struct fixture_reply reply;
	struct fixture_run run = {
		.argv = SH("stty size; tty >/dev/null && echo tty $TERM; read line; stty size; "
			   "echo got $line"),
		.terminal = true,
		.rows = 33,
		.columns = 77,
	};
	Protect__Agent__Resize resize = PROTECT__AGENT__RESIZE__INIT;
	Protect__Agent__Terminal terminal = PROTECT__AGENT__TERMINAL__INIT;
	char id[] = FIXTURE_UUID_3;
	struct fixture f;

	fixture_init(&f);
	cr_assert_eq(fixture_exec(&f, &run, &reply), 0, "%s", reply.text);
	while (!strstr(f.out.data, "tty xterm"))
		fixture_turn(&f);
	cr_assert(strstr(f.out.data, "33 77\r\n"), "%s", f.out.data);
	terminal.rows = 12;
	terminal.columns = 34;
	resize.id = id;
	resize.terminal = &terminal;
	cr_assert_eq(fixture_call(&f, METHOD(RESIZE), &resize, &reply), 0);
	fixture_send(&f.out, "hello\n", 6);
	cr_assert_eq(fixture_finish(&f), 0);
	cr_assert(strstr(f.out.data, "12 34\r\ngot hello\r\n"), "%s", f.out.data);
	fixture_deinit(&f);
}

Test(zone_agent, signals_reach_it)
{
	struct fixture_reply reply;
	struct fixture_run run = {
		.argv = SH("trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done")};
	Protect__Agent__Signal message = PROTECT__AGENT__SIGNAL__INIT;
	char id[] = FIXTURE_UUID_3, other[] = FIXTURE_UUID_2;
	struct fixture f;

	fixture_init(&f);
	cr_assert_eq(fixture_exec(&f, &run, &reply), 0);
	while (!strstr(f.out.data, "ready"))
		fixture_turn(&f);
	message.id = id;
	message.signal = 0;
	cr_assert_eq(fixture_call(&f, METHOD(SIGNAL), &message, &reply), -EINVAL);
	message.signal = 1000;
	cr_assert_eq(fixture_call(&f, METHOD(SIGNAL), &message, &reply), -EINVAL);
	message.signal = SIGTERM;
	message.id = other;
	cr_assert_eq(fixture_call(&f, METHOD(SIGNAL), &message, &reply), -ENOENT);
	message.id = id;
	cr_assert_eq(fixture_call(&f, METHOD(SIGNAL), &message, &reply), 0);
	cr_assert_eq(fixture_finish(&f), 9);
	fixture_deinit(&f);
}

Test(zone_agent, an_exec_does_not_outlive_its_session)
{
	struct fixture_reply reply;
	struct fixture_run run = {.argv = SH("echo ready; sleep 1000")};
	struct fixture f;

	fixture_init(&f);
	cr_assert_eq(fixture_exec(&f, &run, &reply), 0);
	while (!strstr(f.out.data, "ready"))
		fixture_turn(&f);
	fixture_disconnect(&f);
	while (f.zone.execs[0])
		fixture_turn(&f);
	cr_assert_eq(f.lost, 1);
	fixture_connect(&f);
	cr_assert_eq(run_script(&f, "exit 4"), 4);
	fixture_deinit(&f);
}

Test(zone_agent, metrics_have_figures)
{
	Protect__Agent__Empty empty = PROTECT__AGENT__EMPTY__INIT;
	Protect__Agent__Metrics *metrics;
	static struct fixture_reply reply;
	struct fixture f;
	unsigned found = 0;

	fixture_init(&f);
	cr_assert_eq(fixture_call(&f, METHOD(METRICS), &empty, &reply), 0);
	metrics = protect__agent__metrics__unpack(NULL, reply.len, reply.payload);
	for (size_t i = 0; i < metrics->n_metrics; i++)
		if ((!strcmp(metrics->metrics[i]->name, "memory.total_bytes") ||
		     !strcmp(metrics->metrics[i]->name, "cpu.user_ns")) &&
		    metrics->metrics[i]->value > 0)
			found++;
	cr_assert_eq(found, 2);
	protect__agent__metrics__free_unpacked(metrics, NULL);
	fixture_deinit(&f);
}

Test(zone_agent, bootstrap_once)
{
	Protect__Agent__Bootstrap message = PROTECT__AGENT__BOOTSTRAP__INIT;
	Protect__Agent__ZoneReady *ready;
	char name[] = "my-zone", bad[] = "a/b", *env[] = {"Z=1"},
	     *servers[] = {"10.0.0.1", "fd00::1"};
	static struct fixture_reply reply;
	struct fixture f;

	fixture_init(&f);
	message.hostname = bad;
	message.env = env;
	message.n_env = 1;
	message.nameservers = servers;
	message.n_nameservers = 2;
	cr_assert_eq(fixture_call(&f, METHOD(BOOTSTRAP), &message, &reply), -EINVAL);
	message.hostname = name;
	cr_assert_eq(fixture_call(&f, METHOD(BOOTSTRAP), &message, &reply), 0);
	ready = protect__agent__zone_ready__unpack(NULL, reply.len, reply.payload);
	cr_assert_gt(strlen(ready->kernel_release), 0);
	cr_assert_gt(ready->boot_ns, 0);
	protect__agent__zone_ready__free_unpacked(ready, NULL);
	cr_assert_str_eq(f.zone.resolv, "nameserver 10.0.0.1\nnameserver fd00::1\n");
	cr_assert_eq(fixture_call(&f, METHOD(BOOTSTRAP), &message, &reply), -EALREADY);
	cr_assert_eq(run_script(&f, "test $Z = 1 && test $HOSTNAME = my-zone"), 0);
	fixture_deinit(&f);
}

Test(zone_agent, what_it_cannot_read_is_refused)
{
	Protect__Agent__Ping ping = PROTECT__AGENT__PING__INIT;
	static struct fixture_reply reply;
	struct fixture f;

	fixture_init(&f);
	ping.cookie = 77;
	cr_assert_eq(fixture_call(&f, 999, &ping, &reply), -ENOSYS);
	cr_assert_eq(fixture_call(&f, METHOD(BOOTSTRAP), &ping, &reply), -EBADMSG);
	cr_assert_eq(fixture_call(&f, METHOD(PING), &ping, &reply), 0);
	cr_assert_eq(fixture_call(&f, METHOD(SHUTDOWN), &ping, &reply), -EOPNOTSUPP);
	fixture_deinit(&f);
}
