// SPDX-License-Identifier: Apache-2.0
/*
 * An IDM session on a unix socket, kept going by the hub: to a client of the control socket or,
 * through a runner, to a zone. Whoever writes to the session need not care for sending. The peer is
 * not trusted; the session bounds it.
 *
 * However it ends, closed() runs exactly once, from the sweep, after all calls and streams of the
 * session have been ended; the link is gone after it. Its owner must live until then.
 */
#pragma once

#include "idm-vsock/session.h"
#include "supervisor/daemon/hub.h"

/* error: why it ended, a negative errno; 0 after link_close(). */
typedef void link_closed_fn(void *user, int error);

/*
 * Takes fd over (in case of an error too). handler is borrowed and gets user as well. Returns 0 or
 * a negative errno, and then closed does not run.
 */
int link_new(struct hub *hub, int fd, enum idm_role role, const struct idm_handler *handler,
	     link_closed_fn *closed, void *user, struct link **out);

/* The session, alive until closed() returns. */
struct idm *link_idm(const struct link *link);

/* From now on its peer may send descriptors with its bytes. */
void link_accept_fds(struct link *link);

/* Hands over those that came so far, at most max; further ones are closed. Returns how many. */
unsigned link_take_fds(struct link *link, int *fds, unsigned max);

/* Ends the connection at the next sweep. */
void link_close(struct link *link);

/* The hub's part: sends, waits for more, takes down what has ended. */
void links_sweep(struct hub *hub);
