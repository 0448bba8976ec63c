// SPDX-License-Identifier: Apache-2.0
/* What the settings of a workload do to it, seen from inside, and which are refused. */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/caps.h"
#include "tests/unit/zone_fixture.h"
#include "zone-guest/settings.h"
#include "zone-guest/workload.h"

UNIT_SUITE(zone_settings);

#define METHOD(name) PROTECT__AGENT__METHOD__METHOD_##name
#define SH(script)                                                                                 \
	{                                                                                          \
		"sh", "-c", script, NULL                                                           \
	}

static struct fixture_reply reply;
static struct fixture f;

static void remove_workload(void)
{
	Protect__Agent__WorkloadId message = PROTECT__AGENT__WORKLOAD_ID__INIT;
	char id[] = FIXTURE_UUID_1;

	message.workload = id;
	cr_assert_eq(fixture_call(&f, METHOD(WORKLOAD_REMOVE), &message, &reply), 0);
}

/* What the script prints in a workload with these settings, as this user (NULL = root). */
static const char *inside(settings_t *settings, char *script, const char *user)
{
	struct fixture_run run = {.argv = SH(script), .user = user, .settings = settings};
	int code;

	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	code = fixture_finish(&f);
	cr_assert_eq(code, 0, "%d: %s%s", code, f.out.data, f.err.data);
	remove_workload();
	return f.out.data;
}

Test(zone_settings, host_name_and_read_only_root)
{
	settings_t s = PROTECT__AGENT__SETTINGS__INIT;
	Protect__Agent__Tmpfs tmpfs = PROTECT__AGENT__TMPFS__INIT, *list[] = {&tmpfs};
	char name[] = "other", volume[] = "/data/in", path[] = "/new/tmp", *volumes[] = {volume};

	fixture_init(&f);
	fixture_image(&f);
	s.hostname = name;
	s.read_only = true;
	s.volumes = volumes;
	s.n_volumes = 1;
	s.tmpfs = list;
	s.n_tmpfs = 1;
	tmpfs.path = path;
	tmpfs.size_bytes = 65536;
	tmpfs.set_mode = true;
	tmpfs.mode = 0711;
	cr_assert_str_eq(
		inside(&s,
		       "hostname; cat /etc/hostname; echo $HOSTNAME; touch /x 2>/dev/null || "
		       "echo ro; touch /data/in/x && touch /new/tmp/x && touch /dev/shm/x && "
		       "echo rw; grep ' /new/tmp ' /proc/mounts",
		       NULL),
		"other\nother\nother\nro\nrw\ntmpfs /new/tmp tmpfs "
		"rw,nosuid,nodev,noexec,relatime,size=64k,mode=711 0 0\n");
	fixture_deinit(&f);
}

Test(zone_settings, capabilities)
{
	settings_t s = PROTECT__AGENT__SETTINGS__INIT;
	char show[] = "grep -E '^(Cap(Prm|Bnd|Amb)|NoNewPrivs)' /proc/self/status";

	fixture_init(&f);
	fixture_image(&f);
	s.set_capabilities = true;
	s.capabilities = UINT64_C(1) << CAP_NET_ADMIN | UINT64_C(1) << CAP_KILL;
	s.ambient = UINT64_C(1) << CAP_NET_ADMIN;
	cr_assert_str_eq(inside(&s, show, NULL), "CapPrm:\t0000000000001020\nCapBnd:"
						 "\t0000000000001020\nCapAmb:\t0000000000000000\n"
						 "NoNewPrivs:\t0\n");
	s.no_new_privileges = true;
	cr_assert_str_eq(inside(&s, show, "app"), "CapPrm:\t0000000000001000\nCapBnd:"
						  "\t0000000000001020\nCapAmb:\t0000000000001000\n"
						  "NoNewPrivs:\t1\n");
	fixture_deinit(&f);
}

Test(zone_settings, a_privileged_one_has_it_all)
{
	settings_t s = PROTECT__AGENT__SETTINGS__INIT;
	const char *out;

	fixture_init(&f);
	fixture_image(&f);
	s.privileged = true;
	out = inside(
		&s,
		"test -c /dev/loop-control && echo devices; mount -t tmpfs none /home && echo "
		"mounts; grep -E ' /(sys|proc/sys) ' /proc/mounts | grep -c ' ro,'; grep -q ' "
		"/proc/timer_list ' /proc/mounts || echo unmasked; test $$ = 1 && echo own; true",
		NULL);
	cr_assert_str_eq(out, "devices\nmounts\n0\nunmasked\nown\n");
	fixture_deinit(&f);
}

