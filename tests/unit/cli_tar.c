// SPDX-License-Identifier: Apache-2.0
/* Headers of the tar writer, as libarchive reads them. */
#include "tests/unit/harness.h"

#include <errno.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>

#include "protect/cli/tar.h"

UNIT_SUITE(cli_tar);

static void check_reads(const char *path, uint64_t size_bytes, int header_len)
{
	uint8_t header[TAR_HEADER_MAX];
	struct archive *reader = archive_read_new();
	struct archive_entry *entry;

	cr_assert_eq(tar_header(path, size_bytes, header), header_len);
	archive_read_support_format_tar(reader);
	cr_assert_eq(archive_read_open_memory(reader, header, (size_t)header_len), ARCHIVE_OK, "%s",
		     archive_error_string(reader));
	cr_assert_eq(archive_read_next_header(reader, &entry), ARCHIVE_OK, "%s",
		     archive_error_string(reader));
	cr_assert_str_eq(archive_entry_pathname(entry), path);
	cr_assert_eq((uint64_t)archive_entry_size(entry), size_bytes);
	cr_assert_eq(archive_entry_filetype(entry), AE_IFREG);
	cr_assert_eq(archive_entry_perm(entry), 0644);
	archive_read_free(reader);
}

Test(cli_tar, a_short_name_takes_one_block)
{
	check_reads("index.json", 0, TAR_BLOCK);
	check_reads("blobs/sha256/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		    8ull * 1024 * 1024 * 1024 - 1, TAR_BLOCK);
}

Test(cli_tar, long_names_and_sizes_take_records)
{
	char path[TAR_PATH_MAX];

	memset(path, 'a', sizeof(path));
	for (size_t len = 98; len < TAR_PATH_MAX; len++) {
		path[len] = '\0';
		check_reads(path, 7, len <= 100 ? (int)TAR_BLOCK : len <= 502 ? 3 * 512 : 4 * 512);
		path[len] = 'a';
	}
	check_reads("big", 8ull * 1024 * 1024 * 1024, 3 * TAR_BLOCK);
	check_reads("big", 1ull << 60, 3 * TAR_BLOCK);
	path[TAR_PATH_MAX - 1] = '\0';
	check_reads(path, 1ull << 60, 4 * TAR_BLOCK);
}

Test(cli_tar, a_path_too_long_is_refused)
{
	uint8_t header[TAR_HEADER_MAX];
	char path[TAR_PATH_MAX + 1];

	memset(path, 'a', sizeof(path));
	path[TAR_PATH_MAX] = '\0';
	cr_assert_eq(tar_header(path, 1, header), -ENAMETOOLONG);
}

Test(cli_tar, padding_fills_a_block)
{
	cr_assert_eq(tar_padding(0), 0);
	cr_assert_eq(tar_padding(1), 511);
	cr_assert_eq(tar_padding(512), 0);
	cr_assert_eq(tar_padding(513), 511);
}
