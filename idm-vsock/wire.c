// SPDX-License-Identifier: Apache-2.0
#include "idm-vsock/wire.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct reader {
	const uint8_t *at, *end;
};

struct field {
	uint64_t number;
	enum wire_type type;
	uint64_t value; /* of a varint */
	const uint8_t *bytes;
	size_t len;
};

static struct reader reader_of(const void *buf, size_t len)
{
	return (struct reader){buf, len ? (const uint8_t *)buf + len : buf};
}

static bool read_varint(struct reader *reader, uint64_t *out)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
		uint8_t byte = *reader->at++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*out = value;
			return true;
		}
	}
	return false;
}

static bool read_bytes(struct reader *reader, uint64_t len, struct field *field)
{
	if (len > (uint64_t)(reader->end - reader->at))
		return false;
	field->bytes = reader->at;
	field->len = (size_t)len;
	reader->at += len;
	return true;
}

/* 1 = a field, 0 = the end, -EBADMSG */
static int read_field(struct reader *reader, struct field *field)
{
	uint64_t tag, len;
	bool good = false;

	if (reader->at == reader->end)
		return 0;
	if (!read_varint(reader, &tag) || tag >> 3 == 0)
		return -EBADMSG;
	*field = (struct field){.number = tag >> 3, .type = (enum wire_type)(tag & 7)};
	switch (field->type) {
	case WIRE_VARINT:
		good = read_varint(reader, &field->value);
		break;
	case WIRE_FIXED64:
		good = read_bytes(reader, 8, field);
		break;
	case WIRE_BYTES:
		good = read_varint(reader, &len) && read_bytes(reader, len, field);
		break;
	case WIRE_FIXED32:
		good = read_bytes(reader, 4, field);
		break;
	}
	return good ? 1 : -EBADMSG;
}

int wire_packet_decode(const void *buf, size_t len, struct wire_packet *out)
{
	struct reader reader = reader_of(buf, len);
	struct field field;
	int r;

	*out = (struct wire_packet){0};
	while ((r = read_field(&reader, &field)) > 0) {
		if (field.number == 1 && field.type == WIRE_VARINT)
			out->id = field.value;
		else if (field.number == 2 && field.type == WIRE_VARINT)
			out->channel = field.value;
		else if (field.number == 3 && field.type == WIRE_VARINT)
			out->form = (uint32_t)field.value;
		else if (field.number == 4 && field.type == WIRE_BYTES)
			out->data = field.bytes, out->len = field.len;
		else if (field.number <= 4)
			return -EBADMSG;
	}
	return r;
}

int wire_reply_decode(const void *buf, size_t len, struct wire_reply *out)
{
	struct reader reader = reader_of(buf, len);
	struct field field;
	int r;

	*out = (struct wire_reply){0};
	while ((r = read_field(&reader, &field)) > 0) {
		if (field.number == 1 && field.type == WIRE_VARINT)
			out->error = (uint32_t)field.value;
		else if (field.number == 2 && field.type == WIRE_BYTES)
			out->text = field.bytes, out->text_len = field.len;
		else if (field.number == 3 && field.type == WIRE_BYTES)
			out->payload = field.bytes, out->len = field.len;
		else if (field.number <= 3)
			return -EBADMSG;
	}
	return r;
}

static uint8_t *write_varint(uint8_t *out, uint64_t value)
{
	while (value >= 0x80) {
		*out++ = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	*out++ = (uint8_t)value;
	return out;
}

/* Numbers that are 0 are left out, as proto3 says. */
static uint8_t *write_number(uint8_t *out, unsigned number, uint64_t value)
{
	if (!value)
		return out;
	*out++ = (uint8_t)(number << 3 | WIRE_VARINT);
	return write_varint(out, value);
}

static uint8_t *write_bytes_head(uint8_t *out, unsigned number, size_t len)
{
	if (!len)
		return out;
	*out++ = (uint8_t)(number << 3 | WIRE_BYTES);
	return write_varint(out, len);
}

static uint8_t *write_bytes(uint8_t *out, unsigned number, const void *bytes, size_t len)
{
	out = write_bytes_head(out, number, len);
	if (!len)
		return out;
	memcpy(out, bytes, len);
	return out + len;
}

size_t wire_packet_head(const struct wire_packet *packet, uint8_t *out)
{
	uint8_t *at = out;

	at = write_number(at, 1, packet->id);
	at = write_number(at, 2, packet->channel);
	at = write_number(at, 3, packet->form);
	at = write_bytes_head(at, 4, packet->len);
	return (size_t)(at - out);
}

size_t wire_reply_encode(const struct wire_reply *reply, uint8_t *out)
{
	uint8_t *at = out;

	at = write_number(at, 1, reply->error);
	at = write_bytes(at, 2, reply->text, reply->text_len);
	at = write_bytes(at, 3, reply->payload, reply->len);
	return (size_t)(at - out);
}