Test(zone_settings, limits_devices_sysctls_and_masks)
{
	settings_t s = PROTECT__AGENT__SETTINGS__INIT;
	Protect__Agent__Ulimit ulimit = PROTECT__AGENT__ULIMIT__INIT, *ulimits[] = {&ulimit};
	Protect__Agent__Device device = PROTECT__AGENT__DEVICE__INIT, *devices[] = {&device};
	char path[] = "/dev/null", inner[] = "/opt/dev/nil", sysctl[] = "kernel.shmmni=123",
	     masked[] = "/bin/busybox.none", home[] = "/home";
	char *sysctls[] = {sysctl}, *masks[] = {masked, home}, *read_only[] = {home};

	fixture_init(&f);
	fixture_image(&f);
	ulimit.resource = RLIMIT_NOFILE;
	ulimit.soft = 77;
	ulimit.hard = 99;
	s.ulimits = ulimits;
	s.n_ulimits = 1;
	device.path = path;
	device.path_inside = inner;
	s.devices = devices;
	s.n_devices = 1;
	s.sysctls = sysctls;
	s.n_sysctls = 1;
	s.masked_paths = masks;
	s.n_masked_paths = 2;
	s.read_only_paths = read_only;
	s.n_read_only_paths = 1;
	s.oom_score_adj = 300;
	cr_assert_str_eq(
		inside(&s,
		       "ulimit -n; ulimit -Hn; test -c /opt/dev/nil && echo device; cat "
		       "/proc/sys/kernel/shmmni; ls /home; cat /proc/self/oom_score_adj; "
		       "touch /home/x 2>/dev/null || echo ro; grep -q ' /proc/timer_list ' "
		       "/proc/mounts && echo masked",
		       NULL),
		"77\n99\ndevice\n123\n300\nro\nmasked\n");
	fixture_deinit(&f);
}

Test(zone_settings, an_exec_has_no_more_than_its_workload)
{
	settings_t s = PROTECT__AGENT__SETTINGS__INIT;
	struct fixture_run run = {.argv = SH("sleep 1000"), .settings = &s};
	struct fixture_run exec = {
		.argv = SH("grep -E '^(CapBnd|Seccomp:|NoNew)' /proc/self/status"),
		.workload = FIXTURE_UUID_1};

	fixture_init(&f);
	fixture_image(&f);
	s.set_capabilities = true;
	s.no_new_privileges = true;
	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_exec(&f, &exec, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 0, "%s", f.err.data);
	cr_assert_str_eq(f.out.data, "CapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n");
	remove_workload();
	fixture_deinit(&f);
}

Test(zone_settings, starts_again_on_the_files_it_left)
{
	struct fixture_run run = {.argv = SH("test -e /seen && { cat /seen; exit 3; }; echo here > "
					     "/seen; mkdir /folder; exit 2")};
	Protect__Agent__WorkloadState *state;

	fixture_init(&f);
	fixture_image(&f);
	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 2);
	cr_assert_eq(f.exits[0].run, 1);
	for (unsigned i = 2; i < 5; i++) {
		cr_assert_eq(fixture_start(&f, FIXTURE_UUID_1, &reply), 0, "%s", reply.text);
		state = protect__agent__workload_state__unpack(NULL, reply.len, reply.payload);
		cr_assert_eq(state->run, i);
		cr_assert_eq(state->state, PROTECT__AGENT__STATE__STATE_RUNNING);
		protect__agent__workload_state__free_unpacked(state, NULL);
		cr_assert_eq(fixture_finish(&f), 3);
		cr_assert_str_eq(f.out.data, "here\n");
		cr_assert_eq(f.exits[i - 1].run, i);
	}
	remove_workload();
	cr_assert_eq(fixture_start(&f, FIXTURE_UUID_1, &reply), -ENOENT);
	cr_assert_neq(access("/run/scratch/" FIXTURE_UUID_1, F_OK), 0);
	fixture_deinit(&f);
}

