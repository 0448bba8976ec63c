// SPDX-License-Identifier: Apache-2.0
/*
 * A ttrpc server on a unix socket. Requests are answered in any order and at any time, so one that
 * waits (Wait) holds up no other. Who may connect is the socket's matter: containerd, which is
 * root. Bounded: SERVER_CONNECTIONS_MAX connections, SERVER_PENDING_MAX unanswered requests each,
 * one message of input, TTRPC_OUT_MAX of output.
 */
#pragma once

#include "protect/shim/poller.h"
#include "protect/shim/proto/ttrpc.pb-c.h"
#include "protect/shim/ttrpc.h"

#define SERVER_CONNECTIONS_MAX 64u
#define SERVER_PENDING_MAX     1024u

struct server_connection;

/* Who is owed an answer; a connection that has ended meanwhile is nobody. */
struct ticket {
	uint64_t connection;
	uint32_t stream;
};

struct server {
	struct poller *poller;
	struct source listener;
	struct server_connection *connections;
	unsigned n_connections;
	uint64_t last_id;
	/* A request: to be answered with server_reply() or server_fail(), once. Borrowed. */
	void (*request)(void *user, struct ticket ticket, const Protect__Ttrpc__Request *request);
	void *user;
};

/* Serves a listening socket (borrowed). Returns 0 or a negative errno. */
int server_init(struct server *server, struct poller *poller, int listener,
		void (*request)(void *user, struct ticket ticket,
				const Protect__Ttrpc__Request *request),
		void *user);
void server_deinit(struct server *server);

/* Takes a connected socket over, as if it had been accepted. Returns 0 or a negative errno. */
int server_add(struct server *server, int fd);

/* Answers. */
void server_reply(struct server *server, struct ticket ticket, const ProtobufCMessage *message);
void server_fail(struct server *server, struct ticket ticket, enum ttrpc_code code,
		 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Sends what can be sent; drops what has ended. To be called after each turn. */
void server_settle(struct server *server);
