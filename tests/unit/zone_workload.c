// SPDX-License-Identifier: Apache-2.0
/* Workloads: an image on a loop device, launched, seen from inside, removed. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/zone_fixture.h"
#include "zone-guest/workload.h"

UNIT_SUITE(zone_workload);

#define METHOD(name) PROTECT__AGENT__METHOD__METHOD_##name
#define SH(script)                                                                                 \
	{                                                                                          \
		"sh", "-c", script, NULL                                                           \
	}

static struct fixture_reply reply;

static int remove_workload(struct fixture *f, const char *uuid)
{
	Protect__Agent__WorkloadId message = PROTECT__AGENT__WORKLOAD_ID__INIT;
	int r;

	message.workload = strdup(uuid);
	r = fixture_call(f, METHOD(WORKLOAD_REMOVE), &message, &reply);
	free(message.workload);
	return r;
}

static const char *inside(struct fixture *f, char *script, const char *user)
{
	struct fixture_run run = {.argv = SH(script), .user = user};

	cr_assert_eq(fixture_launch(f, &run, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(f), 0, "%s%s", f->out.data, f->err.data);
	cr_assert_eq(remove_workload(f, FIXTURE_UUID_1), 0);
	return f->out.data;
}

Test(zone_workload, is_pid_1_of_its_own)
{
	struct fixture f;

	fixture_init(&f);
	fixture_image(&f);
	cr_assert_str_eq(inside(&f,
				"echo $$; hostname; cat /etc/hostname; echo $HOSTNAME $HOME; pwd; "
				"set -- /proc/[0-9]*; echo $#",
				NULL),
			 "1\ntest-1\ntest-1\ntest-1 /root\n/\n1\n");
	fixture_deinit(&f);
}

Test(zone_workload, sees_its_image_and_nothing_of_the_zone)
{
	const char *out;
	struct fixture f;

	fixture_init(&f);
	fixture_image(&f);
	strcpy(f.zone.resolv, "nameserver 10.1.2.3\n");
	out = inside(&f,
		     "ls /; cat /etc/resolv.conf; grep -c test-1 /etc/hosts; ls /dev; touch "
		     "/written && echo w; grep -c . /proc/mounts >/dev/null; grep ' / ' "
		     "/proc/mounts | grep -c .; grep -q workload /proc/mounts || echo clean",
		     NULL);
	cr_assert_str_eq(out, "bin\ndev\netc\nhome\nproc\nsys\n"
			      "nameserver 10.1.2.3\n1\n"
			      "core\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin"
			      "\nstdout\ntty\nurandom\nzero\n"
			      "w\n1\nclean\n");
	fixture_deinit(&f);
}

Test(zone_workload, runs_as_the_images_user)
{
	struct fixture f;

	fixture_init(&f);
	fixture_image(&f);
	cr_assert_str_eq(inside(&f,
				"id -u; id -g; id -G; echo $HOME; grep -E '^Cap(Inh|Prm|Eff|Bnd)' "
				"/proc/self/status; echo z >/dev/stderr",
				"app"),
			 "1000\n1001\n1001 "
			 "50\n/home/app\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
			 "CapEff:\t0000000000000000\nCapBnd:\t00000000a00425fb\n");
	cr_assert_str_eq(f.err.data, "z\n");
	cr_assert_str_eq(
		inside(&f,
		       "id -u; grep -E '^(Cap(Inh|Prm|Eff|Bnd)|Seccomp:)' /proc/self/status; "
		       "mknod /dev/disk b 7 0 2>/dev/null || echo no node",
		       NULL),
		"0\nCapInh:\t0000000000000000\nCapPrm:\t00000000a00425fb\nCapEff:"
		"\t00000000a00425fb\n"
		"CapBnd:\t00000000a00425fb\nSeccomp:\t2\nno node\n");
	fixture_deinit(&f);
}

Test(zone_workload, exit_codes_stay_known_until_it_is_removed)
{
	struct fixture_run run = {.argv = SH("exit 7")},
			   killed = {.argv = SH("sleep 100"), .id = FIXTURE_UUID_2};
	Protect__Agent__Empty empty = PROTECT__AGENT__EMPTY__INIT;
	Protect__Agent__Signal kill_it = PROTECT__AGENT__SIGNAL__INIT;
	Protect__Agent__ZoneState *state;
	char id[] = FIXTURE_UUID_2;
	struct fixture f;

	fixture_init(&f);
	fixture_image(&f);
	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 7);
	cr_assert_eq(fixture_launch(&f, &killed, &reply), 0, "%s", reply.text);
	kill_it.id = id;
	kill_it.signal = SIGKILL;
	cr_assert_eq(fixture_call(&f, METHOD(SIGNAL), &kill_it, &reply), 0);
	cr_assert_eq(fixture_finish(&f), 137);
	cr_assert_eq(fixture_call(&f, METHOD(LIST), &empty, &reply), 0);
	state = protect__agent__zone_state__unpack(NULL, reply.len, reply.payload);
	cr_assert_eq(state->n_workloads, 2);
	cr_assert_eq(state->workloads[0]->state, PROTECT__AGENT__STATE__STATE_EXITED);
	cr_assert_eq(state->workloads[0]->exited->exit_code, 7);
	cr_assert_eq(state->workloads[1]->exited->signal, SIGKILL);
	protect__agent__zone_state__free_unpacked(state, NULL);
	cr_assert_eq(remove_workload(&f, FIXTURE_UUID_1), 0);
	cr_assert_eq(remove_workload(&f, FIXTURE_UUID_1), -ENOENT);
	cr_assert_eq(remove_workload(&f, FIXTURE_UUID_2), 0);
	fixture_deinit(&f);
}

Test(zone_workload, an_exec_joins_it)
{
	struct fixture_run run = {.argv = SH("echo ready; sleep 1000"),
				  .env = {"W=1"},
				  .user = "app",
				  .directory = "/made/for/it"};
	struct fixture_run exec = {
		.argv = SH("grep -c sleep /proc/1/cmdline; hostname; id -u; echo $W; pwd; ls -d "
			   "/bin/busybox; exit 5"),
		.workload = FIXTURE_UUID_1,
	};
	struct fixture_run as_root = {
		.argv = {"id", "-u"}, .workload = FIXTURE_UUID_1, .user = "0"};
	struct fixture_run terminal = {.argv = SH("tty() { readlink /proc/self/fd/0; }; tty"),
				       .workload = FIXTURE_UUID_1,
				       .terminal = true};
	struct fixture f;

	fixture_init(&f);
	fixture_image(&f);
	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	while (!strstr(f.out.data, "ready"))
		fixture_turn(&f);
	cr_assert_eq(fixture_exec(&f, &exec, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 5);
	cr_assert_str_eq(f.out.data, "1\ntest-1\n1000\n1\n/made/for/it\n/bin/busybox\n");
	cr_assert_eq(fixture_exec(&f, &as_root, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 0);
	cr_assert_str_eq(f.out.data, "0\n");
	cr_assert_eq(fixture_exec(&f, &terminal, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 0);
	cr_assert_str_eq(f.out.data, "/dev/pts/0\r\n");
	cr_assert_eq(remove_workload(&f, FIXTURE_UUID_1), 0);
	cr_assert_eq(fixture_exec(&f, &as_root, &reply), -ENOENT);
	fixture_deinit(&f);
}

Test(zone_workload, an_exec_ends_with_it)
{
	struct fixture_run run = {.argv = SH("sleep 1000")};
	struct fixture_run exec = {.argv = SH("echo ready; sleep 1000"),
				   .workload = FIXTURE_UUID_1};
	struct fixture f;

	fixture_init(&f);
	fixture_image(&f);
	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_exec(&f, &exec, &reply), 0, "%s", reply.text);
	while (!strstr(f.out.data, "ready"))
		fixture_turn(&f);
	cr_assert_eq(remove_workload(&f, FIXTURE_UUID_1), 0);
	fixture_await_exits(&f, 2);
	cr_assert_eq(f.exits[0].code, 137);
	cr_assert_eq(f.exits[1].code, 137);
	fixture_deinit(&f);
}

Test(zone_workload, what_cannot_start_leaves_nothing)
{
	struct fixture_run nope = {.argv = {"/bin/nope"}},
			   user = {.argv = {"true"}, .user = "ghost"}, fine = {.argv = {"true"}};
	struct fixture f;

	fixture_init(&f);
	fixture_image(&f);
	cr_assert_eq(fixture_launch(&f, &nope, &reply), -ENOENT);
	cr_assert_str_eq(reply.text, "exec /bin/nope: No such file or directory");
	cr_assert_eq(fixture_launch(&f, &user, &reply), -ENOENT);
	cr_assert_str_eq(reply.text, "user 'ghost' is not in the image's /etc/passwd");
	fixture_idle(&f, 50);
	cr_assert_null(f.zone.workloads[0]);
	cr_assert_eq(f.n_exits, 0);
	cr_assert_eq(fixture_launch(&f, &fine, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 0);
	cr_assert_eq(fixture_launch(&f, &fine, &reply), -EEXIST);
	fixture_deinit(&f);
}

Test(zone_workload, outlives_the_session_and_keeps_its_last_words)
{
	struct fixture_run run = {.argv = SH("echo one; read go; i=0; while [ $i -lt 20000 ]; do "
					     "echo line $i; i=$((i+1)); done; echo last words")};
	Protect__Agent__WorkloadAttach attach = PROTECT__AGENT__WORKLOAD_ATTACH__INIT;
	Protect__Agent__WorkloadState *state;
	char id[] = FIXTURE_UUID_1;
	struct fixture f;

	fixture_init(&f);
	fixture_image(&f);
	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	while (!strstr(f.out.data, "one"))
		fixture_turn(&f);
	f.out.send = "go\n";
	f.out.send_len = 3;
	while (f.out.sent < 3)
		fixture_turn(&f);
	fixture_idle(&f, 20);
	fixture_disconnect(&f);
	while (f.zone.workloads[0]->process.pid)
		fixture_turn(&f);
	fixture_connect(&f);
	fixture_streams(&f);
	attach.workload = id;
	attach.stdio_stream = idm_stream_number(f.out.stream);
	attach.stderr_stream = idm_stream_number(f.err.stream);
	cr_assert_eq(fixture_call(&f, METHOD(WORKLOAD_ATTACH), &attach, &reply), 0, "%s",
		     reply.text);
	state = protect__agent__workload_state__unpack(NULL, reply.len, reply.payload);
	cr_assert_eq(state->state, PROTECT__AGENT__STATE__STATE_EXITED);
	protect__agent__workload_state__free_unpacked(state, NULL);
	fixture_await(&f, &f.out.ended);
	cr_assert_leq(f.out.len, 64u * 1024);
	cr_assert_str_eq(f.out.data + f.out.len - 11, "last words\n");
	fixture_deinit(&f);
}

Test(zone_workload, a_stopped_reader_does_not_hold_up_the_removal)
{
	struct fixture_run run = {.argv = {"yes"}};
	struct fixture f;

	fixture_init(&f);
	fixture_image(&f);
	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	f.out.stopped = true;
	fixture_idle(&f, 200);
	cr_assert_eq(remove_workload(&f, FIXTURE_UUID_1), 0);
	cr_assert_null(f.zone.workloads[0]);
	fixture_deinit(&f);
}

static unsigned looks;
static int (*real_find)(const char *serial, char *path, size_t size);

static struct fixture *sends_early;

static int find_late(const char *serial, char *path, size_t size)
{
	if (looks == 0 && sends_early)
		fixture_send(&sends_early->out, "early\n", 6);
	return ++looks < 4 ? -ENODEV : real_find(serial, path, size);
}

Test(zone_workload, waits_for_its_disk)
{
	struct fixture_run run = {.argv = {"true"}};
	struct fixture f;

	fixture_init(&f);
	fixture_image(&f);
	real_find = f.zone.find_disk;
	f.zone.find_disk = find_late;
	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	cr_assert_geq(looks, 4);
	cr_assert_eq(fixture_finish(&f), 0);
	fixture_deinit(&f);
}

Test(zone_workload, input_that_comes_before_its_disk_is_kept)
{
	struct fixture_run run = {.argv = {"cat"}};
	struct fixture f;

	fixture_init(&f);
	fixture_image(&f);
	real_find = f.zone.find_disk;
	f.zone.find_disk = find_late;
	sends_early = &f;
	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 0);
	cr_assert_str_eq(f.out.data, "early\n");
	fixture_deinit(&f);
}

Test(zone_workload, terminal_is_its_console)
{
	struct fixture_run run = {.argv = SH("stty size; readlink /proc/self/fd/0; ls -l "
					     "/dev/console | grep -c ^c; echo hi >/dev/console"),
				  .terminal = true,
				  .rows = 10,
				  .columns = 20};
	struct fixture f;

	fixture_init(&f);
	fixture_image(&f);
	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 0, "%s", f.out.data);
	cr_assert_str_eq(f.out.data, "10 20\r\n/dev/pts/0\r\n1\r\nhi\r\n");
	fixture_deinit(&f);
}

static int no_image(const char *serial, char *path, size_t size)
{
	(void)serial;
	snprintf(path, size, "/dev/zero");
	return 0;
}

Test(zone_workload, a_disk_without_an_image_is_an_error)
{
	struct fixture_run run = {.argv = {"true"}};
	struct fixture f;

	fixture_init(&f);
	f.zone.find_disk = no_image;
	cr_assert_lt(fixture_launch(&f, &run, &reply), 0);
	cr_assert(strstr(reply.text, "mount the image's disk"), "%s", reply.text);
	fixture_deinit(&f);
}
