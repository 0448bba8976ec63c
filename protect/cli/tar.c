// SPDX-License-Identifier: Apache-2.0
#include "protect/cli/tar.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

#define NAME_BYTES    100u
#define SIZE_OCTAL    (8 * GIB) /* from here on 11 octal digits do not do */
#define PLAIN_FILE    '0'
#define PAX_HEADER    'x'
#define CHECKSUM_AT   148u
#define CHECKSUM_SIZE 8u

/* ustar, as POSIX has it; numbers in octal, ended by a NUL. */
struct ustar {
	char name[NAME_BYTES], mode[8], uid[8], gid[8], size[12], mtime[12],
		checksum[CHECKSUM_SIZE];
	char type, linkname[100], magic[6], version[2], uname[32], gname[32];
	char major[8], minor[8], prefix[155], rest[12];
};

_Static_assert(sizeof(struct ustar) == TAR_BLOCK, "a header is one block");

static void write_block(uint8_t *out, const char *name, uint64_t size_bytes, char type)
{
	struct ustar block = {.mode = "0000644",
			      .uid = "0000000",
			      .gid = "0000000",
			      .mtime = "00000000000",
			      .type = type,
			      .magic = "ustar",
			      .version = {'0', '0'}};
	unsigned sum = 0;

	memcpy(block.name, name, strnlen(name, NAME_BYTES));
	snprintf(block.size, sizeof(block.size), "%011llo",
		 (unsigned long long)(size_bytes % SIZE_OCTAL));
	memset(block.checksum, ' ', sizeof(block.checksum));
	memcpy(out, &block, sizeof(block));
	for (size_t i = 0; i < sizeof(block); i++)
		sum += out[i];
	snprintf((char *)out + CHECKSUM_AT, CHECKSUM_SIZE, "%06o", sum);
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts its own digits. Returns its length. */
static size_t write_record(char *out, size_t size, const char *key, const char *value)
{
	size_t rest = strlen(key) + strlen(value) + 3, len = rest, before;
	char digits[24];

	do {
		before = len;
		len = rest + (size_t)snprintf(digits, sizeof(digits), "%zu", before);
	} while (len != before);
	snprintf(out, size, "%zu %s=%s\n", len, key, value);
	return len;
}

int tar_header(const char *path, uint64_t size_bytes, uint8_t out[static TAR_HEADER_MAX])
{
	char *records = (char *)out + TAR_BLOCK, number[24];
	size_t used = 0;

	if (strlen(path) >= TAR_PATH_MAX)
		return -ENAMETOOLONG;
	memset(out, 0, TAR_HEADER_MAX);
	if (strlen(path) > NAME_BYTES)
		used += write_record(records, 2 * TAR_BLOCK, "path", path);
	if (size_bytes >= SIZE_OCTAL) {
		snprintf(number, sizeof(number), "%llu", (unsigned long long)size_bytes);
		used += write_record(records + used, 2 * TAR_BLOCK - used, "size", number);
	}
	if (!used) {
		write_block(out, path, size_bytes, PLAIN_FILE);
		return TAR_BLOCK;
	}
	write_block(out, "PaxHeaders/0", used, PAX_HEADER);
	used += TAR_BLOCK + tar_padding(used);
	write_block(out + used, path, size_bytes, PLAIN_FILE);
	return (int)(used + TAR_BLOCK);
}
