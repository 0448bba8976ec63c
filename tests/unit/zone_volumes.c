// SPDX-License-Identifier: Apache-2.0
/* Volumes of workloads: file systems on loop devices, seen from inside, grown, refused. */
#include "zone-guest/volumes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "tests/unit/zone_fixture.h"

UNIT_SUITE(zone_volumes);

#define METHOD(name) PROTECT__AGENT__METHOD__METHOD_##name

static struct fixture_reply reply;
static struct fixture f;
static char loop_path[64];
static int loop_fd = -1;
static Protect__Agent__Settings *settings; /* of what is launched */
static int (*find_image)(const char *, char *, size_t);

static int find_disk(const char *serial, char *path, size_t size)
{
	if (strncmp(serial, "volume", 6) != 0)
		return find_image(serial, path, size);
	snprintf(path, size, "%s", loop_path);
	return 0;
}

static void sh(char *out, size_t size, const char *script)
{
	FILE *from = popen(script, "r");
	size_t n = from ? fread(out, 1, size - 1, from) : 0;

	out[n] = '\0';
	out[strcspn(out, "\n")] = '\0';
	if (!from || pclose(from) != 0)
		cr_skip_test("needs loop devices and mkfs.ext4: %s", script);
}

/* /run/volume as a loop device, which is freed with its last user: us, however the test ends. */
static void attach_loop(void)
{
	char command[128], nothing[8];

	sh(loop_path, sizeof(loop_path), "losetup -f --show /run/volume");
	loop_fd = open(loop_path, O_RDONLY | O_CLOEXEC);
	cr_assert_geq(loop_fd, 0);
	snprintf(command, sizeof(command), "losetup -d %s", loop_path);
	sh(nothing, sizeof(nothing), command);
}

static void set_up(const char *make_file)
{
	char nothing[8];

	fixture_init(&f);
	fixture_image(&f);
	find_image = f.zone.find_disk;
	f.zone.find_disk = find_disk;
	sh(nothing, sizeof(nothing), make_file);
	attach_loop();
}

#define EXT4 "truncate -s 16M /run/volume && mkfs.ext4 -qF -b 4096 -E root_owner=0:0 /run/volume"

static void tear_down(void)
{
	close_fdp(&loop_fd);
	fixture_deinit(&f);
}

static int launch(const char *script, const char *target, bool read_only, bool raw)
{
	Protect__Agent__Volume volume = PROTECT__AGENT__VOLUME__INIT, *volumes[] = {&volume};
	char serial[] = "volume", name[] = "data";
	struct fixture_run run = {.argv = {"sh", "-c", (char *)(uintptr_t)script, NULL},
				  .settings = settings,
				  .volumes = volumes,
				  .n_volumes = 1};

	volume.serial = serial;
	volume.name = name;
	volume.target = (char *)(uintptr_t)target;
	volume.read_only = read_only;
	volume.raw = raw;
	return fixture_launch(&f, &run, &reply);
}

static void remove_workload(void)
{
	Protect__Agent__WorkloadId message = PROTECT__AGENT__WORKLOAD_ID__INIT;
	char uuid[] = FIXTURE_UUID_1;

	message.workload = uuid;
	cr_assert_eq(fixture_call(&f, METHOD(WORKLOAD_REMOVE), &message, &reply), 0);
}

static const char *inside(const char *script, const char *target, bool read_only, bool raw)
{
	cr_assert_eq(launch(script, target, read_only, raw), 0, "%s", reply.text);
	cr_assert_eq(fixture_finish(&f), 0, "%s%s", f.out.data, f.err.data);
	remove_workload();
	return f.out.data;
}

Test(zone_volumes, data_stays)
{
	char text[512];

	set_up(EXT4);
	cr_expect_str_eq(
		inside("echo kept > /var/lib/data/file; stat -c '%u:%a' /var/lib/data; grep "
		       "/var/lib/data /proc/mounts | grep -c nosuid,nodev",
		       "/var/lib/data", false, false),
		"0:755\n1\n");
	/* Unmounted cleanly by the time the removal is answered. */
	sh(text, sizeof(text),
	   "e2fsck -fn /run/volume >/dev/null 2>&1 && dumpe2fs -h /run/volume 2>/dev/null | grep "
	   "-c "
	   "needs_recovery; true");
	cr_expect_str_eq(text, "0");
	cr_expect_str_eq(
		inside("cat /elsewhere/file; echo x > /elsewhere/file 2>/dev/null || echo denied",
		       "/elsewhere", true, false),
		"kept\ndenied\n");
	tear_down();
}

