// SPDX-License-Identifier: Apache-2.0
/* Workloads with users of their own: seen from inside, and that nobody in the zone is who they
 * are. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/zone_fixture.h"
#include "zone-guest/userns.h"
#include "zone-guest/workload.h"

UNIT_SUITE(zone_userns, .timeout = 60);

#define METHOD(name) PROTECT__AGENT__METHOD__METHOD_##name
#define SH(script)                                                                                 \
	{                                                                                          \
		"sh", "-c", (char *)(uintptr_t)(script), NULL                                      \
	}
/* CAP_NET_RAW, permitted and effective (struct vfs_cap_data, version 2). */
#define CAPS "0100000200200000000000000000000000000000"

static struct fixture_reply reply;
static struct fixture f;

static void set_up(void)
{
	fixture_init(&f);
	fixture_image_with(&f, "touch tree/home/app/mine tree/home/suid tree/home/far;"
			       "chown 1000:1001 tree/home/app tree/home/app/mine;"
			       "chmod 4755 tree/home/suid; chown 200000:0 tree/home/far;"
			       "cp tree/bin/busybox tree/home/grep;"
			       "python3 -c 'import os; os.setxattr(\"tree/home/grep\", "
			       "\"security.capability\", bytes.fromhex(\"" CAPS "\"))'");
}

static int launch(const char *script, const char *user, settings_t *settings)
{
	struct fixture_run run = {.argv = SH(script), .user = user, .settings = settings};

	return fixture_launch(&f, &run, &reply);
}

static void remove_workload(void)
{
	Protect__Agent__WorkloadId message = PROTECT__AGENT__WORKLOAD_ID__INIT;
	char uuid[] = FIXTURE_UUID_1;

	message.workload = uuid;
	cr_assert_eq(fixture_call(&f, METHOD(WORKLOAD_REMOVE), &message, &reply), 0);
}

static const char *inside(const char *script, const char *user)
{
	settings_t settings = PROTECT__AGENT__SETTINGS__INIT;

	settings.own_users = true;
	cr_assert_eq(launch(script, user, &settings), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 0, "%s%s", f.out.data, f.err.data);
	remove_workload();
	return f.out.data;
}

Test(zone_userns, owners_modes_and_capabilities_are_the_images)
{
	set_up();
	cr_expect_str_eq(inside("id -u; set -- $(cat /proc/self/uid_map); echo $*;"
				"stat -c '%u:%g %a %n' / /dev /etc/passwd /etc/hostname /home/suid "
				"/home/app/mine; stat -c %u /home/far",
				NULL),
			 "0\n0 65536 65536\n0:0 755 /\n0:0 755 /dev\n0:0 644 /etc/passwd\n"
			 "0:0 644 /etc/hostname\n0:0 4755 /home/suid\n1000:1001 644 "
			 "/home/app/mine\n65534\n");
	cr_expect_str_eq(inside("id -u; id -G; touch /home/app/new && stat -c %u:%g /home/app/new;"
				"touch /etc/passwd 2>/dev/null || echo denied;"
				"grep CapPrm /proc/self/status; /home/grep CapPrm "
				"/proc/self/status; echo x >/dev/stderr",
				"app"),
			 "1000\n1001 50\n1000:1001\ndenied\nCapPrm:\t0000000000000000\n"
			 "CapPrm:\t0000000000002000\n");
	cr_expect_str_eq(f.err.data, "x\n");
	fixture_deinit(&f);
}

Test(zone_userns, its_root_does_what_root_does)
{
	set_up();
	cr_expect_str_eq(
		inside("touch /x && chown 5:6 /x && stat -c %u:%g /x; mkdir -p /a/b && echo y "
		       ">/a/b/c && cat /a/b/c; echo more >>/etc/hosts && echo hosts; rm "
		       "/home/suid && test ! -e /home/suid && echo removed; echo z >/dev/shm/z && "
		       "cat /dev/shm/z; echo new >>/etc/passwd && tail -n 1 /etc/passwd",
		       NULL),
		"5:6\ny\nhosts\nremoved\nz\nnew\n");
	fixture_deinit(&f);
}

/* What the zone and another workload have is out of its reach, and an id of the zone is nobody's.
 */
Test(zone_userns, it_is_nobody_in_the_zone)
{
	settings_t settings = PROTECT__AGENT__SETTINGS__INIT;
	char path[64];
	struct stat st;

	set_up();
	settings.own_users = true;
	cr_assert_eq(launch("exec sleep 100", NULL, &settings), 0, "%s", reply.text);
	snprintf(path, sizeof(path), "/proc/%d", (int)f.zone.workloads[0]->process.pid);
	fixture_idle(&f, 200);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_uid, USERNS_IDS);
	cr_expect_eq(st.st_gid, USERNS_IDS);
	fixture_deinit(&f);
}

Test(zone_userns, execs_are_in_it_too)
{
	settings_t settings = PROTECT__AGENT__SETTINGS__INIT;
	struct fixture_run run = {.id = FIXTURE_UUID_2,
				  .workload = FIXTURE_UUID_1,
				  .argv = SH("id -u; set -- $(cat /proc/self/uid_map); echo $*; "
					     "touch /e && stat -c %u /e; kill -9 1 || echo no; "
					     "grep CapEff /proc/self/status; grep CapEff "
					     "/proc/1/status")};

	set_up();
	settings.own_users = true;
	cr_assert_eq(launch("exec sleep 100", NULL, &settings), 0, "%s", reply.text);
	cr_assert_eq(fixture_exec(&f, &run, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 0, "%s%s", f.out.data, f.err.data);
	cr_expect_str_eq(f.out.data, "0\n0 65536 65536\n0\nCapEff:\t00000000a00425fb\n"
				     "CapEff:\t00000000a00425fb\n");
	fixture_deinit(&f);
}

Test(zone_userns, a_restart_finds_its_files)
{
	settings_t settings = PROTECT__AGENT__SETTINGS__INIT;

	set_up();
	settings.own_users = true;
	cr_assert_eq(launch("touch /run2; chown 7 /run2; stat -c %u /home/app/mine /run2", NULL,
			    &settings),
		     0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 0);
	cr_expect_str_eq(f.out.data, "1000\n7\n");
	cr_assert_eq(fixture_start(&f, FIXTURE_UUID_1, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 0);
	cr_expect_str_eq(f.out.data, "1000\n7\n");
	fixture_deinit(&f);
}

Test(zone_userns, a_terminal_is_its_own)
{
	settings_t settings = PROTECT__AGENT__SETTINGS__INIT;
	struct fixture_run run = {.argv = SH("stat -c %u:%a $(readlink /proc/self/fd/0); test -e "
					     "/dev/console || echo none"),
				  .user = "app",
				  .terminal = true,
				  .settings = &settings};

	set_up();
	settings.own_users = true;
	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 0, "%s", f.out.data);
	cr_expect_str_eq(f.out.data, "1000:620\r\nnone\r\n");
	fixture_deinit(&f);
}

Test(zone_userns, not_for_a_privileged_one)
{
	settings_t settings = PROTECT__AGENT__SETTINGS__INIT;

	set_up();
	settings.own_users = settings.privileged = true;
	cr_expect_eq(launch("true", NULL, &settings), -EINVAL);
	cr_expect_not_null(strstr(reply.text, "privileged"), "%s", reply.text);
	fixture_deinit(&f);
}
