// SPDX-License-Identifier: Apache-2.0
/* The daemon's state where its disk is full, its file damaged or from a newer daemon. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "supervisor/daemon/ring.h"
#include "supervisor/daemon/state.h"
#include "tests/unit/harness.h"

#define DISK_BYTES 262144
#define PAGE_BYTES 4096
#define N_ZONES	   200u
#define UUID_1	   "00000000-0000-4000-8000-000000000001"
#define UUID_2	   "00000000-0000-4000-8000-000000000002"
#define UUID_3	   "00000000-0000-4000-8000-000000000003"

UNIT_SUITE(daemon_survival, .timeout = 60);

static void write_text(const char *path, const char *text)
{
	_cleanup_(close_fdp) int fd = open(path, O_WRONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* A mount namespace of our own. Root needs no user namespace for it, which threads would hinder. */
static void leave_mounts(void)
{
	uid_t uid = getuid();
	char map[32];

	if (uid == 0 && unshare(CLONE_NEWNS) == 0)
		return;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		cr_skip_test("no mount namespace here: %s", strerror(errno));
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	write_text("/proc/self/uid_map", map);
}

/* A small disk that only this test sees. Tests are processes of their own. */
static void mount_disk(char dir[static 64])
{
	char options[32];

	snprintf(dir, 64, "/tmp/daemon-disk-XXXXXX");
	leave_mounts();
	cr_assert_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_eq(mount("tmp", "/tmp", "tmpfs", 0, "size=1m"), 0, "%s", strerror(errno));
	cr_assert_not_null(mkdtemp(dir));
	snprintf(options, sizeof(options), "size=%d", DISK_BYTES);
	cr_assert_eq(mount("disk", dir, "tmpfs", 0, options), 0, "%s", strerror(errno));
}

static void fill_disk(const char *dir, const char *name)
{
	static const char zeroes[4096];
	char path[96];
	_cleanup_(close_fdp) int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	while (write(fd, zeroes, sizeof(zeroes)) > 0)
		;
	cr_assert_eq(errno, ENOSPC);
}

static void empty_disk(const char *dir, const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	cr_assert_eq(unlink(path), 0);
}

struct seen {
	unsigned n;
	char names[8][NAME_SIZE];
	uint32_t states[8], slots[8];
};

static int see_zone(void *user, struct zone_row *row)
{
	struct seen *seen = user;

	cr_assert_lt(seen->n, 8);
	snprintf(seen->names[seen->n], NAME_SIZE, "%s", row->name);
	seen->states[seen->n] = row->state;
	seen->slots[seen->n++] = row->slot;
	free(row->guest_json);
	return 0;
}

/* What the next daemon will find. */
static struct seen look(const char *path)
{
	struct seen seen = {0};
	struct state *state;
	struct error err = ERROR_NULL;

	cr_assert_eq(state_open(path, &state, &err), 0, "%s", err.text);
	cr_assert_eq(state_each_zone(state, see_zone, &seen), 0);
	state_close(state);
	return seen;
}

static struct zone_row zone_row(const char *uuid, const char *name, uint32_t slot)
{
	struct zone_row row = {.state = 1, .slot = slot};

	snprintf(row.uuid, sizeof(row.uuid), "%s", uuid);
	snprintf(row.name, sizeof(row.name), "%s", name);
	return row;
}

/* Rows that no longer fit into the space that the write-ahead log has already. */
static int add_until_full(struct state *state, struct error *err)
{
	int r = 0;

	for (unsigned i = 0; i < 2000 && r == 0; i++) {
		struct workload_row row = {.created_unix_ms = i};

		snprintf(row.uuid, sizeof(row.uuid), "00000000-0000-4000-8000-1%011u", i);
		memset(row.reason, 'r', sizeof(row.reason) - 1);
		r = state_add_workload(state, &row, err);
	}
	return r;
}

static void count(void *user)
{
	++*(unsigned *)user;
}

