// SPDX-License-Identifier: Apache-2.0
/* Layers made to attack who reads them: sizes that lie, headers that grow, streams that end early
 * or never, and work without end for a few bytes. */
#include "tests/unit/storage_raw_tar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "supervisor/storage/layers_internal.h"
#include "tests/unit/harness.h"

#define ROOM (8 * MIB)

UNIT_SUITE(storage_attacks_tar);

/* What becomes of one layer that is these bytes, which are freed. */
static void expect_in(uint64_t room, struct raw_tar *tar, int code, const char *text)
{
	struct layers_plan *plan = NULL;
	struct error err = ERROR_NULL;

	cr_expect_eq(raw_plan(tar, 1, room, &plan, &err), code, "%s: %s", text, err.text);
	cr_expect_not_null(strstr(err.text, text), "'%s' is not in '%s'", text, err.text);
	layers_plan_free(plan);
	raw_free(tar);
}

static void expect(struct raw_tar *tar, int code, const char *text)
{
	expect_in(ROOM, tar, code, text);
}

static void expect_refused(struct raw_tar *tar, int code, const char *text)
{
	raw_end(tar);
	expect(tar, code, text);
}

Test(storage_attacks_tar, sizes_that_lie)
{
	static const struct {
		char size[13];
		int code;
		const char *text;
	} cases[] = {
		{"77777777777", -EFBIG, "larger than allowed"},	 /* 8 GiB */
		{"777777777777", -EFBIG, "larger than allowed"}, /* without its NUL */
		{"-0000000001", -EBADMSG, "damaged"},
		/* Base 256: the largest, one more, minus one, the least. */
		{"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", -EBADMSG, "damaged"},
		{"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", -EBADMSG, "damaged"},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", -EBADMSG, "damaged"},
		{"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", -EBADMSG, "damaged"},
		{"00000002000", -EBADMSG, "damaged"}, /* more than there is */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct raw_tar tar = {.data = NULL};

		raw_header(&tar, '0', "f", "", cases[i].size);
		expect(&tar, cases[i].code, cases[i].text);
	}
}

Test(storage_attacks_tar, sizes_in_extended_headers)
{
	static const struct {
		const char *size;
		int code;
	} cases[] = {{"-1", -EBADMSG},
		     {"9223372036854775807", -EBADMSG},
		     {"9223372036854775808", -EBADMSG},
		     {"99999999999999999999999999", -EBADMSG},
		     {"8388609", -EFBIG}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct raw_tar tar = {.data = NULL};

		raw_pax_one(&tar, "size", cases[i].size, strlen(cases[i].size));
		raw_file(&tar, "f", "x");
		expect_refused(&tar, cases[i].code, "");
	}
}

Test(storage_attacks_tar, extended_headers_that_are_none)
{
	static const char *const records[] = {
		"99999999999999999999 path=x\n",
		"-5 path=x\n",
		"0 path=x\n",
		"5 path=x\n",
		"4000 path=x\n",
		"12 path=xyz!",
		"path=x\n",
		"11 path",
		"10 path=a",
	};
	struct raw_tar tar = {.data = NULL}, big = {.data = NULL};

	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		struct raw_tar text = {.data = NULL};

		raw_bytes(&text, records[i], strlen(records[i]));
		raw_pax(&tar, &text);
		raw_free(&text);
		raw_file(&tar, "f", "x");
		expect_refused(&tar, -EBADMSG, "damaged");
	}
	/* One of 2 MiB, and one without end. */
	for (int i = 0; i < 2048; i++)
		raw_data(&big, (char[1024]){0}, 1024);
	raw_pax_one(&tar, "comment", big.data, big.len);
	raw_free(&big);
	raw_file(&tar, "f", "x");
	expect_refused(&tar, -EBADMSG, "damaged");
	raw_header(&tar, 'x', "pax", "", "77777777777");
	expect_refused(&tar, -EBADMSG, "damaged");
	/* Headers of headers of headers. */
	for (int i = 0; i < 100; i++)
		raw_pax_one(&tar, "comment", "x", 1);
	raw_file(&tar, "f", "x");
	expect_refused(&tar, -EBADMSG, "damaged");
}

