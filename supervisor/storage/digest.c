// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/digest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/cleanup.h"
#include "base/io.h"

#define ALGORITHM  "sha256:"
#define CHUNK_SIZE (64u * 1024)

struct digest_stream {
	EVP_MD_CTX *context;
};

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int digest_parse(const char *text, struct digest *out)
{
	struct digest parsed;

	if (strncmp(text, ALGORITHM, strlen(ALGORITHM)) != 0)
		return strchr(text, ':') ? -ENOTSUP : -EINVAL;
	text += strlen(ALGORITHM);
	if (strnlen(text, DIGEST_SIZE * 2 + 1) != (size_t)DIGEST_SIZE * 2)
		return -EINVAL;
	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		parsed.bytes[i] = (uint8_t)(high << 4 | low);
	}
	*out = parsed;
	return 0;
}

void digest_hex(const struct digest *digest, char hex[DIGEST_HEX_SIZE])
{
	for (size_t i = 0; i < DIGEST_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest->bytes[i]);
}

void digest_text(const struct digest *digest, char text[DIGEST_TEXT_SIZE])
{
	memcpy(text, ALGORITHM, strlen(ALGORITHM));
	digest_hex(digest, text + strlen(ALGORITHM));
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->bytes, b->bytes, DIGEST_SIZE) == 0;
}

struct digest_stream *digest_begin(void)
{
	struct digest_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->context = EVP_MD_CTX_new();
	if (!stream->context || !EVP_DigestInit_ex(stream->context, EVP_sha256(), NULL)) {
		digest_drop(stream);
		return NULL;
	}
	return stream;
}

void digest_add(struct digest_stream *stream, const void *data, size_t len)
{
	/* Hashing in memory has no way to fail once the context exists. */
	if (!EVP_DigestUpdate(stream->context, data, len))
		abort();
}

void digest_end(struct digest_stream *stream, struct digest *out)
{
	if (!EVP_DigestFinal_ex(stream->context, out->bytes, NULL))
		abort();
	digest_drop(stream);
}

void digest_drop(struct digest_stream *stream)
{
	if (!stream)
		return;
	EVP_MD_CTX_free(stream->context);
	free(stream);
}

int digest_of(const void *data, size_t len, struct digest *out)
{
	struct digest_stream *stream = digest_begin();

	if (!stream)
		return -ENOMEM;
	digest_add(stream, data, len);
	digest_end(stream, out);
	return 0;
}

int digest_of_fd(int fd, struct digest *out)
{
	_cleanup_(digest_dropp) struct digest_stream *stream = digest_begin();
	_cleanup_(freep) char *chunk = malloc(CHUNK_SIZE);
	uint64_t offset = 0;
	ssize_t n;

	if (!stream || !chunk)
		return -ENOMEM;
	while ((n = io_pread_full(fd, chunk, CHUNK_SIZE, offset)) > 0) {
		digest_add(stream, chunk, (size_t)n);
		offset += (uint64_t)n;
	}
	if (n < 0)
		return (int)n;
	digest_end(steal_ptr(&stream), out);
	return 0;
}
