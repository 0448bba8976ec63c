// SPDX-License-Identifier: Apache-2.0
/* Layers made to attack who unpacks them: names, links, whiteouts and types. What is refused says
 * why; what is taken ends inside the image. */
#include "tests/unit/storage_raw_tar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "tests/unit/harness.h"

#define ROOM (64 * MIB)

UNIT_SUITE(storage_attacks);

/* What becomes of one layer that is this tar, which is freed. */
static void expect_refused(struct raw_tar *tar, int code, const char *text)
{
	struct layers_plan *plan = NULL;
	struct error err = ERROR_NULL;

	raw_end(tar);
	cr_expect_eq(raw_plan(tar, 1, ROOM, &plan, &err), code, "%s: %s", text, err.text);
	cr_expect_not_null(strstr(err.text, text), "'%s' is not in '%s'", text, err.text);
	layers_plan_free(plan);
	raw_free(tar);
}

/* The tree of these layers, which are freed. */
static struct layers_plan *expect_taken(struct raw_tar *tars, unsigned n)
{
	struct layers_plan *plan = NULL;
	struct error err = ERROR_NULL;

	for (unsigned i = 0; i < n; i++)
		raw_end(&tars[i]);
	cr_assert_eq(raw_plan(tars, n, ROOM, &plan, &err), 0, "%s", err.text);
	for (unsigned i = 0; i < n; i++)
		raw_free(&tars[i]);
	return plan;
}

/* The type of what is at a path; 0 if nothing is. */
static mode_t type_at(struct layers_plan *plan, const char *path)
{
	const struct layers_node *node = layers_plan_find(plan, path);

	return node ? node->inode->type : 0;
}

/* All paths, each behind a space. */
static char *paths(struct layers_plan *plan)
{
	char *text = calloc(1, 64 * KIB), path[LAYERS_PATH_MAX];

	for (struct layers_node *node = layers_next(layers_plan_root(plan)); node;
	     node = layers_next(node)) {
		layers_path(node, path);
		cr_assert_lt(strlen(text) + strlen(path) + 2, 64 * KIB);
		sprintf(text + strlen(text), " %s", path);
	}
	return text;
}

static void expect_paths(struct layers_plan *plan, const char *expected)
{
	char *actual = paths(plan);

	cr_expect_str_eq(actual, expected);
	free(actual);
	layers_plan_free(plan);
}

