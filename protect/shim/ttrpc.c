// SPDX-License-Identifier: Apache-2.0
#include "protect/shim/ttrpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

struct header {
	uint32_t len, stream; /* big-endian */
	uint8_t type, flags;
} __attribute__((packed));

_Static_assert(sizeof(struct header) == TTRPC_HEADER_SIZE, "as on the wire");

void ttrpc_buffer_deinit(struct ttrpc_buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct ttrpc_buffer){0};
}

int ttrpc_buffer_reserve(struct ttrpc_buffer *buffer, size_t len)
{
	size_t used = buffer->end - buffer->start, size = buffer->size;
	uint8_t *data;

	if (buffer->size - buffer->end >= len)
		return 0;
	if (used && buffer->start)
		memmove(buffer->data, buffer->data + buffer->start, used);
	buffer->start = 0;
	buffer->end = used;
	while (size - used < len)
		size = size ? 2 * size : TTRPC_INPUT_STEP;
	if (size == buffer->size)
		return 0;
	data = realloc(buffer->data, size);
	if (!data)
		return -ENOMEM;
	buffer->data = data;
	buffer->size = size;
	return 0;
}

int ttrpc_next(struct ttrpc_buffer *buffer, struct ttrpc_frame *frame)
{
	size_t used = buffer->end - buffer->start;
	struct header header;
	uint32_t len;

	if (used < sizeof(header))
		return 0;
	memcpy(&header, buffer->data + buffer->start, sizeof(header));
	len = ntohl(header.len);
	if (len > TTRPC_MESSAGE_MAX)
		return -EMSGSIZE;
	if (used - sizeof(header) < len)
		return 0;
	*frame = (struct ttrpc_frame){
		.stream = ntohl(header.stream),
		.type = header.type,
		.flags = header.flags,
		.message = buffer->data + buffer->start + sizeof(header),
		.len = len,
	};
	buffer->start += sizeof(header) + len;
	return 1;
}

int ttrpc_append(struct ttrpc_buffer *buffer, uint32_t stream, enum ttrpc_type type,
		 const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	struct header header = {.stream = htonl(stream), .type = (uint8_t)type};
	int r;

	if (len > TTRPC_MESSAGE_MAX)
		return -EMSGSIZE;
	if (buffer->end - buffer->start + len > TTRPC_OUT_MAX)
		return -ENOBUFS;
	r = ttrpc_buffer_reserve(buffer, sizeof(header) + len);
	if (r < 0)
		return r;
	header.len = htonl((uint32_t)len);
	memcpy(buffer->data + buffer->end, &header, sizeof(header));
	protobuf_c_message_pack(message, buffer->data + buffer->end + sizeof(header));
	buffer->end += sizeof(header) + len;
	return 0;
}

enum ttrpc_code ttrpc_code_of(int error)
{
	switch (-error) {
	case 0:
		return TTRPC_OK;
	case EINVAL:
	case ENAMETOOLONG:
	case E2BIG:
		return TTRPC_INVALID;
	case ETIMEDOUT:
		return TTRPC_DEADLINE;
	case ENOENT:
	case ESRCH:
		return TTRPC_NOT_FOUND;
	case EEXIST:
		return TTRPC_EXISTS;
	case ENOMEM:
	case ENOSPC:
		return TTRPC_EXHAUSTED;
	case EBUSY:
	case ESHUTDOWN:
		return TTRPC_PRECONDITION;
	case ENOTSUP:
	case ENOSYS:
		return TTRPC_UNIMPLEMENTED;
	case ECONNRESET:
	case ECONNREFUSED:
	case EAGAIN:
		return TTRPC_UNAVAILABLE;
	default:
		return TTRPC_UNKNOWN;
	}
}