Test(daemon_survival, a_full_disk_refuses_what_is_new_and_loses_nothing)
{
	struct zone_row one = zone_row(UUID_1, "one", 1), two = zone_row(UUID_2, "two", 2),
			three = zone_row(UUID_3, "three", 3);
	char dir[64], path[96], env[] = "[\"A=1\"]";
	struct error err = ERROR_NULL;
	struct state *state;
	unsigned behind = 0;
	struct seen seen;

	mount_disk(dir);
	snprintf(path, sizeof(path), "%s/daemon.db", dir);
	cr_assert_eq(state_open(path, &state, &err), 0, "%s", err.text);
	state_watch(state, count, &behind);
	cr_assert_eq(state_add_zone(state, &one, &err), 0);
	cr_assert_eq(state_add_zone(state, &two, &err), 0);
	fill_disk(dir, "filler");
	cr_assert_eq(add_until_full(state, &err), -ENOSPC, "%s", err.text);
	cr_expect(strstr(err.text, "no space left") && strstr(err.text, path), "%s", err.text);
	cr_expect_eq(behind, 0, "what is refused is not kept");

	/* What happens to those that are there goes on being noted. */
	one.state = 2;
	cr_expect_eq(state_put_zone(state, &one), -ENOSPC);
	cr_expect_eq(behind, 1);
	one.state = 3;
	one.slot = SLOT_NONE;
	one.guest_json = env;
	cr_expect_eq(state_put_zone(state, &one), -ENOSPC);
	cr_expect_eq(state_delete_zone(state, UUID_2), -ENOSPC);
	cr_expect_eq(behind, 1, "once is enough");
	/* Nothing overtakes it: the slot of the one that ended is still taken in the file. */
	three.slot = 1;
	cr_expect_eq(state_add_zone(state, &three, &err), -ENOSPC);
	cr_expect_eq(state_retry(state), -ENOSPC);

	empty_disk(dir, "filler");
	cr_expect_eq(state_retry(state), 0);
	cr_expect_eq(state_add_zone(state, &three, &err), 0, "%s", err.text);
	state_close(state);
	seen = look(path);
	cr_assert_eq(seen.n, 2);
	cr_expect_str_eq(seen.names[0], "one");
	cr_expect(seen.states[0] == 3 && seen.slots[0] == SLOT_NONE);
	cr_expect_str_eq(seen.names[1], "three");
	cr_expect_eq(seen.slots[1], 1);
}

Test(daemon_survival, what_is_kept_is_freed_with_the_state)
{
	struct zone_row one = zone_row(UUID_1, "one", 1);
	char dir[64], path[96], env[] = "[\"A=1\"]";
	struct error err = ERROR_NULL;
	struct state *state;

	mount_disk(dir);
	snprintf(path, sizeof(path), "%s/daemon.db", dir);
	cr_assert_eq(state_open(path, &state, &err), 0);
	fill_disk(dir, "filler");
	cr_assert_eq(add_until_full(state, &err), -ENOSPC);
	one.guest_json = env;
	cr_expect_eq(state_put_zone(state, &one), -ENOSPC);
	state_close(state);
}

Test(daemon_survival, a_disk_that_is_full_from_the_start)
{
	char dir[64], path[96];
	struct error err = ERROR_NULL;
	struct state *state;

	mount_disk(dir);
	snprintf(path, sizeof(path), "%s/daemon.db", dir);
	fill_disk(dir, "filler");
	cr_expect_lt(state_open(path, &state, &err), 0);
	cr_expect_not_null(strstr(err.text, path), "%s", err.text);
	empty_disk(dir, "filler");
	cr_expect_eq(look(path).n, 0);
}

/* A database of some pages, closed in order: all of it is in the one file. */
static void make_database(const char *path)
{
	struct error err = ERROR_NULL;
	struct state *state;

	cr_assert_eq(state_open(path, &state, &err), 0, "%s", err.text);
	for (unsigned i = 0; i < N_ZONES; i++) {
		struct zone_row row = zone_row(UUID_1, "z", i);

		snprintf(row.uuid, sizeof(row.uuid), "00000000-0000-4000-8000-%012u", i);
		snprintf(row.name, sizeof(row.name), "zone-%u", i);
		cr_assert_eq(state_add_zone(state, &row, &err), 0, "%s", err.text);
	}
	state_close(state);
}

struct bytes {
	char *data;
	size_t len;
};

static struct bytes read_bytes(const char *path)
{
	_cleanup_(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct bytes bytes;

	cr_assert_eq(io_read_fd(fd, 1 << 20, &bytes.data, &bytes.len), 0);
	return bytes;
}

static void write_bytes(const char *path, const struct bytes *bytes, size_t len)
{
	_cleanup_(close_fdp) int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, bytes->data, len), (ssize_t)len);
}

/* Refused with a word, and not a byte of it changed: whoever repairs it finds what there was. */
static void expect_refused(const char *path, const char *word)
{
	struct bytes before = read_bytes(path), after;
	struct error err = ERROR_NULL;
	struct state *state;

	cr_expect_lt(state_open(path, &state, &err), 0);
	cr_expect(strstr(err.text, word) && strstr(err.text, path), "%s", err.text);
	after = read_bytes(path);
	cr_expect(before.len == after.len && memcmp(before.data, after.data, before.len) == 0);
	free(before.data);
	free(after.data);
}

/* The head of a page, there and back. */
static void flip(char *page)
{
	for (unsigned i = 0; i < 16; i++)
		page[i] = (char)~page[i];
}

static int count_zone(void *user, struct zone_row *row)
{
	(void)row;
	++*(unsigned *)user;
	return 0;
}

static void expect_zones(const char *path, unsigned wanted)
{
	struct error err = ERROR_NULL;
	struct state *state;
	unsigned n = 0;

	cr_assert_eq(state_open(path, &state, &err), 0, "%s", err.text);
	cr_expect_eq(state_each_zone(state, count_zone, &n), 0);
	cr_expect_eq(n, wanted);
	state_close(state);
}

