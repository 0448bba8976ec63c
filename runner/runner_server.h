// SPDX-License-Identifier: Apache-2.0
/*
 * The runner's socket (base/runner.h): takes connections, reads what kind they are, and hands them
 * on: IDM and vsock to the zone, console to the hub; control requests (proto/runner.proto) come
 * whole and one at a time a connection. Who may connect is decided by who made the socket; still
 * nothing a client sends is trusted. Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/runner.h"
#include "proto/runner.pb-c.h"

#define RUNNER_CLIENTS_MAX 16
#define RUNNER_FDS_MAX	   8 /* that one request brings */

struct console_hub;
struct runner_server;

/* Runs exactly once for each request. The reply is borrowed for the call. */
typedef void control_reply_fn(void *user, const Protect__Runner__Reply *reply);

/* What the zone behind the socket does with what comes. Descriptors of connections are its own
 * from the call on, those of a request borrowed for it. */
struct runner_host {
	struct loop *loop;
	struct console_hub *console;
	void (*idm)(void *user, int fd);
	void (*connect)(void *user, uint32_t port, int fd); /* RUNNER_VSOCK */
	void (*serve)(void *user, uint32_t port, int fd);   /* RUNNER_SERVE */
	void (*control)(void *user, const void *data, size_t len, const int *fds, unsigned n_fds,
			control_reply_fn *reply, void *reply_user);
	void *user;
};

enum runner_client_state { CLIENT_FREE, CLIENT_HELLO, CLIENT_CONTROL, CLIENT_CLOSING };

struct runner_client {
	struct runner_server *server;
	enum runner_client_state state;
	int fd, slot;
	bool waiting; /* op is under way */
	bool timing;  /* timer is under way */
	bool busy;    /* a request is under way: no further one until it is answered */
	struct loop_op op;
	struct loop_timer timer;
	uint64_t heard_ns;		 /* when it connected or sent something last */
	struct runner_vsock_hello hello; /* of other kinds without the port */
	uint32_t received;		 /* of the hello, then of the frame */
	unsigned n_fds;
	int fds[RUNNER_FDS_MAX]; /* came with the request */
	uint8_t *frame;
};

struct runner_server {
	struct runner_host host;
	int listen_fd, listen_slot;
	struct loop_timer accept_timer; /* its op is also the poll for the next connection */
	struct runner_client clients[RUNNER_CLIENTS_MAX];
};

/* Serves a listening socket (owned from here on, also on failure). What *host names is borrowed.
 * Returns 0 or a negative errno. */
int runner_server_init(struct runner_server *server, const struct runner_host *host, int listen_fd);

/* Drops every client; they are gone when runner_server_is_closed(). Nobody is accepted any more. */
void runner_server_close(struct runner_server *server);
bool runner_server_is_closed(const struct runner_server *server);