/* A sparse file of GNU tar, format 1.0: its map is the start of its content. */
static void sparse_file(struct raw_tar *tar, const char *real_size, const char *map, size_t map_len)
{
	struct raw_tar records = {.data = NULL};
	char size[13];

	raw_pax_record(&records, "GNU.sparse.major", "1", 1);
	raw_pax_record(&records, "GNU.sparse.minor", "0", 1);
	raw_pax_record(&records, "GNU.sparse.name", "sparse", 6);
	raw_pax_record(&records, "GNU.sparse.realsize", real_size, strlen(real_size));
	raw_pax(tar, &records);
	raw_free(&records);
	snprintf(size, sizeof(size), "%011zo", (size_t)align_up(map_len, RAW_BLOCK) + 1);
	raw_header(tar, '0', "f", "", size);
	raw_data(tar, map, map_len);
	raw_data(tar, "x", 1);
}

Test(storage_attacks_tar, sparse_files_that_lie)
{
	static const struct {
		const char *size, *map;
		int code;
	} cases[] = {
		{"9223372036854775807", "1\n0\n1\n", -EFBIG},
		{"1099511627776", "1\n0\n1\n", -EFBIG},
		{"-5", "1\n0\n1\n", -EINVAL},
		{"100", "1\n-5\n10\n", -EBADMSG},
		{"100", "1\n9223372036854775807\n9223372036854775807\n", -EBADMSG},
		{"100", "99999999999999999999\n0\n1\n", -EBADMSG},
		{"100", "-1\n", -EBADMSG},
		{"100", "5\n0\n1\n", -EBADMSG},
		{"100", "no map", -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct raw_tar tar = {.data = NULL};

		sparse_file(&tar, cases[i].size, cases[i].map, strlen(cases[i].map));
		expect_refused(&tar, cases[i].code, "the ");
	}
}

/* 16 MiB of a map would be 400 MiB in libarchive's memory, and it packs a thousandfold. */
Test(storage_attacks_tar, a_sparse_map_without_end)
{
	struct raw_tar tar = {.data = NULL};
	const size_t len = 16 * MIB;
	char *map = malloc(len);
	struct rusage before, after;

	for (size_t i = 0; i < len; i += 4)
		memcpy(map + i, "0\n0\n", 4);
	memcpy(map, "4000000\n", 8);
	sparse_file(&tar, "100", map, len);
	free(map);
	getrusage(RUSAGE_SELF, &before);
	expect_in(64 * MIB, &tar, -E2BIG, "more than 4 MiB of headers");
	getrusage(RUSAGE_SELF, &after);
	cr_expect_lt(after.ru_maxrss - before.ru_maxrss, 300 * 1024, "%ld KiB",
		     after.ru_maxrss - before.ru_maxrss);
}

Test(storage_attacks_tar, streams_that_end_early)
{
	static const char *const filters[] = {"gzip", "zstd"};

	for (size_t i = 0; i < ARRAY_SIZE(filters); i++)
		for (size_t cut = 1; cut < 60; cut += 7) {
			struct raw_tar tar = {.data = NULL};

			raw_file(&tar, "f", "some content that does not pack into nothing at all");
			raw_end(&tar);
			raw_compress(&tar, filters[i]);
			cr_assert_gt(tar.len, cut);
			tar.len -= cut;
			expect(&tar, -EBADMSG, "damaged");
		}
	for (size_t cut = 1; cut < 2 * RAW_BLOCK; cut += 100) {
		struct raw_tar tar = {.data = NULL};

		raw_file(&tar, "f", "content");
		tar.len -= cut;
		if (cut > RAW_BLOCK - 7)
			expect(&tar, -EBADMSG, "damaged");
		else /* what lacks is the filling of the last block */
			expect(&tar, 0, "");
	}
}

/* Whatever follows the end is no part of the image, but of the digests. */
Test(storage_attacks_tar, streams_that_go_on_behind_their_end)
{
	struct raw_tar tar = {.data = NULL}, more = {.data = NULL};
	struct layers_plan *plan = NULL;
	struct error err = ERROR_NULL;

	raw_file(&tar, "f", "x");
	raw_end(&tar);
	raw_file(&tar, "hidden", "x");
	raw_end(&tar);
	raw_compress(&tar, "gzip");
	/* A second member of gzip, which goes on with the first; then what is none. */
	raw_file(&more, "hidden-too", "x");
	raw_compress(&more, "gzip");
	raw_bytes(&tar, more.data, more.len);
	raw_bytes(&tar, "garbage behind all of it", 24);
	cr_assert_eq(raw_plan(&tar, 1, ROOM, &plan, &err), 0, "%s", err.text);
	cr_expect_eq(layers_plan_names(plan), 1);
	layers_plan_free(plan);
	raw_free(&tar);
	raw_free(&more);
}

Test(storage_attacks_tar, many_members)
{
	struct raw_tar tar = {.data = NULL}, all = {.data = NULL}, empty = {.data = NULL};
	struct layers_plan *plan = NULL;
	struct error err = ERROR_NULL;

	raw_compress(&empty, "gzip");
	for (unsigned i = 0; i < 1000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%u", i);
		raw_file(&tar, name, "x");
		if (i == 999)
			raw_end(&tar);
		raw_compress(&tar, "gzip");
		raw_bytes(&all, tar.data, tar.len);
		raw_bytes(&all, empty.data, empty.len);
		raw_free(&tar);
	}
	cr_assert_eq(raw_plan(&all, 1, ROOM, &plan, &err), 0, "%s", err.text);
	cr_expect_eq(layers_plan_names(plan), 1000);
	layers_plan_free(plan);
	raw_free(&all);
	raw_free(&empty);
}

Test(storage_attacks_tar, wrong_compression)
{
	static const char *const filters[] = {"bzip2", "xz", "lzma", "lz4", "compress", "uuencode"};
	static const char *const magics[] = {"\x1f\x8b",   "\x1f\x8b\x08", "\x28\xb5\x2f\xfd",
					     "PK\x03\x04", "#!/bin/sh\n",  "!<arch>\n"};

	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		struct raw_tar tar = {.data = NULL};

		raw_file(&tar, "f", "x");
		raw_end(&tar);
		raw_compress(&tar, filters[i]);
		expect(&tar, -EBADMSG, "damaged");
	}
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
		struct raw_tar tar = {.data = NULL};

		raw_bytes(&tar, magics[i], strlen(magics[i]));
		for (unsigned j = 0; j < 2000; j++)
			raw_bytes(&tar, &(char){(char)(j * 37)}, 1);
		expect(&tar, -EBADMSG, "damaged");
	}
}

