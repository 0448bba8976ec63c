// SPDX-License-Identifier: Apache-2.0
/*
 * Connections of clients to ports of a zone's loopback address, over its IDM session: no network is
 * needed. A request is answered once the zone is connected; its stream then carries the bytes until
 * both ways have ended, or one side is gone.
 */
#pragma once

#include "proto/control.pb-c.h"
#include "supervisor/daemon/daemon.h"

#define FORWARDS_MAX	  512u
#define FORWARDS_ZONE_MAX 64u  /* to one zone, as its agent takes */
#define FORWARDS_USER_MAX 256u /* of one user but root: nor does one of these */

/* The request METHOD_ZONE_FORWARD. Answers the ticket, now or later. */
void forward_start(struct daemon *d, struct ticket ticket,
		   const Protect__Control__Forward *request);

/* Frees all at the daemon's own end. */
void forwards_free(struct daemon *d);
