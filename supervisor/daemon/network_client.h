// SPDX-License-Identifier: Apache-2.0
/*
 * What the daemon asks protect-network: one connection a request (proto/network.proto), one after
 * the other in the order in which they were asked. So a link that is taken away cannot be one that
 * was made after it in the same place. A service that does not answer holds up those who wait no
 * longer than its own time: they are then all told.
 */
#pragma once

#include "proto/network.pb-c.h"
#include "supervisor/daemon/hub.h"

struct network_call;
struct pcall;

struct network_client {
	struct hub *hub;
	const char *socket;
	struct network_call *first, **tail; /* the first one is under way */
	struct pcall *pcall;
};

/* The reply and its descriptors are borrowed. A service that could not be asked: error and text
 * say so. */
typedef void network_fn(void *user, const Protect__Network__Reply *reply, const int *fds,
			unsigned n_fds);

/* hub and socket are borrowed. */
void network_client_init(struct network_client *client, struct hub *hub, const char *socket);

/* fn is called for nobody any more. */
void network_client_deinit(struct network_client *client);

/* fn runs once, never from in here, unless it is forgotten before. Returns 0 or -ENOMEM. */
int network_call(struct network_client *client, const Protect__Network__Request *request,
		 network_fn *fn, void *user);

/* Adds a packet to the request that was asked last, by the same caller, just now. Returns 0 or a
 * negative errno: fn of that request is told that it failed, but may be so after a while. */
int network_call_more(struct network_client *client, const Protect__Network__Request *request);

/* The requests of this user are carried out all the same, but nobody is told. */
void network_forget(struct network_client *client, const void *user);
