// SPDX-License-Identifier: Apache-2.0
#include "base/uuid.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static const char hex[] = "0123456789abcdef";

static bool dash_before_byte(unsigned byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

/* #syscalls uuid: getrandom(_, _, 0) */
int uuid_generate(struct uuid *out)
{
	if (getrandom(out->bytes, sizeof(out->bytes), 0) != (ssize_t)sizeof(out->bytes))
		return -errno;
	out->bytes[6] = (uint8_t)((out->bytes[6] & 0x0f) | 0x40);
	out->bytes[8] = (uint8_t)((out->bytes[8] & 0x3f) | 0x80);
	return 0;
}

void uuid_format(const struct uuid *uuid, char text[UUID_TEXT_SIZE])
{
	char *to = text;

	for (unsigned i = 0; i < sizeof(uuid->bytes); i++) {
		if (dash_before_byte(i))
			*to++ = '-';
		*to++ = hex[uuid->bytes[i] >> 4];
		*to++ = hex[uuid->bytes[i] & 15];
	}
	*to = '\0';
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int uuid_parse(const char *text, struct uuid *out)
{
	struct uuid parsed;

	if (strlen(text) != UUID_TEXT_SIZE - 1)
		return -EINVAL;
	for (unsigned i = 0; i < sizeof(parsed.bytes); i++) {
		int high, low;

		if (dash_before_byte(i) && *text++ != '-')
			return -EINVAL;
		high = nibble(*text++);
		low = nibble(*text++);
		if (high < 0 || low < 0)
			return -EINVAL;
		parsed.bytes[i] = (uint8_t)(high << 4 | low);
	}
	*out = parsed;
	return 0;
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}