/* A stream between two compressions counts for nothing, so that it could be endless. */
Test(storage_attacks_tar, compressed_more_than_once)
{
	static const char *const filters[][2] = {
		{"gzip", "gzip"}, {"zstd", "zstd"}, {"gzip", "zstd"}, {"zstd", "gzip"}};

	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		struct raw_tar tar = {.data = NULL};

		raw_file(&tar, "f", "x");
		raw_end(&tar);
		raw_compress(&tar, filters[i][0]);
		raw_compress(&tar, filters[i][1]);
		expect(&tar, -EBADMSG, "compressed more than once");
	}
}

Test(storage_attacks_tar, bombs_of_bytes)
{
	static const char *const filters[] = {"gzip", "zstd"};

	for (size_t i = 0; i < ARRAY_SIZE(filters); i++)
		for (int trailing = 0; trailing < 2; trailing++) {
			struct raw_tar tar = {.data = NULL};
			char *zeros = calloc(1, ROOM);

			/* In a file, or behind the end. */
			if (trailing)
				raw_end(&tar);
			else
				raw_header(&tar, '0', "f", "", "00037776000");
			raw_data(&tar, zeros, ROOM);
			free(zeros);
			raw_compress(&tar, filters[i]);
			cr_expect_lt(tar.len, MIB);
			expect(&tar, -EFBIG, "larger than allowed");
		}
}

/* The layer "f", "f", "f" … of any length, out of nothing. */
static ssize_t same_again(void *context, void *buf, size_t len)
{
	const struct raw_tar *tar = context;

	for (size_t at = 0; at < len; at += RAW_BLOCK)
		memcpy((char *)buf + at, tar->data, RAW_BLOCK);
	return (ssize_t)len;
}

