// SPDX-License-Identifier: Apache-2.0
/* zone-fs's server: what an honest guest asks of it, on a real folder. */
#include "tests/unit/harness.h"
#include "tests/unit/zone_fs_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "base/cleanup.h"

UNIT_SUITE(zone_fs);

#define ROOT FUSE_ROOT_ID

static struct client c;

static void start(void)
{
	umask(0);
	cr_assert_eq(client_init(&c, false), 0);
}

static const char *host(const char *name)
{
	static char path[4][128];
	static unsigned turn;
	char *at = path[turn++ % 4];

	snprintf(at, sizeof(path[0]), "%s/%s", c.dir, name);
	return at;
}

static void host_write(const char *name, const char *text)
{
	_cleanup_(close_fdp) int fd = open(host(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static uint64_t node_of(uint64_t folder, const char *name)
{
	struct fuse_entry_out out;

	cr_assert_eq(client_lookup(&c, folder, name, &out), 0, "%s", name);
	return out.nodeid;
}

static bool holds(uint64_t node, const char *text)
{
	uint64_t fh;
	int r = client_open(&c, node, O_RDONLY, &fh);

	if (r == 0) {
		r = client_reads(&c, node, fh, text);
		client_release(&c, node, fh);
	}
	return r == 0;
}

Test(zone_fs, files_are_made_written_and_read)
{
	struct fuse_attr attr;
	uint64_t node, fh;
	struct stat st;

	start();
	cr_assert_eq(client_create(&c, ROOT, "a", 0640, &node, &fh), 0);
	cr_assert_eq(client_write(&c, node, fh, 0, "hello"), 0);
	cr_assert_eq(client_write(&c, node, fh, 5, " world"), 0);
	cr_assert_eq(client_reads(&c, node, fh, "hello world"), 0);
	cr_assert_eq(client_getattr(&c, node, &attr), 0);
	cr_assert_eq(attr.size, 11);
	cr_assert_eq(attr.mode, S_IFREG | 0640);
	cr_assert_eq(attr.uid + attr.gid, 0, "what is ours is root's there");
	cr_assert_eq(client_release(&c, node, fh), 0);
	cr_assert_eq(client_release(&c, node, fh), -EBADF);
	cr_assert_eq(stat(host("a"), &st), 0);
	cr_assert_eq(st.st_size, 11);
	client_deinit(&c);
}

Test(zone_fs, what_the_host_changes_is_seen)
{
	uint64_t node;

	start();
	host_write("a", "one");
	node = node_of(ROOT, "a");
	cr_assert(holds(node, "one"));
	host_write("a", "two");
	cr_assert(holds(node, "two"));
	/* Replaced: the old one is no more, a look brings the new one. */
	host_write("b", "three");
	cr_assert_eq(rename(host("b"), host("a")), 0);
	cr_assert_eq(client_getattr(&c, node, NULL), -ESTALE);
	cr_assert_not(holds(node, "three"));
	cr_assert(holds(node_of(ROOT, "a"), "three"));
	cr_assert_eq(unlink(host("a")), 0);
	cr_assert_eq(client_lookup(&c, ROOT, "a", NULL), -ENOENT);
	client_deinit(&c);
}

Test(zone_fs, renames_move_what_the_guest_knows)
{
	uint64_t d, a, fh;

	start();
	cr_assert_eq(client_mkdir(&c, ROOT, "d", &d), 0);
	cr_assert_eq(client_create(&c, ROOT, "a", 0644, &a, &fh), 0);
	cr_assert_eq(client_write(&c, a, fh, 0, "A"), 0);
	cr_assert_eq(client_release(&c, a, fh), 0);
	cr_assert_eq(client_rename(&c, ROOT, "a", d, "x", 0), 0);
	cr_assert(holds(a, "A"), "by its node, in its new place");
	cr_assert_eq(node_of(d, "x"), a);
	cr_assert_eq(access(host("d/x"), F_OK), 0);
	/* The folder itself moves, and what is in it stays reachable. */
	cr_assert_eq(client_rename(&c, ROOT, "d", ROOT, "e", 0), 0);
	cr_assert(holds(a, "A"));
	host_write("y", "Y");
	cr_assert_eq(client_rename(&c, ROOT, "y", d, "x", 1 /* RENAME_NOREPLACE */), -EEXIST);
	cr_assert_eq(client_rename(&c, ROOT, "y", d, "x", 2 /* RENAME_EXCHANGE */), 0);
	cr_assert(holds(a, "A"));
	cr_assert_eq(node_of(ROOT, "y"), a);
	cr_assert_eq(client_rename(&c, ROOT, "y", d, "z", 4 /* RENAME_WHITEOUT */), -EINVAL);
	client_deinit(&c);
}

Test(zone_fs, a_file_lives_on_without_a_name)
{
	struct fuse_setattr_in mode = {.valid = FATTR_MODE, .mode = 0600};
	struct fuse_attr attr;
	uint64_t open_one, other, fh, other_fh;

	start();
	cr_assert_eq(client_create(&c, ROOT, "a", 0644, &open_one, &fh), 0);
	cr_assert_eq(client_create(&c, ROOT, "b", 0644, &other, &other_fh), 0);
	cr_assert_eq(client_write(&c, open_one, fh, 0, "A"), 0);
	cr_assert_eq(client_release(&c, other, other_fh), 0);
	cr_assert_eq(client_named(&c, FUSE_UNLINK, ROOT, "a"), 0);
	cr_assert_eq(client_named(&c, FUSE_UNLINK, ROOT, "b"), 0);
	cr_assert_eq(client_reads(&c, open_one, fh, "A"), 0);
	cr_assert_eq(client_setattr(&c, open_one, &mode), 0);
	cr_assert_eq(client_getattr(&c, open_one, &attr), 0);
	cr_assert_eq(attr.mode, S_IFREG | 0600);
	cr_assert_eq(attr.nlink, 0);
	cr_assert_eq(client_getattr(&c, other, &attr), 0, "pinned");
	cr_assert_eq(attr.nlink, 0);
	cr_assert_eq(client_open(&c, other, O_RDONLY, &other_fh), -ESTALE);
	/* Another file by the same name is another one. */
	host_write("b", "B");
	cr_assert_neq(node_of(ROOT, "b"), other);
	client_deinit(&c);
}

Test(zone_fs, links_are_what_they_are_and_never_followed)
{
	const struct fuse_link_in link = {.oldnodeid = 0};
	struct fuse_entry_out entry;
	struct fuse_link_in in = link;
	uint64_t node, fh;

	start();
	client_begin(&c, FUSE_SYMLINK, ROOT);
	client_add(&c, "out", 4);
	client_add(&c, "/etc/passwd", 12);
	cr_assert_eq(client_send(&c), 0);
	memcpy(&entry, client_got(&c), sizeof(entry));
	cr_assert(S_ISLNK(entry.attr.mode));
	client_begin(&c, FUSE_READLINK, entry.nodeid);
	cr_assert_eq(client_send(&c), 0);
	cr_assert_eq(c.len, 11);
	cr_assert_eq(memcmp(client_got(&c), "/etc/passwd", 11), 0);
	cr_assert_eq(client_open(&c, entry.nodeid, O_RDONLY, &fh), -EPERM);
	cr_assert_eq(client_lookup(&c, entry.nodeid, "x", NULL), -ENOTDIR);
	cr_assert_lt(client_create(&c, ROOT, "out", 0644, &node, &fh), 0);
	/* A file that becomes a link behind the guest's back. */
	host_write("a", "A");
	node = node_of(ROOT, "a");
	cr_assert_eq(unlink(host("a")), 0);
	cr_assert_eq(symlink("/etc/passwd", host("a")), 0);
	cr_assert_eq(client_open(&c, node, O_RDONLY, &fh), -ESTALE);
	/* A second name. */
	host_write("b", "B");
	in.oldnodeid = node_of(ROOT, "b");
	client_begin(&c, FUSE_LINK, ROOT);
	client_add(&c, &in, sizeof(in));
	client_add(&c, "b2", 3);
	cr_assert_eq(client_send(&c), 0);
	cr_assert_eq(node_of(ROOT, "b2"), in.oldnodeid);
	cr_assert_eq(client_named(&c, FUSE_UNLINK, ROOT, "b"), 0);
	cr_assert(holds(in.oldnodeid, "B"));
	client_deinit(&c);
}

/* Said in docs/volumes.md. */
Test(zone_fs, a_folder_that_the_host_moves_out_stays_within_reach)
{
	uint64_t d, a, fh;
	char away[80];

	start();
	snprintf(away, sizeof(away), "%s-away", c.dir);
	cr_assert_eq(client_mkdir(&c, ROOT, "d", &d), 0);
	cr_assert_eq(rename(host("d"), away), 0);
	cr_expect_eq(client_create(&c, d, "a", 0644, &a, &fh), 0);
	cr_expect_eq(client_lookup(&c, ROOT, "d", NULL), -ENOENT);
	cr_expect_eq(client_release(&c, a, fh), 0);
	cr_expect_eq(client_named(&c, FUSE_UNLINK, d, "a"), 0);
	client_forget(&c, a, 1);
	client_forget(&c, d, 1);
	cr_expect_eq(client_lookup(&c, d, "a", NULL), -ESTALE, "forgotten, and out of reach");
	cr_expect_eq(rmdir(away), 0);
	client_deinit(&c);
}

/* A rename of one name of a file to another name of it does nothing, says rename(2). */
Test(zone_fs, two_names_of_one_file)
{
	struct fuse_link_in in = {0};
	uint64_t node;

	start();
	host_write("a", "A");
	in.oldnodeid = node = node_of(ROOT, "a");
	client_begin(&c, FUSE_LINK, ROOT);
	client_add(&c, &in, sizeof(in));
	client_add(&c, "b", 2);
	cr_assert_eq(client_send(&c), 0);
	cr_assert_eq(client_rename(&c, ROOT, "a", ROOT, "b", 0), 0);
	cr_expect(holds(node, "A"), "it has a name");
	client_deinit(&c);
}

Test(zone_fs, a_folder_with_many_names_is_read_in_parts)
{
	struct fuse_read_in in = {.size = 1024};
	unsigned n = 0, parts = 0;
	char name[16];

	start();
	for (unsigned i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "file-%u", i);
		host_write(name, "");
	}
	cr_assert_eq(client_open(&c, ROOT, O_DIRECTORY, &in.fh), 0);
	for (;; parts++) {
		client_begin(&c, FUSE_READDIR, ROOT);
		client_add(&c, &in, sizeof(in));
		cr_assert_eq(client_send(&c), 0);
		cr_assert_leq(c.len, 1024);
		if (c.len == 0)
			break;
		for (size_t at = 0; at < c.len; n++) {
			struct fuse_dirent entry;

			memcpy(&entry, (const uint8_t *)client_got(&c) + at, sizeof(entry));
			in.offset = entry.off;
			at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.namelen);
		}
	}
	cr_assert_eq(n, 502, "and . and ..");
	cr_assert_gt(parts, 10);
	client_deinit(&c);
}

Test(zone_fs, attributes_are_set)
{
	struct fuse_setattr_in in = {.valid = FATTR_SIZE | FATTR_MODE | FATTR_MTIME,
				     .size = 3,
				     .mode = S_IFREG | 0444,
				     .mtime = 1234,
				     .mtimensec = 5};
	struct stat st;
	uint64_t node;

	start();
	host_write("a", "hello");
	node = node_of(ROOT, "a");
	cr_assert_eq(client_setattr(&c, node, &in), 0);
	cr_assert_eq(stat(host("a"), &st), 0);
	cr_assert_eq(st.st_size, 3);
	cr_assert_eq(st.st_mode & 07777, 0444);
	cr_assert_eq(st.st_mtim.tv_sec, 1234);
	in = (struct fuse_setattr_in){.valid = FATTR_UID | FATTR_GID};
	cr_assert_eq(client_setattr(&c, node, &in), 0, "root's already");
	in.uid = 1000;
	cr_assert_eq(client_setattr(&c, node, &in), -EPERM);
	in = (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 0700};
	cr_assert_eq(client_setattr(&c, ROOT, &in), 0);
	cr_assert_eq(stat(c.dir, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0700);
	in = (struct fuse_setattr_in){.valid = FATTR_MTIME, .mtimensec = 2000000000};
	cr_assert_eq(client_setattr(&c, node, &in), -EINVAL);
	client_deinit(&c);
}

/* A program with its owner's rights would be a way to them, for whoever is on the host. */
Test(zone_fs, no_rights_come_out_of_it)
{
	const struct fuse_setattr_in suid = {.valid = FATTR_MODE, .mode = 04755};
	struct fuse_mknod_in device = {.mode = S_IFCHR | 0666, .rdev = 0x103};
	uint64_t node, fh;
	struct stat st;

	start();
	cr_assert_eq(client_create(&c, ROOT, "a", 06755, &node, &fh), 0);
	cr_assert_eq(stat(host("a"), &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0755);
	cr_assert_eq(client_setattr(&c, node, &suid), -EPERM);
	client_begin(&c, FUSE_MKNOD, ROOT);
	client_add(&c, &device, sizeof(device));
	client_add(&c, "null", 5);
	cr_assert_eq(client_send(&c), -EPERM);
	device.mode = S_IFIFO | 0666;
	client_begin(&c, FUSE_MKNOD, ROOT);
	client_add(&c, &device, sizeof(device));
	client_add(&c, "pipe", 5);
	cr_assert_eq(client_send(&c), 0);
	/* Nobody waits for the pipe's other end. */
	cr_assert_eq(client_open(&c, node_of(ROOT, "pipe"), O_RDONLY, &fh), -EPERM);
	client_deinit(&c);
}

Test(zone_fs, read_only_is_read_only)
{
	const struct fuse_setattr_in in = {.valid = FATTR_MODE, .mode = 0777};
	uint64_t node, fh;

	start();
	host_write("a", "A");
	cr_assert_eq(client_serve(&c, c.dir, true), 0);
	cr_assert_eq(client_getattr(&c, ROOT, NULL), -EIO, "no INIT yet");
	client_begin(&c, FUSE_INIT, 0);
	client_add(&c, &(struct fuse_init_in){.major = 7, .minor = 31},
		   sizeof(struct fuse_init_in));
	cr_assert_eq(client_send(&c), 0);
	node = node_of(ROOT, "a");
	cr_assert(holds(node, "A"));
	cr_assert_eq(client_open(&c, node, O_RDWR, &fh), -EROFS);
	cr_assert_eq(client_create(&c, ROOT, "b", 0644, &node, &fh), -EROFS);
	cr_assert_eq(client_named(&c, FUSE_UNLINK, ROOT, "a"), -EROFS);
	cr_assert_eq(client_setattr(&c, ROOT, &in), -EROFS);
	cr_assert_eq(client_rename(&c, ROOT, "a", ROOT, "b", 0), -EROFS);
	client_deinit(&c);
}

Test(zone_fs, space_is_taken_and_given_back)
{
	struct fuse_fallocate_in in = {.length = 1 << 20};
	struct fuse_lseek_in seek = {.whence = SEEK_DATA};
	struct fuse_statfs_out statfs;
	uint64_t node, fh;
	struct stat st;

	start();
	cr_assert_eq(client_create(&c, ROOT, "a", 0644, &node, &fh), 0);
	in.fh = seek.fh = fh;
	client_begin(&c, FUSE_FALLOCATE, node);
	client_add(&c, &in, sizeof(in));
	cr_assert_eq(client_send(&c), 0);
	cr_assert_eq(stat(host("a"), &st), 0);
	cr_assert_eq(st.st_size, 1 << 20);
	in.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	client_begin(&c, FUSE_FALLOCATE, node);
	client_add(&c, &in, sizeof(in));
	cr_assert_eq(client_send(&c), 0);
	client_begin(&c, FUSE_LSEEK, node);
	client_add(&c, &seek, sizeof(seek));
	cr_assert_eq(client_send(&c), -ENXIO, "a hole to its end");
	in.mode = FALLOC_FL_COLLAPSE_RANGE;
	client_begin(&c, FUSE_FALLOCATE, node);
	client_add(&c, &in, sizeof(in));
	cr_assert_eq(client_send(&c), -EOPNOTSUPP);
	client_begin(&c, FUSE_STATFS, node);
	cr_assert_eq(client_send(&c), 0);
	memcpy(&statfs, client_got(&c), sizeof(statfs));
	cr_assert_gt(statfs.st.blocks, 0);
	client_begin(&c, FUSE_FSYNC, node);
	client_add(&c, &(struct fuse_fsync_in){.fh = fh, .fsync_flags = 1},
		   sizeof(struct fuse_fsync_in));
	cr_assert_eq(client_send(&c), 0);
	client_deinit(&c);
}

/* Operations that the others have no need for. */
Test(zone_fs, all_the_others)
{
	struct {
		struct fuse_batch_forget_in in;
		struct fuse_forget_one one;
	} forget = {.in = {.count = 3}};
	struct fuse_release_in release = {0};
	struct fuse_fsync_in fsync = {0};
	uint64_t node;

	start();
	host_write("a", "A");
	node = node_of(ROOT, "a");
	client_begin(&c, FUSE_RENAME, ROOT);
	client_add(&c, &(struct fuse_rename_in){.newdir = ROOT}, sizeof(struct fuse_rename_in));
	client_add(&c, "a\0b", 4);
	cr_assert_eq(client_send(&c), 0);
	cr_assert(holds(node, "A"));
	cr_assert_eq(client_open(&c, ROOT, O_DIRECTORY, &fsync.fh), 0);
	release.fh = fsync.fh;
	client_begin(&c, FUSE_FSYNCDIR, ROOT);
	client_add(&c, &fsync, sizeof(fsync));
	cr_assert_eq(client_send(&c), 0);
	cr_assert_eq(client_release(&c, ROOT, release.fh), -EBADF, "a folder is no file");
	client_begin(&c, FUSE_RELEASEDIR, ROOT);
	client_add(&c, &release, sizeof(release));
	cr_assert_eq(client_send(&c), 0);
	/* One of the three that are announced. */
	forget.one = (struct fuse_forget_one){.nodeid = node, .nlookup = 1};
	client_begin(&c, FUSE_BATCH_FORGET, 0);
	client_add(&c, &forget, sizeof(forget));
	cr_assert_eq(client_send(&c), 1);
	cr_assert_eq(client_getattr(&c, node, NULL), -ESTALE);
	client_begin(&c, FUSE_INTERRUPT, 0);
	client_add(&c, &(struct fuse_interrupt_in){.unique = 1}, sizeof(struct fuse_interrupt_in));
	cr_assert_eq(client_send(&c), 1);
	client_begin(&c, FUSE_FLUSH, ROOT);
	cr_assert_eq(client_send(&c), -ENOSYS, "nothing is kept back");
	client_deinit(&c);
}

/* A guest that mounts, goes away without a word, and mounts again. */
Test(zone_fs, init_starts_anew)
{
	uint64_t node, fh;

	start();
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(client_create(&c, ROOT, "a", 0644, &node, &fh), 0);
		cr_assert_eq(fh, 0, "no handle was left");
		cr_assert_eq(node, 2);
		client_begin(&c, FUSE_INIT, 0);
		client_add(&c, &(struct fuse_init_in){.major = 7, .minor = 38},
			   sizeof(struct fuse_init_in));
		cr_assert_eq(client_send(&c), 0);
		cr_assert_eq(client_getattr(&c, node, NULL), -ESTALE);
	}
	client_deinit(&c);
}