Test(storage_attacks, names_that_lead_out)
{
	static const char *const names[] = {"..",	 "../x", "/../x",
					    "a/../../x", "a/..", "./../etc/x",
					    "a/b/..",	 "//..", "../../../../../x"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		for (const char *type = "01256"; *type; type++) {
			struct raw_tar tar = {.data = NULL};

			raw_entry(&tar, *type, names[i], "target");
			expect_refused(&tar, -EINVAL, "the entry is not valid");
		}
}

Test(storage_attacks, names_in_extended_headers_that_lead_out)
{
	struct raw_tar tar = {.data = NULL};

	raw_pax_one(&tar, "path", "../../etc/passwd", 16);
	raw_file(&tar, "harmless", "x");
	expect_refused(&tar, -EINVAL, "../../etc/passwd");
	raw_file(&tar, "target", "x");
	raw_pax_one(&tar, "linkpath", "../../etc/passwd", 16);
	raw_entry(&tar, '1', "link", "target");
	expect_refused(&tar, -EINVAL, "the entry is not valid");
	/* GNU's long name. */
	raw_header(&tar, 'L', "././@LongLink", "", "00000000012");
	raw_data(&tar, "../escape", 10);
	raw_file(&tar, "harmless", "x");
	expect_refused(&tar, -EINVAL, "../escape");
}

Test(storage_attacks, absolute_names_stay_inside)
{
	struct raw_tar tar = {.data = NULL};

	raw_file(&tar, "/etc/passwd", "x");
	raw_file(&tar, "///tmp//./y", "x");
	raw_entry(&tar, '1', "/hard", "/etc/passwd");
	raw_entry(&tar, '5', "/", "");
	expect_paths(expect_taken(&tar, 1), " etc etc/passwd tmp tmp/y hard");
}

Test(storage_attacks, a_nul_ends_a_name)
{
	struct raw_tar tar = {.data = NULL};

	raw_pax_one(&tar, "path", "seen\0/../../etc/passwd", 22);
	raw_file(&tar, "unused", "x");
	raw_pax_one(&tar, "linkpath", "seen\0/../x", 10);
	raw_entry(&tar, '1', "hard", "unused");
	expect_paths(expect_taken(&tar, 1), " seen hard");
	raw_pax_one(&tar, "path", "\0", 1);
	raw_file(&tar, "", "x");
	expect_refused(&tar, -ENOTDIR, "the entry is not valid");
}

/* depth folders within each other, each named `name`, then "file". */
static char *deep_path(unsigned depth, const char *name)
{
	char *path = calloc(1, (size_t)depth * (strlen(name) + 1) + 8), *at = path;

	for (unsigned i = 0; i < depth; i++)
		at += sprintf(at, "%s/", name);
	*at = 'f';
	return path;
}

Test(storage_attacks, long_and_deep_names)
{
	struct raw_tar tar = {.data = NULL};
	struct layers_plan *plan;
	char *path = deep_path(2047, "d"), name[300];

	cr_assert_eq(strlen(path), LAYERS_PATH_MAX - 1);
	raw_pax_one(&tar, "path", path, strlen(path));
	raw_file(&tar, "unused", "x");
	raw_entry(&tar, '0', ".wh.d", ""); /* of its own layer: nothing goes */
	plan = expect_taken(&tar, 1);
	cr_expect_eq(type_at(plan, path), S_IFREG);
	cr_expect_eq(layers_plan_names(plan), 2048);
	layers_plan_free(plan);
	free(path);
	path = deep_path(2048, "d");
	raw_pax_one(&tar, "path", path, strlen(path));
	raw_file(&tar, "unused", "x");
	expect_refused(&tar, -ENAMETOOLONG, "the path is too long");
	free(path);
	/* Each of its parts is short enough, as is what follows a link. */
	path = deep_path(1100, "d");
	raw_pax_one(&tar, "path", path, strlen(path));
	raw_entry(&tar, '5', "unused", "");
	raw_pax_one(&tar, "linkpath", path, strlen(path));
	raw_entry(&tar, '2', "l", "unused");
	free(path);
	path = deep_path(1100, "e");
	memcpy(path, "l", 1);
	raw_pax_one(&tar, "path", path, strlen(path));
	raw_file(&tar, "unused", "x");
	expect_refused(&tar, -ENAMETOOLONG, "the path is too long");
	free(path);
	memset(name, 'n', 256);
	name[256] = '\0';
	raw_pax_one(&tar, "path", name, 256);
	raw_file(&tar, "unused", "x");
	expect_refused(&tar, -ENAMETOOLONG, "the path is too long");
	raw_pax_one(&tar, "path", name, 255);
	raw_file(&tar, "unused", "x");
	layers_plan_free(expect_taken(&tar, 1));
}

Test(storage_attacks, writing_through_a_symbolic_link)
{
	struct raw_tar tars[2] = {{.data = NULL}};
	struct layers_plan *plan;

	raw_entry(&tars[0], '2', "up", "../../../../../etc");
	raw_entry(&tars[0], '2', "abs", "/var/../srv");
	raw_entry(&tars[0], '2', "self", "/proc/self/root");
	raw_entry(&tars[0], '2', "chain", "up");
	raw_file(&tars[0], "up/one", "x");
	raw_file(&tars[1], "abs/two", "x"); /* of a lower layer */
	raw_file(&tars[1], "self/three", "x");
	raw_file(&tars[1], "chain/four", "x");
	raw_entry(&tars[1], '1', "chain/hard", "up/one");
	plan = expect_taken(tars, 2);
	cr_expect_eq(type_at(plan, "up"), S_IFLNK, "the links are links still");
	cr_expect_eq(type_at(plan, "abs"), S_IFLNK);
	expect_paths(plan, " up abs self chain etc etc/one etc/four etc/hard var srv srv/two proc"
			   " proc/self proc/self/root proc/self/root/three");
}

Test(storage_attacks, links_that_loop)
{
	struct raw_tar tar = {.data = NULL};

	raw_entry(&tar, '2', "a", "b");
	raw_entry(&tar, '2', "b", "a");
	raw_file(&tar, "a/x", "x");
	expect_refused(&tar, -ELOOP, "too many symbolic links");
	raw_entry(&tar, '2', "s", "s/s");
	raw_entry(&tar, '0', "s/.wh.x", "");
	expect_refused(&tar, -ELOOP, "too many symbolic links");
	for (int i = 0; i <= 40; i++) {
		char name[8], target[8];

		snprintf(name, sizeof(name), "l%d", i);
		snprintf(target, sizeof(target), "l%d", i + 1);
		raw_entry(&tar, '2', name, target);
	}
	raw_file(&tar, "l0/x", "x");
	expect_refused(&tar, -ELOOP, "too many symbolic links");
	/* Hard links to each other, and to themselves. */
	raw_entry(&tar, '1', "a", "b");
	raw_entry(&tar, '1', "b", "a");
	expect_refused(&tar, -EBADMSG, "which is not there");
	raw_entry(&tar, '1', "a", "a");
	expect_refused(&tar, -EBADMSG, "which is not there");
}

Test(storage_attacks, hard_links_to_what_is_outside)
{
	static const char *const targets[] = {"/etc/passwd", "etc/passwd", "link/passwd",
					      "/proc/self/root/etc/passwd"};

	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		struct raw_tar tar = {.data = NULL};

		raw_entry(&tar, '2', "link", "/etc");
		raw_entry(&tar, '1', "hard", targets[i]);
		expect_refused(&tar, -EBADMSG, "which is not there");
	}
}