Test(daemon_survival, damaged_files_are_refused_and_left_alone)
{
	char dir[] = "/tmp/daemon-state-XXXXXX", path[64], command[64];
	struct bytes good;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/daemon.db", dir);
	make_database(path);
	good = read_bytes(path);
	cr_assert_gt(good.len, 3 * PAGE_BYTES);

	write_bytes(path, &good, good.len / 2);
	expect_refused(path, "damaged");
	for (size_t at = 0; at < good.len; at += PAGE_BYTES) {
		flip(good.data + at);
		write_bytes(path, &good, good.len);
		expect_refused(path, "damaged");
		flip(good.data + at);
	}
	write_bytes(path, &good, good.len);
	expect_zones(path, N_ZONES);
	free(good.data);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	cr_expect_eq(system(command), 0);
}

#define RING_SIZE 65536

static int ring_file(const char *dir, int flags)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/ring", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
	cr_assert_geq(fd, 0);
	return fd;
}

/* What a daemon that comes next would show. Returns how many bytes. */
static size_t restored(const char *dir, char *text, size_t size)
{
	_cleanup_(close_fdp) int fd = ring_file(dir, 0);
	struct ring *ring = ring_new(RING_SIZE);
	struct ring_cursor cursor = {0};
	const void *data;
	size_t len, n = 0;
	unsigned tag;

	if (ring_restore(ring, fd) == 0)
		while (ring_peek(ring, &cursor, &tag, &data, &len)) {
			cr_assert_leq(n + len, size);
			memcpy(text + n, data, len);
			n += len;
			ring_advance(ring, &cursor, len);
		}
	ring_free(ring);
	return n;
}

Test(daemon_survival, a_log_is_in_its_file_at_every_instant)
{
	char dir[] = "/tmp/daemon-ring-XXXXXX", command[64], line[64], text[RING_SIZE];
	struct ring *ring = ring_new(RING_SIZE);
	size_t len = 0;

	cr_assert_not_null(mkdtemp(dir));
	ring_append(ring, 1, "before\n", 7);
	ring_mirror(ring, ring_file(dir, 0));
	cr_expect_eq(restored(dir, text, sizeof(text)), 7);
	for (unsigned i = 0; i < 10000; i++) { /* some rounds */
		len = (size_t)snprintf(line, sizeof(line), "line %u of what it says\n", i);
		ring_append(ring, i & 1, line, len);
		if (i % 997 == 0) {
			size_t n = restored(dir, text, sizeof(text));

			cr_assert(n > len && memcmp(text + n - len, line, len) == 0, "%u", i);
		}
	}
	cr_expect_gt(restored(dir, text, sizeof(text)), RING_SIZE / 2);
	ring_clear(ring);
	cr_expect_eq(restored(dir, text, sizeof(text)), 0);
	ring_append(ring, 1, "after", 5);
	cr_expect_eq(ring_unmirror(ring), 0);
	cr_expect_eq(ring_unmirror(ring), -EBADF);
	cr_expect_eq(restored(dir, text, sizeof(text)), 5);
	ring_free(ring);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	cr_expect_eq(system(command), 0);
}

Test(daemon_survival, a_log_whose_disk_was_full_is_whole_in_the_end)
{
	char dir[64], text[RING_SIZE];
	struct ring *ring = ring_new(RING_SIZE);

	mount_disk(dir);
	ring_mirror(ring, ring_file(dir, 0));
	ring_append(ring, 1, "first ", 6);
	fill_disk(dir, "filler");
	for (unsigned i = 0; i < 30; i++) {
		char lot[2000];

		memset(lot, 'x', sizeof(lot));
		ring_append(ring, 1, lot, sizeof(lot));
	}
	empty_disk(dir, "filler");
	ring_append(ring, 1, " last", 5);
	cr_expect_eq(ring_unmirror(ring), 0);
	cr_assert_eq(restored(dir, text, sizeof(text)), 6 + 30 * 2000 + 5);
	cr_expect_eq(memcmp(text, "first x", 7), 0);
	cr_expect_eq(memcmp(text + 6 + 30 * 2000 - 1, "x last", 6), 0);
	ring_free(ring);
}

/* Any byte of the file may be anything: what is shown stays within bounds. */
Test(daemon_survival, a_log_file_is_not_trusted)
{
	char dir[] = "/tmp/daemon-ring-XXXXXX", command[64], text[RING_SIZE];
	struct ring *ring = ring_new(RING_SIZE);
	unsigned refused = 0;

	cr_assert_not_null(mkdtemp(dir));
	ring_mirror(ring, ring_file(dir, 0));
	for (unsigned i = 0; i < 40; i++)
		ring_append(ring, 1, "0123456789", 10);
	ring_free(ring);
	for (off_t at = 0; at < 4096 + 40 * 18; at = at == 31 ? 4096 : at + 1) {
		_cleanup_(close_fdp) int fd = ring_file(dir, 0);
		char byte, other;

		cr_assert_eq(pread(fd, &byte, 1, at), 1);
		other = (char)~byte;
		cr_assert_eq(pwrite(fd, &other, 1, at), 1);
		refused += restored(dir, text, sizeof(text)) == 0;
		cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
	}
	cr_expect_gt(refused, 32 + 40); /* any time is one, and so is any tag */
	cr_expect_eq(restored(dir, text, sizeof(text)), 400);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	cr_expect_eq(system(command), 0);
}
