// SPDX-License-Identifier: Apache-2.0
/* zone-fs's server and a guest that wants more than it should have. */
#include "tests/unit/harness.h"
#include "tests/unit/zone_fs_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "zone-fs/nodes.h"
#include "tests/unit/open_files.h"

UNIT_SUITE(zone_fs_hostile);

#define ROOT FUSE_ROOT_ID

static struct client c;

static void start(void)
{
	umask(0);
	cr_assert_eq(client_init(&c, false), 0);
}

Test(zone_fs_hostile, names_are_one_name)
{
	static const char *const names[] = {"",	    ".",    "..", "/",	 "a/b",
					    "../x", "/etc", "a/", "..//"};
	const uint32_t opcodes[] = {FUSE_LOOKUP, FUSE_UNLINK, FUSE_RMDIR};
	char longest[300];
	uint64_t node, fh;

	start();
	memset(longest, 'x', sizeof(longest));
	longest[256] = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		for (unsigned k = 0; k < ARRAY_SIZE(opcodes); k++)
			cr_assert_eq(client_named(&c, opcodes[k], ROOT, names[i]), -EINVAL, "'%s'",
				     names[i]);
		cr_assert_eq(client_create(&c, ROOT, names[i], 0644, &node, &fh), -EINVAL);
		cr_assert_eq(client_mkdir(&c, ROOT, names[i], &node), -EINVAL);
		cr_assert_eq(client_rename(&c, ROOT, names[i], ROOT, "b", 0), -EINVAL);
		cr_assert_eq(client_rename(&c, ROOT, "b", ROOT, names[i], 0), -EINVAL);
	}
	cr_assert_eq(client_lookup(&c, ROOT, longest, NULL), -EINVAL);
	longest[255] = '\0';
	cr_assert_eq(client_lookup(&c, ROOT, longest, NULL), -ENOENT);
	/* Without an end. */
	client_begin(&c, FUSE_LOOKUP, ROOT);
	client_add(&c, "abc", 3);
	cr_assert_eq(client_send(&c), -EINVAL);
	client_deinit(&c);
}

Test(zone_fs_hostile, numbers_lead_nowhere)
{
	static const uint64_t numbers[] = {
		0, 2, NODES_MAX, NODES_MAX + 1, UINT32_MAX, UINT64_MAX, UINT64_C(1) << 32 | 1};
	uint64_t fh;

	start();
	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
		cr_assert_eq(client_getattr(&c, numbers[i], NULL), -ESTALE);
		cr_assert_eq(client_open(&c, numbers[i], O_RDONLY, &fh), -ESTALE);
		cr_assert_eq(client_reads(&c, ROOT, numbers[i], ""), -EBADF);
		cr_assert_eq(client_release(&c, ROOT, numbers[i]), -EBADF);
		client_forget(&c, numbers[i], 1);
	}
	client_forget(&c, ROOT, UINT64_MAX);
	cr_assert_eq(client_getattr(&c, ROOT, NULL), 0, "the root stays");
	client_deinit(&c);
}

/* Every operation, cut at every length up to its whole and with rubbish in it. */
Test(zone_fs_hostile, requests_of_every_length)
{
	uint8_t rubbish[128];

	start();
	for (unsigned fill = 0; fill < 3; fill++) {
		memset(rubbish, fill == 0 ? 0 : fill == 1 ? 0xff : 'x', sizeof(rubbish));
		for (uint32_t opcode = 0; opcode < 64; opcode++)
			for (size_t len = 0; len <= sizeof(rubbish); len++) {
				client_begin(&c, opcode, ROOT);
				client_add(&c, rubbish, len);
				client_send(&c);
			}
	}
	client_begin(&c, FUSE_INIT, 0);
	client_add(&c, &(struct fuse_init_in){.major = 7, .minor = 38},
		   sizeof(struct fuse_init_in));
	cr_assert_eq(client_send(&c), 0);
	cr_assert_eq(client_getattr(&c, ROOT, NULL), 0);
	client_begin(&c, UINT32_MAX, ROOT);
	cr_assert_eq(client_send(&c), -ENOSYS);
	client_deinit(&c);
}

