// SPDX-License-Identifier: Apache-2.0
/* vsock's packets (virtio 1.2 §5.10.6), for guest programs, and the ports that vsock_listen.c
 * listens on, for both its halves. */
#pragma once

#include <stdint.h>

#define VSOCK_CID_GUEST	  3u
#define VSOCK_CID_HOST	  2u
#define VSOCK_TYPE_STREAM 1u

enum {
	VSOCK_REQUEST = 1,
	VSOCK_RESPONSE,
	VSOCK_RST,
	VSOCK_SHUTDOWN,
	VSOCK_RW,
	VSOCK_CREDIT_UPDATE,
	VSOCK_CREDIT_REQUEST
};

enum { VSOCK_RECEIVE = 1, VSOCK_SEND = 2 }; /* flags of SHUTDOWN */

enum {
	VSOCK_PORT_ECHO = 6000,
	VSOCK_PORT_SOURCE,
	VSOCK_PORT_REFUSES,
	VSOCK_PORT_SILENT,
	VSOCK_PORT_WRONG,
	VSOCK_PORT_DONE
};

/* What vsock_served.c connects to, and how many of the host's are there at first. */
#define VSOCK_PORT_SERVED 7000u
#define VSOCK_SERVERS	  3u

struct __attribute__((packed)) vsock_header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
};

static inline struct vsock_header vsock_header(uint32_t guest_port, uint32_t host_port, uint16_t op)
{
	return (struct vsock_header){.src_cid = VSOCK_CID_GUEST,
				     .dst_cid = VSOCK_CID_HOST,
				     .src_port = guest_port,
				     .dst_port = host_port,
				     .type = VSOCK_TYPE_STREAM,
				     .op = op};
}