Test(zone_settings, one_that_runs_is_not_started)
{
	struct fixture_run maker = {.argv = SH("sleep 1000")};

	fixture_init(&f);
	fixture_image(&f);
	cr_assert_eq(fixture_launch(&f, &maker, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_start(&f, FIXTURE_UUID_1, &reply), -EBUSY);
	remove_workload();
	fixture_deinit(&f);
}

Test(zone_settings, a_detached_exec_outlives_the_session)
{
	struct fixture_run run = {.argv = SH("sleep 1000")};
	struct fixture_run exec = {.argv = SH("sleep 1; echo was here > /note; sleep 1000"),
				   .workload = FIXTURE_UUID_1,
				   .no_streams = true,
				   .detached = true};
	struct fixture_run look = {
		.argv = SH("while ! test -s /note; do sleep 0.1; done; cat /note"),
		.workload = FIXTURE_UUID_1,
		.id = FIXTURE_UUID_2};

	fixture_init(&f);
	fixture_image(&f);
	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_exec(&f, &exec, &reply), 0, "%s", reply.text);
	fixture_connect(&f);
	cr_assert_eq(fixture_exec(&f, &look, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 0);
	cr_assert_str_eq(f.out.data, "was here\n");
	remove_workload();
	fixture_deinit(&f);
}

Test(zone_settings, a_time_namespace_of_its_own)
{
	struct fixture_run run = {.argv = SH("readlink /proc/self/ns/time; sleep 1000")};
	struct fixture_run exec = {.argv = SH("readlink /proc/self/ns/time"),
				   .workload = FIXTURE_UUID_1};
	char own[64] = "", theirs[64];

	fixture_init(&f);
	fixture_image(&f);
	if (readlink("/proc/self/ns/time", own, sizeof(own) - 1) < 0)
		cr_skip_test("needs namespaces for time");
	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	while (!strchr(f.out.data, '\n'))
		fixture_turn(&f);
	snprintf(theirs, sizeof(theirs), "%s", f.out.data);
	cr_assert_neq(strncmp(theirs, own, strlen(own)), 0);
	cr_assert_eq(fixture_exec(&f, &exec, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 0);
	cr_assert_str_eq(f.out.data, theirs);
	remove_workload();
	fixture_deinit(&f);
}

static void expect_refused(const settings_t *s, const char *word)
{
	struct error err = ERROR_NULL;
	settings_t *copy = NULL;

	cr_assert_lt(settings_new(s, &copy, &err), 0, "%s", word);
	cr_assert(strstr(err.text, word), "%s", err.text);
}

Test(zone_settings, what_is_no_setting_is_refused)
{
	static char many[8 * (SETTINGS_FILTER_MAX + 1)];
	static char *sysctls[] = {NULL};
	static char *const bad[] = {
		(char *)"net.core.somaxconn=1", (char *)"kernel.core_pattern=|/x",
		(char *)"fs.mqueue.../../kernel/core_pattern=x", (char *)"kernel.shmmax",
		(char *)"kernel.sem/../core_pattern=x"};
	char *relative[] = {(char *)"here"}, *paths[SETTINGS_PATHS_MAX + 1];
	Protect__Agent__Ulimit ulimit = PROTECT__AGENT__ULIMIT__INIT, *ulimits[] = {&ulimit};
	settings_t s = PROTECT__AGENT__SETTINGS__INIT;

	s.hostname = (char *)"a b";
	expect_refused(&s, "host name");
	s = (settings_t)PROTECT__AGENT__SETTINGS__INIT;
	s.sysctls = sysctls;
	s.n_sysctls = 1;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		sysctls[0] = bad[i];
		expect_refused(&s, "sysctl");
	}
	s = (settings_t)PROTECT__AGENT__SETTINGS__INIT;
	s.volumes = relative;
	s.n_volumes = 1;
	expect_refused(&s, "absolute");
	for (size_t i = 0; i <= SETTINGS_PATHS_MAX; i++)
		paths[i] = (char *)"/x";
	s.n_volumes = 0;
	s.masked_paths = paths;
	s.n_masked_paths = SETTINGS_PATHS_MAX + 1;
	expect_refused(&s, "more than");
	s = (settings_t)PROTECT__AGENT__SETTINGS__INIT;
	s.seccomp = PROTECT__AGENT__SECCOMP__SECCOMP_PROGRAM;
	expect_refused(&s, "seccomp");
	s.seccomp_program.data = (uint8_t *)many;
	s.seccomp_program.len = sizeof(many);
	expect_refused(&s, "seccomp");
	s.seccomp_program.len = 12;
	expect_refused(&s, "seccomp");
	s = (settings_t)PROTECT__AGENT__SETTINGS__INIT;
	ulimit.soft = 2;
	ulimit.hard = 1;
	s.ulimits = ulimits;
	s.n_ulimits = 1;
	expect_refused(&s, "ulimit");
	s = (settings_t)PROTECT__AGENT__SETTINGS__INIT;
	s.oom_score_adj = -1001;
	expect_refused(&s, "oom_score_adj");
}

Test(zone_settings, names_of_capabilities)
{
	cr_assert_eq(caps_mask("net_admin"), UINT64_C(1) << CAP_NET_ADMIN);
	cr_assert_eq(caps_mask("CAP_CHECKPOINT_RESTORE"), UINT64_C(1) << CAP_CHECKPOINT_RESTORE);
	cr_assert_eq(caps_mask("ALL"), CAPS_ALL);
	cr_assert_eq(caps_mask("CAP_"), 0);
	cr_assert_eq(caps_mask("root"), 0);
}
