// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "supervisor/storage/store_internal.h"
#include "supervisor/storage/volume_db.h"
#include "tests/unit/harness.h"
#include "tests/unit/storage_fixture.h"

#define MKFS "mkfs.ext4"

static struct fixture fixture;
static struct store *store;

static void set_up(void)
{
	struct error err = ERROR_NULL;

	fixture_open(&fixture, 64 * MIB);
	store = fixture.storage.store;
	cr_assert_eq(volumes_start(store, &err), 0, "%s", err.text);
}

UNIT_SUITE(storage_volume, .init = set_up);

/* As a service that was killed and is started again. */
static void restart(void)
{
	char path[128];
	struct error err = ERROR_NULL;

	store_close(store);
	snprintf(path, sizeof(path), "%s/store", fixture.dir);
	cr_assert_eq(store_open(&store, path, 64 * MIB, &err), 0, "%s", err.text);
	fixture.storage.store = store;
	cr_assert_eq(volumes_start(store, &err), 0, "%s", err.text);
}

static struct volume make(const char *name, uint64_t size_bytes, enum volume_format format)
{
	struct error err = ERROR_NULL;
	struct volume volume;

	cr_assert_eq(volume_create(store, MKFS, name, size_bytes, format, &volume, &err), 0, "%s",
		     err.text);
	return volume;
}

static int open_it(const char *name, bool read_only)
{
	struct error err = ERROR_NULL;
	struct volume volume;

	return volume_open(store, name, read_only, &volume, &err);
}

struct seen {
	unsigned n;
	struct volume last;
};

static int see(void *context, const struct volume *volume)
{
	struct seen *seen = context;

	seen->n++;
	seen->last = *volume;
	return 0;
}

static struct seen list(void)
{
	struct seen seen = {.n = 0};

	cr_assert_eq(volume_list(store, see, &seen, NULL), 0);
	return seen;
}

static unsigned count_files(void)
{
	_cleanup_(freep) char *text = output_of("ls -A %s/store/volumes | wc -l", fixture.dir);

	return (unsigned)strtoul(text, NULL, 10);
}

Test(storage_volume, created_listed_removed)
{
	struct volume volume = make("data", 64 * MIB + 1, VOLUME_EXT4);
	struct error err = ERROR_NULL;
	_cleanup_(freep) char *check = NULL;
	struct seen seen;

	cr_expect_eq(volume.size_bytes, 65 * MIB);
	cr_expect_lt(volume.allocated_bytes, 8 * MIB);
	check = output_of("/sbin/e2fsck -fn %s/store/volumes/%s 2>&1 && echo clean", fixture.dir,
			  volume.file);
	cr_expect_not_null(strstr(check, "clean"), "%s", check);
	make("raw", 16 * MIB, VOLUME_RAW);
	seen = list();
	cr_expect_eq(seen.n, 2);
	cr_expect_str_eq(seen.last.name, "raw");
	cr_expect_eq(seen.last.format, VOLUME_RAW);
	cr_expect_eq(seen.last.allocated_bytes, 0);
	restart();
	cr_expect_eq(list().n, 2);
	cr_expect_eq(volume_remove(store, "data", &err), 0, "%s", err.text);
	cr_expect_eq(volume_remove(store, "data", &err), -ENOENT);
	cr_expect_eq(list().n, 1);
	cr_expect_eq(count_files(), 1);
	fixture_close(&fixture);
}

Test(storage_volume, refuses_and_leaves_nothing)
{
	static const char *const names[] = {
		"",	".a",  "-a",  "a/b",
		"../a", "a b", "a\n", "01234567-89ab-4cde-8f01-23456789abcd"};
	struct error err = ERROR_NULL;
	struct volume volume;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		cr_expect_eq(volume_create(store, MKFS, names[i], GIB, VOLUME_RAW, &volume, &err),
			     -EINVAL, "%s", names[i]);
	cr_expect_eq(volume_create(store, MKFS, "a", MIB, VOLUME_RAW, &volume, &err), -EINVAL);
	cr_expect_eq(volume_create(store, MKFS, "a", UINT64_MAX, VOLUME_RAW, &volume, &err),
		     -EINVAL);
	cr_expect_lt(volume_create(store, "/nonexistent", "a", GIB, VOLUME_EXT4, &volume, &err), 0);
	cr_expect_lt(volume_create(store, "/bin/false", "a", GIB, VOLUME_EXT4, &volume, &err), 0);
	cr_expect_eq(list().n, 0);
	cr_expect_eq(count_files(), 0);
	make("a", 16 * MIB, VOLUME_RAW);
	cr_expect_eq(volume_create(store, MKFS, "a", GIB, VOLUME_RAW, &volume, &err), -EEXIST);
	cr_expect_eq(count_files(), 1);
	fixture_close(&fixture);
}

