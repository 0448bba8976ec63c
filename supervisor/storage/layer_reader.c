// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/layer_reader.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"

#define CHUNK_SIZE (64u * 1024)
#define TAR_BLOCK  512u
/* What the headers of one entry may take: long names and extended headers (1 MiB each for
 * libarchive) and the map of a sparse file, of which libarchive keeps 20 times as much in memory.
 */
#define HEADER_MAX (4 * MIB)

struct file_source {
	int fd; /* borrowed */
	uint64_t offset;
};

/* Two libarchive readers in a row: `raw` undoes the compression, `tar` parses what comes out, and
 * the hash sits between. */
struct layer_reader {
	struct archive *raw, *tar;
	struct digest_stream *hash;
	layer_read_fn read;
	void *context;
	uint64_t *budget;
	const char *what;
	struct file_source *file; /* ours, of layer_reader_open_fd() */
	uint64_t plain_bytes;	  /* read so far */
	uint64_t content_end;	  /* of the current entry, among them */
	uint64_t header_end;	  /* where the headers that are being read must have ended */
	bool in_entry;		  /* an entry's header was read */
	int failure;		  /* negative errno that a callback met; libarchive would hide it */
	char packed[CHUNK_SIZE];
	char plain[CHUNK_SIZE];
};

static ssize_t read_file(void *context, void *buf, size_t len)
{
	struct file_source *file = context;
	ssize_t n = io_pread_full(file->fd, buf, len, file->offset);

	if (n > 0)
		file->offset += (uint64_t)n;
	return n;
}

static la_ssize_t read_packed(struct archive *archive, void *context, const void **buf)
{
	struct layer_reader *reader = context;
	ssize_t n = reader->read(reader->context, reader->packed, sizeof(reader->packed));

	if (n < 0) {
		reader->failure = (int)n;
		archive_set_error(archive, (int)-n, "read failed");
		return ARCHIVE_FATAL;
	}
	*buf = reader->packed;
	return n;
}

/* The next uncompressed bytes, counted and hashed. Returns their number or a negative errno. */
static ssize_t next_plain(struct layer_reader *reader)
{
	la_ssize_t n = archive_read_data(reader->raw, reader->plain, sizeof(reader->plain));

	if (n < 0)
		return reader->failure ? reader->failure : -EBADMSG;
	if ((uint64_t)n > *reader->budget)
		return -EFBIG;
	*reader->budget -= (uint64_t)n;
	reader->plain_bytes += (uint64_t)n;
	digest_add(reader->hash, reader->plain, (size_t)n);
	return n;
}

/* What is missing of the last block behind content that is whole: some tools (umoci insert) end
 * with the last file's last byte, and Go's tar reader, which other runtimes use, takes that. No
 * part of the diff id. */
static size_t fill_last_block(struct layer_reader *reader)
{
	size_t missing = (size_t)(align_up(reader->plain_bytes, TAR_BLOCK) - reader->plain_bytes);

	if (reader->plain_bytes < reader->content_end)
		return 0;
	memset(reader->plain, 0, missing);
	reader->plain_bytes += missing;
	return missing;
}

static la_ssize_t read_plain(struct archive *archive, void *context, const void **buf)
{
	struct layer_reader *reader = context;
	ssize_t n = reader->plain_bytes < reader->header_end ? next_plain(reader) : -E2BIG;

	if (n == 0)
		n = (ssize_t)fill_last_block(reader);
	if (n < 0) {
		reader->failure = (int)n;
		archive_set_error(archive, (int)-n, "read failed");
		return ARCHIVE_FATAL;
	}
	*buf = reader->plain;
	return n;
}

static int fail(struct layer_reader *reader, struct archive *archive, struct error *err)
{
	const char *text = archive_error_string(archive);

	if (reader->failure == -EFBIG)
		return error_set(err, -EFBIG,
				 "%s is larger than allowed when unpacked; raise --max-size",
				 reader->what);
	if (reader->failure == -E2BIG)
		return error_set(err, -E2BIG, "%s has an entry with more than 4 MiB of headers",
				 reader->what);
	if (reader->failure == -ECANCELED)
		return error_set(err, -ECANCELED, "cancelled");
	if (reader->failure && reader->failure != -EBADMSG)
		return error_set_errno(err, reader->failure, "cannot read %s", reader->what);
	return error_set(err, -EBADMSG, "%s is damaged: %s", reader->what,
			 text ? text : "not a tar archive");
}