Test(storage_attacks, types_that_are_swapped)
{
	struct raw_tar tars[3] = {{.data = NULL}};

	/* A folder, then a link in its place, then what was meant for the folder. */
	raw_entry(&tars[0], '5', "d", "");
	raw_file(&tars[0], "d/one", "x");
	raw_entry(&tars[0], '2', "d", "/tmp");
	raw_file(&tars[0], "d/two", "x");
	raw_entry(&tars[1], '5', "d", ""); /* … and a folder over the link */
	raw_file(&tars[1], "d/three", "x");
	raw_entry(&tars[1], '1', "tmp", "d/three"); /* a file over a folder that is full */
	raw_file(&tars[2], "d/three/four", "x");    /* below a file */
	raw_entry(&tars[2], '6', "tmp", "");	    /* one of two names becomes a pipe */
	expect_paths(expect_taken(tars, 3), " d d/three d/three/four tmp");
}

Test(storage_attacks, the_root_is_a_folder)
{
	static const char names[][4] = {".", "/", "./", "//", ""};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		for (const char *type = "012346"; *type; type++) {
			struct raw_tar tar = {.data = NULL};

			raw_file(&tar, "etc", "x");
			/* An empty name ends in a slash or is no name at all. */
			raw_entry(&tar, *type, names[i], *type == '1' ? "etc" : "/tmp");
			if (*type == '0' && names[i][0] && strchr("/.", names[i][0]))
				raw_free(&tar); /* old tars write folders so */
			else
				expect_refused(&tar, -ENOTDIR, "the entry is not valid");
		}
}

Test(storage_attacks, whiteouts_of_nothing_that_is)
{
	static const char *const names[] = {".wh.",   ".wh..",	  ".wh...",
					    "a/.wh.", "a/.wh...", "/.wh.."};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct raw_tar tar = {.data = NULL};

		raw_file(&tar, "a/b", "x");
		raw_entry(&tar, '0', names[i], "");
		expect_refused(&tar, -EINVAL, "the entry is not valid");
	}
}

