// SPDX-License-Identifier: Apache-2.0
/*
 * ttrpc frames (containerd/ttrpc, PROTOCOL.md): u32 length, u32 stream, both big-endian, u8 type,
 * u8 flags, then the message. Bytes in, bytes out; no descriptor. The peer is not trusted: what one
 * end holds is bounded, and a frame that cannot be is the end of the connection.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#define TTRPC_HEADER_SIZE 10u
#define TTRPC_MESSAGE_MAX (4u * 1024 * 1024)
#define TTRPC_OUT_MAX	  (16u * 1024 * 1024) /* that a peer leaves unread */
#define TTRPC_INPUT_STEP  (64u * 1024)

enum ttrpc_type { TTRPC_REQUEST = 1, TTRPC_RESPONSE = 2, TTRPC_DATA = 3 };

/* Codes of google.rpc.Code that containerd tells apart. */
enum ttrpc_code {
	TTRPC_OK = 0,
	TTRPC_UNKNOWN = 2,
	TTRPC_INVALID = 3,
	TTRPC_DEADLINE = 4,
	TTRPC_NOT_FOUND = 5,
	TTRPC_EXISTS = 6,
	TTRPC_EXHAUSTED = 8,
	TTRPC_PRECONDITION = 9,
	TTRPC_UNIMPLEMENTED = 12,
	TTRPC_UNAVAILABLE = 14,
};

/* One message, borrowed from the buffer it is in. */
struct ttrpc_frame {
	uint32_t stream;
	uint8_t type, flags;
	const uint8_t *message;
	size_t len;
};

/* Bytes on the way in one direction; zero-initialise. */
struct ttrpc_buffer {
	uint8_t *data;
	size_t start, end, size;
};

void ttrpc_buffer_deinit(struct ttrpc_buffer *buffer);

/* Room for len more bytes at data + end. Returns 0 or -ENOMEM. */
int ttrpc_buffer_reserve(struct ttrpc_buffer *buffer, size_t len);

/*
 * The next whole frame in the buffer. Returns 1 with *frame, valid until the buffer is next
 * touched; 0 if there is none yet; -EMSGSIZE for one that is too long.
 */
int ttrpc_next(struct ttrpc_buffer *buffer, struct ttrpc_frame *frame);

/* Appends a frame with the message packed. Returns 0, -EMSGSIZE, -ENOBUFS (the peer reads nothing)
 * or -ENOMEM. */
int ttrpc_append(struct ttrpc_buffer *buffer, uint32_t stream, enum ttrpc_type type,
		 const ProtobufCMessage *message);

/* The code for a negative errno. */
enum ttrpc_code ttrpc_code_of(int error);
