// SPDX-License-Identifier: Apache-2.0
#include "vmm/unpack.h"

#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/util.h"

#define CHUNK		    (256u * 1024)
#define LZ4_BLOCK	    (8u * 1024 * 1024)
#define LZ4_LEGACY_MAGIC    0x184c2102u
#define XZ_MEMORY_MAX	    (128u * 1024 * 1024)
#define ZSTD_WINDOW_LOG_MAX 27

static int damaged(struct error *err, const char *format)
{
	return error_set(err, -ENOEXEC, "the kernel's %s payload is damaged or cut short", format);
}

/* Up to max bytes of the source; 0 at its end. */
static ssize_t source_read(struct unpack_source *source, void *buf, size_t max)
{
	size_t want = source->left < max ? source->left : max;
	ssize_t n = io_pread_full(source->fd, buf, want, source->off);

	if (n > 0) {
		source->off += (uint64_t)n;
		source->left -= (uint64_t)n;
	}
	return n;
}

/* Large buffers come from mmap, so that they are gone from the process afterwards. */
struct buffer {
	void *data;
	size_t len;
};

static int buffer_init(struct buffer *buffer, size_t len)
{
	void *data = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (data == MAP_FAILED)
		return -ENOMEM;
	*buffer = (struct buffer){.data = data, .len = len};
	return 0;
}

static void buffer_deinit(struct buffer *buffer)
{
	if (buffer->data)
		munmap(buffer->data, buffer->len);
}

static int unpack_lz4(struct unpack_source *source, unpack_sink *sink, void *user,
		      struct error *err)
{
	_cleanup_(buffer_deinit) struct buffer in = {0}, out = {0};
	uint32_t size;
	int r = buffer_init(&in, LZ4_COMPRESSBOUND(LZ4_BLOCK));

	if (r == 0)
		r = buffer_init(&out, LZ4_BLOCK);
	while (r == 0) {
		int len;

		if (source_read(source, &size, sizeof(size)) != (ssize_t)sizeof(size))
			return 0;
		if (size == LZ4_LEGACY_MAGIC)
			continue;
		/* What follows the last block is the kernel's own trailer: its unpacked size. */
		if (source->left < size)
			return source->left == 0 ? 0 : damaged(err, "lz4");
		if (size > in.len || source_read(source, in.data, size) != (ssize_t)size)
			return damaged(err, "lz4");
		len = LZ4_decompress_safe(in.data, out.data, (int)size, (int)out.len);
		if (len < 0)
			return damaged(err, "lz4");
		r = sink(user, out.data, (size_t)len);
	}
	return r < 0 ? r : 0;
}

/* What the three stream libraries have in common: step() turns input into output; 1 = the stream's
 * end. */
struct stream {
	const uint8_t *in;
	size_t in_len;
	uint8_t *out;
	size_t out_len;
	int (*step)(struct stream *s);
	void *state;
};

static int run_stream(struct stream *s, struct unpack_source *source, unpack_sink *sink, void *user,
		      const char *name, struct error *err)
{
	_cleanup_(buffer_deinit) struct buffer in = {0}, out = {0};
	int r = buffer_init(&in, CHUNK), ended = 0;

	if (r == 0)
		r = buffer_init(&out, 4 * CHUNK);
	while (r == 0 && !ended) {
		size_t before = s->in_len;

		if (s->in_len == 0) {
			ssize_t n = source_read(source, in.data, in.len);

			if (n <= 0)
				return damaged(err, name);
			s->in = in.data;
			before = s->in_len = (size_t)n;
		}
		s->out = out.data;
		s->out_len = out.len;
		ended = s->step(s);
		if (ended < 0 || (s->in_len == before && s->out_len == out.len && !ended))
			return damaged(err, name);
		if (s->out_len < out.len)
			r = sink(user, out.data, out.len - s->out_len);
	}
	return r < 0 ? r : 0;
}

static int step_gzip(struct stream *s)
{
	z_stream *z = s->state;
	int r;

	z->next_in = (Bytef *)(uintptr_t)s->in;
	z->avail_in = (uInt)s->in_len;
	z->next_out = s->out;
	z->avail_out = (uInt)s->out_len;
	r = inflate(z, Z_NO_FLUSH);
	s->in = z->next_in;
	s->in_len = z->avail_in;
	s->out_len = z->avail_out;
	return r == Z_STREAM_END ? 1 : r == Z_OK || r == Z_BUF_ERROR ? 0 : -1;
}

static int unpack_gzip(struct unpack_source *source, unpack_sink *sink, void *user,
		       struct error *err)
{
	z_stream z = {0};
	struct stream s = {.step = step_gzip, .state = &z};
	int r;

	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return -ENOMEM;
	r = run_stream(&s, source, sink, user, "gzip", err);
	inflateEnd(&z);
	return r;
}

static int step_xz(struct stream *s)
{
	lzma_stream *z = s->state;
	lzma_ret r;

	z->next_in = s->in;
	z->avail_in = s->in_len;
	z->next_out = s->out;
	z->avail_out = s->out_len;
	r = lzma_code(z, LZMA_RUN);
	s->in = z->next_in;
	s->in_len = z->avail_in;
	s->out_len = z->avail_out;
	return r == LZMA_STREAM_END ? 1 : r == LZMA_OK || r == LZMA_BUF_ERROR ? 0 : -1;
}

static int unpack_xz(struct unpack_source *source, unpack_sink *sink, void *user, struct error *err)
{
	lzma_stream z = LZMA_STREAM_INIT;
	struct stream s = {.step = step_xz, .state = &z};
	int r;

	if (lzma_stream_decoder(&z, XZ_MEMORY_MAX, 0) != LZMA_OK)
		return -ENOMEM;
	r = run_stream(&s, source, sink, user, "xz", err);
	lzma_end(&z);
	return r;
}

static int step_zstd(struct stream *s)
{
	ZSTD_inBuffer in = {.src = s->in, .size = s->in_len};
	ZSTD_outBuffer out = {.dst = s->out, .size = s->out_len};
	size_t r = ZSTD_decompressStream(s->state, &out, &in);

	if (ZSTD_isError(r))
		return -1;
	s->in += in.pos;
	s->in_len -= in.pos;
	s->out_len -= out.pos;
	return r == 0;
}

static int unpack_zstd(struct unpack_source *source, unpack_sink *sink, void *user,
		       struct error *err)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	struct stream s = {.step = step_zstd, .state = z};
	int r;

	if (!z)
		return -ENOMEM;
	ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
	r = run_stream(&s, source, sink, user, "zstd", err);
	ZSTD_freeDStream(z);
	return r;
}

static const struct {
	const char *magic;
	size_t len;
	int (*run)(struct unpack_source *, unpack_sink *, void *, struct error *);
} formats[] = {
	{"\x02\x21\x4c\x18", 4, unpack_lz4},
	{"\x28\xb5\x2f\xfd", 4, unpack_zstd},
	{"\xfd"
	 "7zXZ",
	 6, unpack_xz},
	{"\x1f\x8b", 2, unpack_gzip},
};

int unpack(struct unpack_source *source, unpack_sink *sink, void *user, struct error *err)
{
	uint8_t magic[8] = {0};
	struct unpack_source peek = *source;

	if (source_read(&peek, magic, sizeof(magic)) != (ssize_t)sizeof(magic))
		return damaged(err, "packed");
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		if (memcmp(magic, formats[i].magic, formats[i].len) == 0)
			return formats[i].run(source, sink, user, err);
	return error_set(err, -ENOEXEC,
			 "the kernel's payload is packed in an unknown way (lz4, zstd, xz and gzip "
			 "are known)");
}
