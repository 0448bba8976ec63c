// SPDX-License-Identifier: Apache-2.0
/*
 * The zone's connection to its host where the zone is a Xen domain: a vchan (idm-vsock/vchan.h)
 * that the zone serves, and a pump between it and the socket that the agent's session reads. Each
 * session has a vchan of its own; the zone's runner is the client.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "idm-vsock/vchan.h"
#include "zone-guest/reactor.h"
#include "zone-guest/xen.h"

#define VCHAN_LINK_CHUNK 16384u

struct vchan_link_bytes {
	uint32_t start, end;
	uint8_t data[VCHAN_LINK_CHUNK];
};

struct vchan_link {
	struct reactor *reactor; /* borrowed */
	struct xen_share share;
	struct vchan vchan;
	struct reactor_watch events, socket; /* socket.fd is ours, its other end the agent's */
	void (*met)(void *user, int fd);
	void (*lost)(void *user);
	void *user;
	struct vchan_link_bytes to_host, from_host;
};

/*
 * Serves a vchan and publishes it. met(user, fd) follows once, when the host connects; fd is a
 * connected stream socket, taken over. lost(user) follows once when the host goes, before or after
 * that; then nothing is left of it. Returns 0 or a negative errno, and then neither follows.
 */
int vchan_link_serve(struct vchan_link *link, struct reactor *reactor,
		     void (*met)(void *user, int fd), void (*lost)(void *user), void *user);

/* Ends it; lost() does not follow. Twice does no harm. */
void vchan_link_end(struct vchan_link *link);