Test(storage_attacks_tar, bombs_of_entries)
{
	_cleanup_(layers_plan_freep) struct layers_plan *plan = NULL;
	struct layer_reader *reader = NULL;
	uint64_t budget = 20 * GIB, data_budget = budget;
	struct raw_tar tar = {.data = NULL};
	struct error err = ERROR_NULL;

	raw_entry(&tar, '0', "f", "");
	cr_assert_eq(layers_plan_new(&plan), 0);
	plan->entries = LAYERS_ENTRIES_MAX - 10000; /* it would take a while */
	cr_assert_eq(layer_reader_open(&reader, same_again, &tar, &budget, "it", &err), 0);
	cr_expect_eq(layers_plan_add(plan, reader, &data_budget, &err), -E2BIG);
	cr_expect_not_null(strstr(err.text, "too many entries"), "%s", err.text);
	layer_reader_close(reader);
	raw_free(&tar);
}

/* How long the refusal of a layer takes, which must not depend on how it is made. */
static void expect_soon(struct raw_tar *tar)
{
	uint64_t start_ns = clock_now_ns();

	expect_refused(tar, -E2BIG, "too many entries");
	cr_expect_lt(clock_now_ns() - start_ns, 60 * NS_PER_S);
}

Test(storage_attacks_tar, bombs_of_whiteouts)
{
	struct raw_tar tar = {.data = NULL};

	/* Each walks over all that its own layer brought. */
	for (unsigned i = 0; i < 9000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "d/%u", i);
		raw_entry(&tar, '0', name, "");
	}
	for (unsigned i = 0; i < 9000; i++)
		raw_entry(&tar, '0', i % 2 ? "d/.wh..wh..opq" : ".wh.d", "");
	expect_soon(&tar);
}

Test(storage_attacks_tar, bombs_of_links)
{
	struct raw_tar tar = {.data = NULL}, target = {.data = NULL};

	/* 38 links, each of which goes down and up again before it goes on to the next. */
	raw_entry(&tar, '5', "d", "");
	for (unsigned i = 0; i < 38; i++) {
		char name[8], next[8];

		for (unsigned j = 0; j < 810; j++)
			raw_bytes(&target, "d/../", 5);
		raw_bytes(&target, next, (size_t)snprintf(next, sizeof(next), "l%u", i + 1));
		raw_pax_one(&tar, "linkpath", target.data, target.len);
		raw_free(&target);
		snprintf(name, sizeof(name), "l%u", i);
		raw_entry(&tar, '2', name, "x");
	}
	raw_entry(&tar, '5', "l38", "");
	for (unsigned i = 0; i < 1200; i++)
		raw_entry(&tar, '0', "l0/f", "");
	expect_soon(&tar);
}

Test(storage_attacks_tar, bombs_of_attributes)
{
	struct raw_tar tar = {.data = NULL}, records = {.data = NULL};
	char *value = calloc(1, 65537), name[300] = "SCHILY.xattr.user.";

	/* 64 MiB in all, wherever they are kept. */
	for (unsigned i = 0; i < 15; i++) {
		snprintf(name, sizeof(name), "SCHILY.xattr.user.%u", i);
		raw_pax_record(&records, name, value, 65536);
	}
	for (unsigned i = 0; i < 70; i++) {
		raw_pax(&tar, &records);
		raw_entry(&tar, i % 2 ? '0' : '5', i % 2 ? "f" : "d", "");
	}
	raw_free(&records);
	expect_in(128 * MIB, &tar, -E2BIG, "too many attributes");
	for (unsigned i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "SCHILY.xattr.user.%05u", i);
		raw_pax_record(&records, name, "", 0);
	}
	for (unsigned i = 0; i < 50; i++) {
		raw_pax(&tar, &records);
		raw_entry(&tar, '0', "f", "");
	}
	raw_free(&records);
	expect_in(128 * MIB, &tar, -E2BIG, "too many attributes");
	raw_pax_one(&tar, "SCHILY.xattr.user.a", value, 65537);
	raw_entry(&tar, '0', "f", "");
	expect_refused(&tar, -EINVAL, "the entry is not valid");
	memset(name + strlen("SCHILY.xattr.user."), 'n', 251);
	name[strlen("SCHILY.xattr.user.") + 251] = '\0';
	raw_pax_one(&tar, name, "v", 1);
	raw_entry(&tar, '5', "d", "");
	expect_refused(&tar, -EINVAL, "the entry is not valid");
	free(value);
}
