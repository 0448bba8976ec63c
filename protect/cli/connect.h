// SPDX-License-Identifier: Apache-2.0
/*
 * The connection to protect-daemon: a session over the unix socket PROTECT_SOCKET, by default
 * /run/protect/daemon.sock, driven by poll(2). Main thread only. The daemon's texts are shown,
 * never interpreted.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "idm-vsock/pump.h"
#include "idm-vsock/session.h"
#include "proto/control.pb-c.h"

#define CONNECTION_DEFAULT_SOCKET "/run/protect/daemon.sock"
#define CONNECTION_POLLS_MAX	  65
#define METHOD(name)		  PROTECT__CONTROL__METHOD__METHOD_##name

struct connection {
	int fd;
	struct idm *idm;
	struct idm_pump pump;
	bool lost;
	uint64_t call_id; /* whose progress is shown */
	bool layer_lines; /* of a pull, where there is no terminal */
	/* The first parts of a long answer; the rest of it is what comes next. */
	uint8_t *parts;
	size_t parts_len;
	/* Takes the progress instead of its being shown; or NULL. */
	void (*progress)(const Protect__Control__Progress *progress);
};

/* The answer to a call; zero-initialise. */
struct reply {
	struct connection *connection;
	bool done;
	int error; /* 0 or a negative errno */
	char text[512];
	uint8_t *payload;
	size_t len;
};

/* Where the daemon is looked for. */
const char *connection_path(void);

/* Connects. Returns NULL having said why not. */
struct connection *connection_new(void);
struct connection *connection_free(struct connection *connection); /* always NULL */
static inline void connection_freep(struct connection **connection)
{
	*connection = connection_free(*connection);
}

/* Frees what a reply holds. */
void reply_deinit(struct reply *reply);

/* Starts a call; *reply must live until it is done or the connection is freed. Returns 0 or a
 * negative errno, having said so. */
int connection_start(struct connection *connection, uint32_t method,
		     const ProtobufCMessage *message, struct reply *reply, uint64_t *id);

/*
 * Waits for the daemon or for one of the caller's n descriptors (their revents are set), at most
 * timeout_ms (-1 = for ever), and moves the session's bytes. Returns 0, or a negative errno when
 * the connection is lost (every call is then done, with an error).
 */
int connection_turn(struct connection *connection, struct pollfd *polls, unsigned n,
		    int timeout_ms);

/* Turns until the reply is there. Returns its error. */
int connection_wait(struct connection *connection, struct reply *reply);

/*
 * One call, its answer as a message of *type. Returns it, to be freed with
 * protobuf_c_message_free_unpacked(); NULL having said what is wrong.
 */
ProtobufCMessage *connection_call(struct connection *connection, uint32_t method,
				  const ProtobufCMessage *message,
				  const ProtobufCMessageDescriptor *type);

/* The same with descriptors (borrowed), which nothing that was asked before may be waiting for. */
ProtobufCMessage *connection_call_fds(struct connection *connection, uint32_t method,
				      const ProtobufCMessage *message, const int *fds,
				      unsigned n_fds, const ProtobufCMessageDescriptor *type);

/* As connection_call() on a connection of its own. */
ProtobufCMessage *connection_ask(uint32_t method, const ProtobufCMessage *message,
				 const ProtobufCMessageDescriptor *type);

/* The message in a reply without an error, or NULL having said so. */
ProtobufCMessage *reply_unpack(const struct reply *reply, const ProtobufCMessageDescriptor *type);

/* Prints the reply's error. */
void reply_print_error(const struct reply *reply);

/* Asks without caring for the answer. */
void connection_send(struct connection *connection, uint32_t method,
		     const ProtobufCMessage *message);

static inline void message_freep(void *p)
{
	ProtobufCMessage *message = *(ProtobufCMessage **)p;

	if (message)
		protobuf_c_message_free_unpacked(message, NULL);
}
