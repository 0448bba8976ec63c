// SPDX-License-Identifier: Apache-2.0
/*
 * The control connection to a zone's runner (base/runner.h, proto/runner.proto): requests in order,
 * each with its reply. The runner is not trusted: a frame that breaks the contract ends the
 * connection, and so do a request without an answer for a minute (but for a lane) and the end of
 * the zone.
 */
#pragma once

#include "proto/runner.pb-c.h"
#include "supervisor/daemon/hub.h"

struct runner_client;

/* error 0 and the reply (borrowed), or a negative errno with text. */
typedef void runner_fn(void *user, int error, const char *text,
		       const Protect__Runner__Reply *reply);

/* The connection ended, with a negative errno; requests under way were told before. The client is
 * not gone: call runner_close(), from in here if you like. */
typedef void runner_gone_fn(void *user, int error);

/* Connects to a runner's socket and says hello. Returns 0 or a negative errno (nobody there:
 * -ENOENT, -ECONNREFUSED). */
int runner_open(struct hub *hub, const char *socket, runner_gone_fn *gone, void *user,
		struct runner_client **out);

/*
 * The same for requests that may take their time, or for ever: one without an answer in timeout_ns
 * is given up alone (-ETIMEDOUT), and those behind it go on over a new connection.
 */
int runner_open_lane(struct hub *hub, const char *socket, uint64_t timeout_ns, runner_gone_fn *gone,
		     void *user, struct runner_client **out);

/* Forgets all requests under way. Not from inside a runner_fn. NULL is allowed. Always returns
 * NULL. */
struct runner_client *runner_close(struct runner_client *client);

/*
 * Queues a request; fd (-1 = none) goes with it and is duplicated. fn may be NULL; it runs once,
 * never from in here, unless it is forgotten before. Returns 0 or a negative errno.
 */
int runner_request(struct runner_client *client, const Protect__Runner__Request *request, int fd,
		   runner_fn *fn, void *user);

/* Replies to requests of this user are dropped from now on. NULL is allowed. */
void runner_forget(struct runner_client *client, const void *user);

/* Connects to a runner's socket for another kind of connection (enum runner_kind). Returns a
 * non-blocking descriptor or a negative errno. */
int runner_connect(const char *socket, uint32_t kind);