/* A workload with users of its own sees the owners that are on the disk, and gives files to them.
 */
Test(zone_volumes, owners_stay_with_users_of_its_own)
{
	Protect__Agent__Settings own = PROTECT__AGENT__SETTINGS__INIT;

	set_up(EXT4);
	inside("touch /data/theirs && chown 7:8 /data/theirs", "/data", false, false);
	own.own_users = true;
	settings = &own;
	cr_expect_str_eq(inside("stat -c %u:%g /data /data/theirs; echo x >>/data/theirs; touch "
				"/data/mine; chown 9 /data/mine",
				"/data", false, false),
			 "0:0\n7:8\n");
	settings = NULL;
	cr_expect_str_eq(
		inside("stat -c %u:%g /data/mine; cat /data/theirs", "/data", false, false),
		"9:0\nx\n");
	tear_down();
}

static bool may_grow(void)
{
	return prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE, 0, 0, 0) > 0;
}

Test(zone_volumes, grows_to_its_disk)
{
	char nothing[8];

	if (!may_grow())
		cr_skip_test("needs CAP_SYS_RESOURCE");
	set_up(EXT4);
	inside("echo kept > /data/file", "/data", false, false);
	close_fdp(&loop_fd);
	sh(nothing, sizeof(nothing), "truncate -s 256M /run/volume");
	attach_loop();
	cr_expect_str_eq(inside("cat /data/file; set -- $(stat -f -c '%b' /data); [ $1 -gt 50000 ] "
				"&& echo grown",
				"/data", false, false),
			 "kept\ngrown\n");
	inside("true", "/data", false, false);
	tear_down();
}

Test(zone_volumes, a_raw_one_is_a_device)
{
	set_up("truncate -s 16M /run/volume");
	cr_expect_str_eq(inside("ls -l /dev/disk/raw | head -c 10; printf start > /dev/disk/raw && "
				"head -c 5 "
				"/dev/disk/raw",
				"/dev/disk/raw", false, true),
			 "brw-rw----start");
	tear_down();
}

Test(zone_volumes, what_cannot_be_mounted_is_said)
{
	set_up("head -c 16777216 /dev/urandom > /run/volume");
	cr_expect_eq(launch("true", "/data", false, false), -EINVAL);
	cr_expect_not_null(strstr(reply.text, "volume 'data' holds no ext4"), "%s", reply.text);
	cr_expect_null(f.zone.workloads[0]);
	tear_down();
}

Test(zone_volumes, a_file_is_no_place)
{
	set_up(EXT4);
	cr_expect_eq(launch("true", "/bin/busybox", false, false), -ENOTDIR, "%s", reply.text);
	cr_expect_not_null(strstr(reply.text, "put volume 'data' at /bin/busybox"), "%s",
			   reply.text);
	tear_down();
}

static int read_target(const char *target, bool raw)
{
	Protect__Agent__Volume volume = PROTECT__AGENT__VOLUME__INIT, *volumes[] = {&volume};
	struct error err = ERROR_NULL;
	struct volumes out;
	char serial[] = "v";

	volume.serial = serial;
	volume.target = (char *)(uintptr_t)target;
	volume.raw = raw;
	return volumes_read(volumes, 1, &out, &err);
}

Test(zone_volumes, a_folder_is_a_folder)
{
	Protect__Agent__Volume volume = PROTECT__AGENT__VOLUME__INIT;
	struct error err = ERROR_NULL;
	struct volume out;

	volume.serial = (char *)(uintptr_t) "tag";
	volume.name = (char *)(uintptr_t) "/srv/data";
	volume.target = (char *)(uintptr_t) "/data";
	volume.folder = true;
	cr_expect_eq(volume_read(&volume, &out, &err), 0);
	cr_expect(out.folder);
	cr_expect_str_eq(out.name, "/srv/data");
	volume.shared = true;
	cr_expect_eq(volume_read(&volume, &out, &err), -EINVAL);
	volume.shared = false;
	volume.raw = true;
	volume.target = (char *)(uintptr_t) "/dev/data";
	cr_expect_eq(volume_read(&volume, &out, &err), -EINVAL);
}

