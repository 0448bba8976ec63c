// SPDX-License-Identifier: Apache-2.0
/*
 * Moves a session's bytes over a non-blocking stream descriptor (unix socket, vsock). It waits for
 * nothing: its owner polls the descriptor, with whatever it has (the loop, epoll, poll), for
 * idm_pump_events() and then calls idm_pump_run().
 */
#pragma once

#include <stdint.h>

#include "idm-vsock/session.h"

#define IDM_PUMP_BUFFER (64u * 1024)

struct idm_pump {
	int fd;		 /* owned by the caller */
	struct idm *idm; /* borrowed */
	uint32_t out_start, out_end;
	uint8_t out[IDM_PUMP_BUFFER];
};

/* Prepares *pump; sets the descriptor non-blocking. Returns 0 or a negative errno. */
int idm_pump_init(struct idm_pump *pump, int fd, struct idm *idm);

/* POLLIN, and POLLOUT while there is something to send. */
short idm_pump_events(const struct idm_pump *pump);

/*
 * Reads and feeds at most 256 KiB, then writes what can be written. Returns 0, -ECONNRESET at the
 * end of the stream, -EBADMSG or another negative errno: the connection is then over.
 */
int idm_pump_run(struct idm_pump *pump, uint64_t now_ns);

/* Only the writing half; for after a call or a reply. Same returns. */
int idm_pump_flush(struct idm_pump *pump);

/* Connects a vsock (AF_VSOCK, SOCK_STREAM). Returns the descriptor or a negative errno. */
int idm_vsock_connect(uint32_t cid, uint32_t port);