Test(storage_volume, one_writer_or_many_readers)
{
	struct error err = ERROR_NULL;
	struct volume volume;
	int writer, readers[2];

	make("a", 16 * MIB, VOLUME_RAW);
	writer = open_it("a", false);
	cr_assert_geq(writer, 0);
	cr_expect_eq(list().last.use, VOLUME_WRITER);
	cr_expect_eq(volume_remove(store, "a", &err), -EBUSY);
	cr_expect_eq(volume_resize(store, "a", GIB, &volume, &err), -EBUSY);
	restart();
	cr_expect_eq(open_it("a", true), -EBUSY, "the lock is not the service's");
	close(writer);
	for (unsigned i = 0; i < 2; i++) {
		readers[i] = open_it("a", true);
		cr_assert_geq(readers[i], 0);
		cr_expect_lt(write(readers[i], "x", 1), 0);
	}
	cr_expect_eq(list().last.use, VOLUME_READERS);
	close(readers[0]);
	cr_expect_eq(open_it("a", false), -EBUSY);
	close(readers[1]);
	cr_expect_eq(list().last.use, VOLUME_FREE);
	writer = open_it("a", false);
	cr_expect_geq(writer, 0);
	close(writer);
	fixture_close(&fixture);
}

/* What holds the descriptor is killed: nobody is left to give the lock back. */
Test(storage_volume, a_lock_ends_with_its_holder)
{
	int fd, status;
	pid_t pid;

	make("a", 16 * MIB, VOLUME_RAW);
	fd = open_it("a", false);
	cr_assert_geq(fd, 0);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0)
		for (;;)
			pause();
	close(fd);
	cr_expect_eq(open_it("a", false), -EBUSY);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	fd = open_it("a", false);
	cr_expect_geq(fd, 0);
	close(fd);
	fixture_close(&fixture);
}

Test(storage_volume, grows_and_never_shrinks)
{
	struct error err = ERROR_NULL;
	struct volume volume;
	int fd;

	make("a", 64 * MIB, VOLUME_EXT4);
	fd = open_it("a", false);
	cr_assert_eq(pwrite(fd, "end", 3, 64 * MIB - 3), 3);
	close(fd);
	cr_expect_eq(volume_resize(store, "a", 32 * MIB, &volume, &err), -EINVAL);
	cr_expect_not_null(strstr(err.text, "cannot become smaller"), "%s", err.text);
	cr_expect_eq(volume_resize(store, "nosuch", GIB, &volume, &err), -ENOENT);
	cr_expect_eq(volume_resize(store, "a", 64 * MIB, &volume, &err), 0);
	cr_expect_eq(volume_resize(store, "a", GIB, &volume, &err), 0, "%s", err.text);
	cr_expect_eq(volume.size_bytes, GIB);
	cr_expect_eq(list().last.size_bytes, GIB);
	fixture_close(&fixture);
}

/* Rows that say what was begun; files that nobody knows. */
Test(storage_volume, a_start_ends_what_a_crash_left)
{
	struct volume made = make("made", 16 * MIB, VOLUME_RAW);
	struct volume removed = make("removed", 16 * MIB, VOLUME_RAW);
	struct error err = ERROR_NULL;
	struct volume volume;

	cr_assert_eq(volume_db_set(store, made.file, VOLUME_MAKING, &err), 0);
	cr_assert_eq(volume_db_set(store, removed.file, VOLUME_REMOVING, &err), 0);
	cr_expect_eq(volume_open(store, "made", true, &volume, &err), -EBUSY);
	cr_expect_eq(list().n, 0);
	make("kept", 16 * MIB, VOLUME_RAW);
	free(output_of("touch %s/store/volumes/unknown", fixture.dir));
	restart();
	cr_expect_eq(list().n, 1);
	cr_expect_eq(count_files(), 2, "the one that was kept, and somebody's data");
	make("made", 16 * MIB, VOLUME_RAW);
	fixture_close(&fixture);
}

