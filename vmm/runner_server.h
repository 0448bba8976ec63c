// SPDX-License-Identifier: Apache-2.0
/*
 * The runner's socket (base/runner.h): takes connections, reads what kind they are, and hands them
 * on: IDM and vsock to that device, console to the hub; control requests (proto/runner.proto) are
 * served here, one at a time a connection. Who may connect is decided by who made the socket; still
 * nothing a client sends is trusted. Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/runner.h"

#define RUNNER_CLIENTS_MAX 16
#define RUNNER_FDS_MAX	   8 /* that one request brings */

struct machine;
struct runner_server;

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
	struct machine *machine;
	int listen_fd, listen_slot;
	struct loop_timer accept_timer; /* its op is also the poll for the next connection */
	struct runner_client clients[RUNNER_CLIENTS_MAX];
};

/* Serves a listening socket (owned from here on, also on failure). machine is borrowed. Returns 0
 * or a negative errno. */
int runner_server_init(struct runner_server *server, struct machine *machine, int listen_fd);

/* Drops every client; they are gone when runner_server_is_closed(). Nobody is accepted any more. */
void runner_server_close(struct runner_server *server);
bool runner_server_is_closed(const struct runner_server *server);