static int open_raw(struct layer_reader *reader, struct error *err)
{
	struct archive_entry *entry;
	struct archive *raw = archive_read_new();

	reader->raw = raw;
	if (!raw)
		return error_set(err, -ENOMEM, "out of memory");
	archive_read_support_filter_gzip(raw);
	archive_read_support_filter_zstd(raw);
	archive_read_support_format_raw(raw);
	archive_read_support_format_empty(raw);
	if (archive_read_open(raw, reader, NULL, read_packed, NULL) != ARCHIVE_OK)
		return fail(reader, raw, err);
	/* libarchive would undo any number of compressions; what is between them counts for
	 * nothing, and a few bytes can make it endless. One, and the reader of plain bytes. */
	if (archive_filter_count(raw) > 2)
		return error_set(err, -EBADMSG, "%s is damaged: it is compressed more than once",
				 reader->what);
	/* ARCHIVE_EOF: no bytes at all; the tar reader then finds none either. */
	if (archive_read_next_header(raw, &entry) < ARCHIVE_WARN)
		return fail(reader, raw, err);
	return 0;
}

static int open_tar(struct layer_reader *reader, struct error *err)
{
	struct archive *tar = archive_read_new();

	reader->tar = tar;
	reader->hash = digest_begin();
	if (!tar || !reader->hash)
		return error_set(err, -ENOMEM, "out of memory");
	reader->header_end = UINT64_MAX;
	archive_read_support_format_tar(tar);
	archive_read_support_format_empty(tar);
	if (archive_read_open(tar, reader, NULL, read_plain, NULL) != ARCHIVE_OK)
		return fail(reader, tar, err);
	return 0;
}

int layer_reader_open(struct layer_reader **out, layer_read_fn read, void *context,
		      uint64_t *budget, const char *what, struct error *err)
{
	_cleanup_(layer_reader_closep) struct layer_reader *reader = calloc(1, sizeof(*reader));
	int r;

	if (!reader)
		return error_set(err, -ENOMEM, "out of memory");
	reader->read = read;
	reader->context = context;
	reader->budget = budget;
	reader->what = what;
	r = open_raw(reader, err);
	if (r == 0)
		r = open_tar(reader, err);
	if (r < 0)
		return r;
	*out = steal_ptr(&reader);
	return 0;
}

int layer_reader_open_fd(struct layer_reader **out, int fd, uint64_t *budget, const char *what,
			 struct error *err)
{
	_cleanup_(freep) struct file_source *file = calloc(1, sizeof(*file));
	int r;

	if (!file)
		return error_set(err, -ENOMEM, "out of memory");
	file->fd = fd;
	r = layer_reader_open(out, read_file, file, budget, what, err);
	if (r == 0)
		(*out)->file = steal_ptr(&file);
	return r;
}

/* Where in the stream the content of an entry ends whose header was just read. */
static uint64_t end_of_content(struct archive *tar, struct archive_entry *entry)
{
	la_int64_t start = archive_filter_bytes(tar, 0), size = archive_entry_size(entry);
	uint64_t end;

	if (start < 0 || size < 0 || __builtin_add_overflow((uint64_t)start, (uint64_t)size, &end))
		return UINT64_MAX;
	return end;
}

/* Reads the headers of the next entry behind the content of the present one, which may have any
 * length. */
static int next_header(struct layer_reader *reader, struct archive_entry **entry)
{
	int r = reader->in_entry ? archive_read_data_skip(reader->tar) : ARCHIVE_OK;

	if (r != ARCHIVE_OK)
		return r == ARCHIVE_EOF ? ARCHIVE_FATAL : r;
	reader->header_end = reader->plain_bytes + HEADER_MAX;
	r = archive_read_next_header(reader->tar, entry);
	reader->header_end = UINT64_MAX;
	reader->in_entry = true;
	return r;
}

int layer_reader_next(struct layer_reader *reader, struct archive_entry **entry, struct error *err)
{
	int r = next_header(reader, entry);

	/* libarchive takes a stream that cannot be read behind the last entry for one that ends. */
	if (r == ARCHIVE_EOF)
		return reader->failure ? fail(reader, reader->tar, err) : 0;
	/* A name that cannot be converted is there as bytes; of an extended header that libarchive
	 * does not understand another reader may make another entry. */
	if (r != ARCHIVE_OK && (r != ARCHIVE_WARN || archive_errno(reader->tar) != EILSEQ))
		return fail(reader, reader->tar, err);
	reader->content_end = end_of_content(reader->tar, *entry);
	return 1;
}

ssize_t layer_reader_data(struct layer_reader *reader, void *buf, size_t len, struct error *err)
{
	la_ssize_t n = archive_read_data(reader->tar, buf, len);

	return n < 0 ? fail(reader, reader->tar, err) : n;
}

int layer_reader_finish(struct layer_reader *reader, struct digest *diff_id, struct error *err)
{
	ssize_t n;

	while ((n = next_plain(reader)) > 0)
		;
	if (n < 0) {
		reader->failure = (int)n;
		return fail(reader, reader->raw, err);
	}
	digest_end(steal_ptr(&reader->hash), diff_id);
	return 0;
}

void layer_reader_close(struct layer_reader *reader)
{
	if (!reader)
		return;
	archive_read_free(reader->tar);
	archive_read_free(reader->raw);
	digest_drop(reader->hash);
	free(reader->file);
	free(reader);
}