/* Another process works on the store: what it is just making is not taken from it. */
Test(storage_volume, nothing_is_swept_beside_others)
{
	struct volume made = make("made", 16 * MIB, VOLUME_RAW);
	struct error err = ERROR_NULL;
	char path[128];
	int other;

	cr_assert_eq(volume_db_set(store, made.file, VOLUME_MAKING, &err), 0);
	snprintf(path, sizeof(path), "%s/store/lock", fixture.dir);
	other = open(path, O_RDWR | O_CLOEXEC);
	cr_assert_eq(flock(other, LOCK_SH), 0);
	restart();
	cr_expect_eq(count_files(), 1);
	close(other);
	restart();
	cr_expect_eq(count_files(), 0);
	fixture_close(&fixture);
}

static void fill_disk(const char *path)
{
	_cleanup_(close_fdp) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	static char block[65536];

	while (write(fd, block, sizeof(block)) > 0)
		;
}

Test(storage_volume, a_full_disk)
{
	struct error err = ERROR_NULL;
	char path[160];
	struct volume volume;

	snprintf(path, sizeof(path), "%s/store/volumes", fixture.dir);
	if (mount("tmpfs", path, "tmpfs", 0, "size=4m") < 0)
		cr_skip_test("needs the right to mount");
	make("thin", GIB, VOLUME_RAW);
	snprintf(path, sizeof(path), "%s/store/volumes/fill", fixture.dir);
	fill_disk(path);
	cr_expect_eq(volume_create(store, MKFS, "full", GIB, VOLUME_EXT4, &volume, &err), -ENOSPC,
		     "%s", err.text);
	cr_expect_not_null(strstr(err.text, "is full"), "%s", err.text);
	unlink(path);
	cr_expect_eq(list().n, 1);
	cr_expect_eq(count_files(), 1);
	cr_expect_eq(volume_create(store, MKFS, "full", 16 * MIB, VOLUME_EXT4, &volume, &err), 0,
		     "%s", err.text);
	snprintf(path, sizeof(path), "%s/store/volumes", fixture.dir);
	umount2(path, MNT_DETACH);
	fixture_close(&fixture);
}

Test(storage_volume, a_file_that_somebody_took_away)
{
	struct volume volume = make("a", 16 * MIB, VOLUME_RAW);
	struct error err = ERROR_NULL;

	free(output_of("rm %s/store/volumes/%s", fixture.dir, volume.file));
	cr_expect_eq(list().n, 1);
	cr_expect_eq(list().last.size_bytes, 0);
	cr_expect_lt(open_it("a", false), 0);
	cr_expect_eq(volume_remove(store, "a", &err), 0, "%s", err.text);
	cr_expect_eq(list().n, 0);
	fixture_close(&fixture);
}

Test(storage_volume, a_scratch_disk_has_no_name)
{
	struct error err = ERROR_NULL;
	struct volume volume;
	struct stat st;
	int fd = volume_make_scratch(store, MKFS, 32 * MIB + 1, &volume, &err);

	cr_assert_geq(fd, 0, "%s", err.text);
	cr_expect_eq(fstat(fd, &st), 0);
	cr_expect_eq(st.st_nlink, 0);
	cr_expect_eq(st.st_size, 33 * MIB);
	cr_expect_eq(volume.size_bytes, 33 * MIB);
	cr_expect_lt(volume.allocated_bytes, 16 * MIB);
	close(fd);
	cr_expect_eq(volume_make_scratch(store, MKFS, MIB, &volume, &err), -EINVAL);
	err = (struct error)ERROR_NULL;
	cr_expect_lt(volume_make_scratch(store, "/bin/false", 32 * MIB, &volume, &err), 0);
}
