// SPDX-License-Identifier: Apache-2.0
/*
 * Moves a session's bytes over a non-blocking stream descriptor (unix socket, vsock). It waits for
 * nothing: its owner polls the descriptor, with whatever it has (the loop, epoll, poll), for
 * idm_pump_events() and then calls idm_pump_run().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "idm-vsock/session.h"

#define IDM_PUMP_BUFFER (64u * 1024)
#define IDM_PUMP_FDS	8

struct idm_pump {
	int fd;		 /* owned by the caller */
	struct idm *idm; /* borrowed */
	uint32_t out_start, out_end;
	bool takes_fds; /* descriptors come with the peer's bytes; at first it takes none */
	unsigned n_fds; /* that came and that nobody took yet: the owner closes them */
	int fds[IDM_PUMP_FDS];
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

/*
 * The same, and sends descriptors (borrowed, at most IDM_PUMP_FDS) with the first of what is to be
 * sent, which must be there: over a unix socket whose peer takes them.
 */
int idm_pump_flush_fds(struct idm_pump *pump, const int *fds, unsigned n_fds);

/* Connects a vsock (AF_VSOCK, SOCK_STREAM). Returns the descriptor or a negative errno. */
int idm_vsock_connect(uint32_t cid, uint32_t port);