Test(zone_fs_hostile, lengths_of_messages)
{
	struct fuse_in_header header = {.len = sizeof(header)};

	cr_assert_eq(fs_request_len(&header, sizeof(header) - 1), 0, "not known yet");
	cr_assert_eq(fs_request_len(&header, sizeof(header)), sizeof(header));
	header.len = sizeof(header) - 1;
	cr_assert_eq(fs_request_len(&header, sizeof(header)), -EBADMSG);
	header.len = FS_REQUEST_MAX + 1;
	cr_assert_eq(fs_request_len(&header, sizeof(header)), -EBADMSG);
	header.len = UINT32_MAX;
	cr_assert_eq(fs_request_len(&header, sizeof(header)), -EBADMSG);
}

Test(zone_fs_hostile, reads_and_writes_stay_in_their_message)
{
	struct fuse_write_in write = {.size = 100};
	struct fuse_read_in read = {.size = UINT32_MAX};
	uint64_t node;

	start();
	cr_assert_eq(client_create(&c, ROOT, "a", 0644, &node, &write.fh), 0);
	read.fh = write.fh;
	client_begin(&c, FUSE_WRITE, node);
	client_add(&c, &write, sizeof(write));
	client_add(&c, "short", 5);
	cr_assert_eq(client_send(&c), -EINVAL);
	client_begin(&c, FUSE_READ, node);
	client_add(&c, &read, sizeof(read));
	cr_assert_eq(client_send(&c), -EINVAL);
	read.size = FS_IO_MAX;
	read.offset = UINT64_MAX;
	client_begin(&c, FUSE_READ, node);
	client_add(&c, &read, sizeof(read));
	cr_assert_eq(client_send(&c), -EINVAL);
	client_deinit(&c);
}

/* It opens, looks up and lets go of nothing. */
Test(zone_fs_hostile, nothing_grows_without_bound)
{
	unsigned before = 0;
	uint64_t node, fh;

	start();
	before = count_open_files();
	cr_assert_eq(client_create(&c, ROOT, "a", 0644, &node, &fh), 0);
	for (unsigned i = 0; i < FS_HANDLES_MAX + 10; i++)
		if (client_open(&c, node, O_RDONLY, &fh) < 0)
			break;
	cr_assert_leq(count_open_files(), before + FS_HANDLES_MAX);
	client_begin(&c, FUSE_DESTROY, 0);
	cr_assert_eq(client_send(&c), 0);
	cr_assert_eq(count_open_files(), before);
	client_deinit(&c);
}

static bool is_on_host(const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", c.dir, name);
	return lstat(path, &st) == 0;
}

/* A refusal that leaves something behind would be a lie. Folders: of them the fewest can be known.
 */
Test(zone_fs_hostile, what_finds_no_room_is_not_made)
{
	const struct rlimit files = {2 * NODES_FDS_MAX, 2 * NODES_FDS_MAX};
	uint64_t node;
	char name[32];

	start();
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		cr_skip_test("descriptors are scarce here");
	for (unsigned i = 1; i < NODES_FDS_MAX; i++) { /* the root is one */
		snprintf(name, sizeof(name), "d%u", i);
		cr_assert_eq(client_mkdir(&c, ROOT, name, &node), 0);
	}
	cr_expect_eq(client_mkdir(&c, ROOT, "one-more", &node), -ENFILE);
	cr_expect_not(is_on_host("one-more"));
	client_deinit(&c);
}

/* Every handle is in use: a file that cannot be opened is neither made nor emptied. */
Test(zone_fs_hostile, what_finds_no_handle_is_not_made)
{
	const struct fuse_create_in in = {.flags = O_RDWR | O_TRUNC, .mode = S_IFREG | 0600};
	uint64_t node, fh;
	struct fuse_attr attr;

	start();
	cr_assert_eq(client_create(&c, ROOT, "a", 0644, &node, &fh), 0);
	cr_assert_eq(client_write(&c, node, fh, 0, "A"), 0);
	for (unsigned i = 1; i < FS_HANDLES_MAX; i++)
		cr_assert_eq(client_open(&c, node, O_RDONLY, &fh), 0);
	cr_expect_eq(client_create(&c, ROOT, "b", 0644, &node, &fh), -ENFILE);
	cr_expect_not(is_on_host("b"));
	client_begin(&c, FUSE_CREATE, ROOT);
	client_add(&c, &in, sizeof(in));
	client_add(&c, "a", 2);
	cr_expect_eq(client_send(&c), -ENFILE);
	cr_expect_eq(client_getattr(&c, node, &attr), 0);
	cr_expect_eq(attr.size, 1);
	client_deinit(&c);
}