Test(zone_volumes, places)
{
	static const char *const bad[] = {"",	   "a",	      "/",	"//a",	"/a/",
					  "/a//b", "/a/..",   "/../a",	"/.",	"/a/./b",
					  "/proc", "/proc/x", "/sys/x", "/dev", "/dev/x"};
	static const char *const good[] = {"/a",    "/a/b",    "/.a",	  "/..a",
					   "/a...", "/device", "/process"};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_eq(read_target(bad[i], false), -EINVAL, "%s", bad[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(good); i++)
		cr_expect_eq(read_target(good[i], false), 0, "%s", good[i]);
	cr_expect_eq(read_target("/dev/x", true), 0);
	cr_expect_eq(read_target("/dev/", true), -EINVAL);
	cr_expect_eq(read_target("/x", true), -EINVAL);
}

Test(zone_volumes, sorted_and_none_twice)
{
	Protect__Agent__Volume volume[VOLUMES_MAX + 1], *volumes[VOLUMES_MAX + 1];
	struct error err = ERROR_NULL;
	char serial[] = "v", deep[] = "/a/b", flat[] = "/a";
	struct volumes out;

	for (unsigned i = 0; i <= VOLUMES_MAX; i++) {
		protect__agent__volume__init(&volume[i]);
		volume[i].serial = serial;
		volume[i].target = i ? flat : deep;
		volumes[i] = &volume[i];
	}
	cr_assert_eq(volumes_read(volumes, 2, &out, &err), 0);
	cr_expect_str_eq(out.items[0].target, "/a");
	cr_expect_eq(volumes_read(volumes, 3, &out, &err), -EINVAL);
	cr_expect_eq(volumes_read(volumes, VOLUMES_MAX + 1, &out, &err), -EINVAL);
}

static int attach(const char *workload, const char *target, bool read_only, bool raw)
{
	Protect__Agent__VolumeAttach message = PROTECT__AGENT__VOLUME_ATTACH__INIT;
	Protect__Agent__Volume volume = PROTECT__AGENT__VOLUME__INIT;
	char serial[] = "volume", name[] = "data";

	volume.serial = serial;
	volume.name = name;
	volume.target = (char *)(uintptr_t)target;
	volume.read_only = read_only;
	volume.raw = raw;
	message.volume = &volume;
	message.workload = (char *)(uintptr_t)workload;
	return fixture_call(&f, METHOD(VOLUME_ATTACH), &message, &reply);
}

static int detach(const char *workload, const char *target, bool force)
{
	Protect__Agent__VolumeDetach message = PROTECT__AGENT__VOLUME_DETACH__INIT;

	message.workload = (char *)(uintptr_t)workload;
	message.target = (char *)(uintptr_t)target;
	message.force = force;
	return fixture_call(&f, METHOD(VOLUME_DETACH), &message, &reply);
}

static const char *in_zone(const char *workload, const char *script)
{
	struct fixture_run run = {.argv = {"sh", "-c", (char *)(uintptr_t)script, NULL},
				  .id = FIXTURE_UUID_3,
				  .workload = *workload ? workload : NULL};

	cr_assert_eq(fixture_exec(&f, &run, &reply), 0, "%s", reply.text);
	fixture_finish(&f);
	return f.out.data;
}

static int launch_sharing(const char *script, bool read_only)
{
	Protect__Agent__Volume volume = PROTECT__AGENT__VOLUME__INIT, *volumes[] = {&volume};
	char serial[] = "volume", name[] = "data", target[] = "/srv";
	struct fixture_run run = {.argv = {"sh", "-c", (char *)(uintptr_t)script, NULL},
				  .volumes = volumes,
				  .n_volumes = 1};

	volume.serial = serial;
	volume.name = name;
	volume.target = target;
	volume.read_only = read_only;
	volume.shared = true;
	return fixture_launch(&f, &run, &reply);
}

Test(zone_volumes, the_zone_has_one_and_workloads_share_it)
{
	char nothing[8];

	set_up(EXT4);
	cr_assert_eq(launch_sharing("true", false), -ENOENT, "%s", reply.text);
	cr_assert_eq(attach("", "/run/zones/data", false, false), 0, "%s", reply.text);
	cr_expect_eq(attach("", "/run/zones/data", false, false), -EEXIST, "%s", reply.text);
	cr_expect_str_eq(in_zone("", "echo zone >/run/zones/data/file; cat /run/zones/data/file"),
			 "zone\n");
	cr_assert_eq(launch_sharing("cat /srv/file; echo x >/srv/other || echo denied", true), 0,
		     "%s", reply.text);
	cr_expect_eq(fixture_finish(&f), 0);
	cr_expect_str_eq(f.out.data, "zone\ndenied\n");
	remove_workload();
	cr_assert_eq(launch_sharing("echo box >/srv/file; sync; grep -c '/srv.*nosuid,nodev' "
				    "/proc/mounts; exec sleep 1000",
				    false),
		     0, "%s", reply.text);
	while (f.out.len < 2)
		fixture_idle(&f, 10);
	cr_expect_eq(detach("", "/run/zones/data", false), -EBUSY, "%s", reply.text);
	remove_workload();
	fixture_finish(&f);
	cr_expect_eq(detach("", "/run/zones/data", false), 0, "%s", reply.text);
	cr_expect_eq(detach("", "/run/zones/data", false), -ENOENT);
	sh(nothing, sizeof(nothing), "! grep -q /run/zones /proc/mounts");
	cr_assert_eq(attach("", "/run/again", true, false), 0, "%s", reply.text);
	cr_expect_str_eq(in_zone("", "cat /run/again/file"), "box\n");
	cr_expect_eq(detach("", "/run/again", false), 0, "%s", reply.text);
	tear_down();
}

Test(zone_volumes, who_uses_it_keeps_it_unless_by_force)
{
	int used;

	set_up(EXT4);
	cr_assert_eq(attach("", "/run/data", false, false), 0, "%s", reply.text);
	used = open("/run/data/used", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(used, 0);
	cr_expect_eq(detach("", "/run/data", false), -EBUSY);
	cr_expect_not_null(strstr(reply.text, "volume 'data' is busy"), "%s", reply.text);
	cr_expect_eq(detach("", "/run/data", true), 0, "%s", reply.text);
	cr_expect_eq(access("/run/data/used", F_OK), -1);
	cr_expect_eq(write(used, "x", 1), 1);
	close(used);
	cr_expect_eq(attach("", "/proc/data", false, false), -EINVAL);
	f.zone.find_disk = find_image;
	cr_expect_eq(attach("", "/run/data", false, false), -ENODEV, "%s", reply.text);
	tear_down();
}

Test(zone_volumes, comes_to_a_workload_that_runs_and_goes)
{
	struct fixture_run run = {.argv = {"sleep", "1000", NULL}};

	set_up(EXT4);
	cr_expect_eq(attach(FIXTURE_UUID_1, "/data", false, false), -ESRCH);
	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	cr_assert_eq(attach(FIXTURE_UUID_1, "/var/data", false, false), 0, "%s", reply.text);
	cr_expect_str_eq(in_zone(FIXTURE_UUID_1, "echo in >/var/data/file; cat /var/data/file; "
						 "grep -c '/var/data.*nosuid,nodev' /proc/mounts"),
			 "in\n1\n");
	/* What a workload has is seen by nobody else. */
	cr_expect_eq(access("/var/data/file", F_OK), -1);
	cr_expect_eq(detach(FIXTURE_UUID_1, "/var/data", false), 0, "%s", reply.text);
	cr_expect_str_eq(in_zone(FIXTURE_UUID_1, "ls /var/data"), "");
	cr_assert_eq(attach(FIXTURE_UUID_1, "/data", false, false), 0, "%s", reply.text);
	remove_workload();
	tear_down();
}

Test(zone_volumes, a_device_comes_and_goes)
{
	struct fixture_run run = {.argv = {"sh", "-c",
					   "until [ -b /dev/raw ]; do sleep 0.1; done; exec "
					   "sleep 1000 3</dev/raw",
					   NULL}};

	set_up("truncate -s 16M /run/volume");
	cr_assert_eq(fixture_launch(&f, &run, &reply), 0, "%s", reply.text);
	cr_assert_eq(attach(FIXTURE_UUID_1, "/dev/raw", false, true), 0, "%s", reply.text);
	cr_expect_str_eq(in_zone(FIXTURE_UUID_1, "printf start >/dev/raw; head -c 5 /dev/raw; "
						 "until ls -l /proc/1/fd/3 >/dev/null 2>&1; do "
						 "sleep 0.1; done"),
			 "start");
	cr_expect_eq(detach(FIXTURE_UUID_1, "/dev/raw", false), -EBUSY, "%s", reply.text);
	cr_expect_eq(detach(FIXTURE_UUID_1, "/dev/raw", true), 0, "%s", reply.text);
	cr_expect_str_eq(in_zone(FIXTURE_UUID_1, "ls /dev/raw 2>/dev/null"), "");
	tear_down();
}