Test(storage_attacks, whiteouts_of_every_type)
{
	struct raw_tar tars[2] = {{.data = NULL}};

	raw_file(&tars[0], "a/one", "x");
	raw_file(&tars[0], "b/two", "x");
	raw_file(&tars[0], "c/three", "x");
	raw_file(&tars[0], "d/four", "x");
	raw_entry(&tars[0], '2', "to-d", "d");
	raw_entry(&tars[1], '5', ".wh.a", "");
	raw_entry(&tars[1], '2', "b/.wh.two", "/etc");
	raw_entry(&tars[1], '1', "c/.wh..wh..opq", "b");
	raw_entry(&tars[1], '3', "to-d/.wh.four", "");
	expect_paths(expect_taken(tars, 2), " b c d to-d");
}

Test(storage_attacks, whiteouts_of_their_own_layer)
{
	struct raw_tar tars[2] = {{.data = NULL}};

	raw_file(&tars[0], "d/low", "x");
	raw_file(&tars[0], "e/low", "x");
	raw_file(&tars[1], "d/high", "x");
	raw_entry(&tars[1], '0', "d/.wh.high", "");
	raw_file(&tars[1], "e/high", "x");
	raw_entry(&tars[1], '0', ".wh..wh..opq", ""); /* the root's, after children */
	raw_entry(&tars[1], '0', ".wh.e", "");
	raw_entry(&tars[1], '0', "e/.wh..wh..opq", "");
	expect_paths(expect_taken(tars, 2), " d d/high e e/high");
}

/* A whiteout's name is none for anything else: a zone's overlay, or who packs the image again,
 * would take it for one. */
Test(storage_attacks, whiteouts_within_a_path)
{
	struct raw_tar tar = {.data = NULL};

	raw_file(&tar, "a/.wh.b/c", "x");
	expect_refused(&tar, -EINVAL, "the entry is not valid");
	raw_entry(&tar, '2', "l", ".wh.b");
	raw_file(&tar, "l/c", "x");
	expect_refused(&tar, -EINVAL, "the entry is not valid");
	raw_file(&tar, "b", "x");
	raw_entry(&tar, '1', "c", ".wh.b");
	expect_refused(&tar, -EBADMSG, "which is not there");
}

Test(storage_attacks, devices_pipes_and_set_user_ids)
{
	struct raw_tar tar = {.data = NULL};
	struct layers_plan *plan;

	raw_entry(&tar, '3', "dev/mem", "");
	raw_entry(&tar, '4', "dev/sda", "");
	raw_entry(&tar, '6', "pipe", "");
	plan = expect_taken(&tar, 1); /* the zone's kernel is the only one that ever opens them */
	cr_expect_eq(type_at(plan, "dev/mem"), S_IFCHR);
	cr_expect_eq(type_at(plan, "dev/sda"), S_IFBLK);
	cr_expect_eq(type_at(plan, "pipe"), S_IFIFO);
	layers_plan_free(plan);
	raw_file(&tar, "pipe/below", "x"); /* a pipe as a parent is none */
	raw_entry(&tar, '6', "pipe2", "");
	raw_file(&tar, "pipe2/below", "x");
	plan = expect_taken(&tar, 1);
	cr_expect_eq(type_at(plan, "pipe2/below"), S_IFREG);
	layers_plan_free(plan);
}

Test(storage_attacks, owners_that_are_none)
{
	static const char *const owners[] = {"-1", "4294967295", "18446744073709551615",
					     "9223372036854775807"};

	for (size_t i = 0; i < ARRAY_SIZE(owners); i++)
		for (int group = 0; group < 2; group++) {
			struct raw_tar tar = {.data = NULL};

			raw_pax_one(&tar, group ? "gid" : "uid", owners[i], strlen(owners[i]));
			raw_file(&tar, "f", "x");
			expect_refused(&tar, -EINVAL, "the entry is not valid");
		}
}
