// SPDX-License-Identifier: Apache-2.0
/*
 * The shim's connection to protect-daemon: one session for everything of a pod, made anew whenever
 * it was lost, since zones and workloads outlive their daemon. What was under way when it was lost
 * ends with -ECONNRESET; up() is then called once there is a new one.
 */
#pragma once

#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

#include "idm-vsock/pump.h"
#include "idm-vsock/session.h"
#include "protect/shim/poller.h"
#include "proto/control.pb-c.h"

#define LINK_DEFAULT_SOCKET "/run/protect/daemon.sock"
#define METHOD(name)	    PROTECT__CONTROL__METHOD__METHOD_##name

struct link {
	struct poller *poller;
	struct source source;
	struct idm *idm; /* NULL while there is no connection */
	struct idm_pump pump;
	struct alarm retry, deadline;
	uint64_t retry_ns;
	uint8_t *parts; /* the first parts of a long answer (control.proto, ReplyPart) */
	size_t parts_len;
	void (*up)(void *user);
	void *user;
};

/* Connects now, or as soon as that is possible. */
void link_init(struct link *link, struct poller *poller, void (*up)(void *user), void *user);
void link_deinit(struct link *link);

/*
 * Asks. Returns 0, and reply (idm-vsock/session.h) follows, or -ECONNRESET without a connection, or
 * another negative errno. The answer to a method whose answer may be long is got with
 * link_answer().
 */
int link_call(struct link *link, uint32_t method, const ProtobufCMessage *message,
	      idm_reply_fn *reply, void *user, uint64_t *id);

/* As link_call(), and sends descriptors (borrowed) with it. */
int link_call_fds(struct link *link, uint32_t method, const ProtobufCMessage *message,
		  const int *fds, unsigned n_fds, idm_reply_fn *reply, void *user);

/* Asks without caring for the answer. Returns as link_call(). */
int link_tell(struct link *link, uint32_t method, const ProtobufCMessage *message);

/* From within reply: the whole answer, of which payload is the last part. Returns fresh memory or
 * NULL. */
uint8_t *link_answer(struct link *link, const void *payload, size_t len, size_t *total);

/* Sends what can be sent. To be called after each turn. */
void link_settle(struct link *link);
