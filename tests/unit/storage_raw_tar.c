// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/storage_raw_tar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "supervisor/storage/layer_reader.h"
#include "tests/unit/harness.h"

/* Of a ustar header: where its fields are, and how long. */
#define NAME_LEN 100
#define AT_SIZE	 124
#define SIZE_LEN 12
#define AT_SUM	 148
#define SUM_LEN	 8
#define AT_TYPE	 156
#define AT_LINK	 157
#define LINK_LEN 100
#define AT_MAGIC 257

void raw_bytes(struct raw_tar *tar, const void *data, size_t len)
{
	if (!len)
		return;
	if (tar->len + len > tar->size) {
		tar->size = 2 * (tar->len + len);
		tar->data = realloc(tar->data, tar->size);
	}
	if (!tar->data)
		abort();
	memcpy(tar->data + tar->len, data, len);
	tar->len += len;
}

void raw_data(struct raw_tar *tar, const void *data, size_t len)
{
	static const char zeros[RAW_BLOCK];

	raw_bytes(tar, data, len);
	if (len % RAW_BLOCK)
		raw_bytes(tar, zeros, RAW_BLOCK - len % RAW_BLOCK);
}

void raw_header(struct raw_tar *tar, char type, const char *name, const char *link,
		const char *size)
{
	char block[RAW_BLOCK] = "", text[SUM_LEN];
	unsigned sum = 0;

	memcpy(block, name, strnlen(name, NAME_LEN));
	memcpy(block + NAME_LEN, "0000755\0000000000\0000000000", 23);
	memcpy(block + AT_SIZE, size, SIZE_LEN);
	memcpy(block + AT_SIZE + SIZE_LEN, "00000001000", 11);
	memset(block + AT_SUM, ' ', SUM_LEN);
	block[AT_TYPE] = type;
	memcpy(block + AT_LINK, link, strnlen(link, LINK_LEN));
	memcpy(block + AT_MAGIC, "ustar\00000", 8);
	for (size_t i = 0; i < sizeof(block); i++)
		sum += (unsigned char)block[i];
	snprintf(text, sizeof(text), "%06o", sum);
	memcpy(block + AT_SUM, text, SUM_LEN - 1);
	raw_bytes(tar, block, sizeof(block));
}

static void header_of(struct raw_tar *tar, char type, const char *name, const char *link,
		      size_t len)
{
	char size[SIZE_LEN + 1];

	snprintf(size, sizeof(size), "%011zo", len);
	raw_header(tar, type, name, link, size);
}

void raw_entry(struct raw_tar *tar, char type, const char *name, const char *link)
{
	header_of(tar, type, name, link, 0);
}

void raw_file(struct raw_tar *tar, const char *name, const char *text)
{
	header_of(tar, '0', name, "", strlen(text));
	raw_data(tar, text, strlen(text));
}

/* "LEN KEY=VALUE\n", where LEN counts its own digits. */
void raw_pax_record(struct raw_tar *records, const char *key, const void *value, size_t value_len)
{
	size_t rest = strlen(key) + value_len + 3, len = rest + 1;
	char start[512];

	while (len != rest + (size_t)snprintf(NULL, 0, "%zu", len))
		len++;
	raw_bytes(records, start, (size_t)snprintf(start, sizeof(start), "%zu %s=", len, key));
	raw_bytes(records, value, value_len);
	raw_bytes(records, "\n", 1);
}

void raw_pax(struct raw_tar *tar, const struct raw_tar *records)
{
	header_of(tar, 'x', "pax", "", records->len);
	raw_data(tar, records->data, records->len);
}

void raw_pax_one(struct raw_tar *tar, const char *key, const void *value, size_t value_len)
{
	struct raw_tar records = {.data = NULL};

	raw_pax_record(&records, key, value, value_len);
	raw_pax(tar, &records);
	raw_free(&records);
}

void raw_end(struct raw_tar *tar)
{
	static const char zeros[2 * RAW_BLOCK];

	raw_bytes(tar, zeros, sizeof(zeros));
}

void raw_compress(struct raw_tar *tar, const char *filter)
{
	struct archive_entry *entry = archive_entry_new();
	struct archive *to = archive_write_new();
	size_t size = tar->len + 64 * KIB;
	struct raw_tar packed = {.data = malloc(size), .size = size};

	archive_write_set_format_raw(to);
	cr_assert_eq(archive_write_add_filter_by_name(to, filter), ARCHIVE_OK);
	archive_write_set_bytes_per_block(to, 0);
	archive_entry_set_filetype(entry, AE_IFREG);
	cr_assert_eq(archive_write_open_memory(to, packed.data, size, &packed.len), ARCHIVE_OK);
	cr_assert_eq(archive_write_header(to, entry), ARCHIVE_OK);
	cr_assert_eq(archive_write_data(to, tar->data, tar->len), (la_ssize_t)tar->len);
	cr_assert_eq(archive_write_close(to), ARCHIVE_OK);
	archive_write_free(to);
	archive_entry_free(entry);
	free(tar->data);
	*tar = packed;
}

void raw_free(struct raw_tar *tar)
{
	free(tar->data);
	*tar = (struct raw_tar){.data = NULL};
}

static int plan_one(struct layers_plan *plan, const struct raw_tar *tar, uint64_t *budget,
		    uint64_t *data_budget, struct error *err)
{
	_cleanup_(layer_reader_closep) struct layer_reader *reader = NULL;
	_cleanup_(close_fdp) int fd = memfd_create("layer", MFD_CLOEXEC);
	struct digest diff_id;
	int r;

	cr_assert_eq(io_write_full(fd, tar->data, tar->len), 0);
	r = layer_reader_open_fd(&reader, fd, budget, "the layer", err);
	if (r == 0)
		r = layers_plan_add(plan, reader, data_budget, err);
	return r < 0 ? r : layer_reader_finish(reader, &diff_id, err);
}

int raw_plan(const struct raw_tar *tars, unsigned n, uint64_t max_bytes, struct layers_plan **out,
	     struct error *err)
{
	_cleanup_(layers_plan_freep) struct layers_plan *plan = NULL;
	uint64_t budget = max_bytes, data_budget = max_bytes;
	int r = layers_plan_new(&plan);

	for (unsigned i = 0; i < n && r == 0; i++)
		r = plan_one(plan, &tars[i], &budget, &data_budget, err);
	if (r == 0)
		*out = steal_ptr(&plan);
	return r;
}