/* One bad part of a change, and none is made. */
Test(zone_fs_hostile, attributes_are_set_all_or_none)
{
	struct fuse_setattr_in in = {.valid = FATTR_MODE | FATTR_SIZE | FATTR_MTIME,
				     .mode = S_IFREG | 0600,
				     .mtimensec = 2000000000};
	struct fuse_attr attr;
	uint64_t node, fh;

	start();
	cr_assert_eq(client_create(&c, ROOT, "a", 0644, &node, &fh), 0);
	cr_assert_eq(client_write(&c, node, fh, 0, "A"), 0);
	cr_expect_eq(client_setattr(&c, node, &in), -EINVAL);
	in.valid = FATTR_MODE | FATTR_SIZE | FATTR_FH;
	in.fh = fh + 1;
	cr_expect_eq(client_setattr(&c, node, &in), -EBADF);
	in.size = UINT64_MAX;
	cr_expect_eq(client_setattr(&c, node, &in), -EFBIG);
	cr_expect_eq(client_getattr(&c, node, &attr), 0);
	cr_expect_eq(attr.mode, S_IFREG | 0644);
	cr_expect_eq(attr.size, 1);
	client_deinit(&c);
}

/* What is still needed is not freed, in whatever order the guest lets go. */
Test(zone_fs_hostile, forgetting_in_the_wrong_order)
{
	uint64_t d, e, a, fh;

	start();
	cr_assert_eq(client_mkdir(&c, ROOT, "d", &d), 0);
	cr_assert_eq(client_mkdir(&c, d, "e", &e), 0);
	cr_assert_eq(client_create(&c, e, "a", 0644, &a, &fh), 0);
	client_forget(&c, d, 1);
	client_forget(&c, e, 5);
	client_forget(&c, a, UINT64_MAX);
	cr_assert_eq(client_write(&c, a, fh, 0, "A"), 0, "it is open");
	cr_assert_eq(client_rename(&c, e, "a", d, "a", 2), -ENOENT);
	cr_assert_eq(client_rename(&c, e, "a", ROOT, "a", 0), 0);
	/* Nothing needs e and d any more. */
	cr_assert_eq(client_getattr(&c, e, NULL), -ESTALE);
	cr_assert_eq(client_getattr(&c, d, NULL), -ESTALE);
	cr_assert_eq(client_release(&c, a, fh), 0);
	cr_assert_eq(client_getattr(&c, a, NULL), -ESTALE);
	client_deinit(&c);
}

/* The host moves a folder into one that was in it. */
Test(zone_fs_hostile, the_host_turns_folders_around)
{
	char from[128], to[128];
	uint64_t d, e;

	start();
	cr_assert_eq(client_mkdir(&c, ROOT, "d", &d), 0);
	cr_assert_eq(client_mkdir(&c, d, "e", &e), 0);
	snprintf(from, sizeof(from), "%s/d/e", c.dir);
	snprintf(to, sizeof(to), "%s/e", c.dir);
	cr_assert_eq(rename(from, to), 0);
	snprintf(from, sizeof(from), "%s/d", c.dir);
	snprintf(to, sizeof(to), "%s/e/d", c.dir);
	cr_assert_eq(rename(from, to), 0);
	cr_assert_eq(client_lookup(&c, e, "d", NULL), -ELOOP);
	cr_assert_eq(client_lookup(&c, ROOT, "e", NULL), 0);
	cr_assert_eq(client_lookup(&c, e, "d", NULL), 0, "now that it is seen where it is");
	client_deinit(&c);
}
