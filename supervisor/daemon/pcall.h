// SPDX-License-Identifier: Apache-2.0
/*
 * One question to another service over a SOCK_SEQPACKET socket, without waiting: a connection, one
 * request packet (with descriptors), one or more reply packets (with descriptors). What comes back
 * is not trusted beyond its size.
 */
#pragma once

#include "supervisor/daemon/hub.h"

#define PCALL_PACKET_MAX (64u * 1024)

struct pcall;

/*
 * One reply: error 0 and len bytes with n_fds descriptors, which now belong to the callee; it
 * returns whether more replies are expected. Or the end: error is a negative errno, data is NULL.
 * Unless true was returned for a reply, the call is gone when this returns.
 */
typedef bool pcall_fn(void *user, int error, const void *data, size_t len, int *fds,
		      unsigned n_fds);

/*
 * Sends the request; descriptors are borrowed. timeout_ns 0 = none, else the time between replies.
 * fn runs, never from in here, also when the request could not be sent (nobody listens: -ENOENT,
 * -ECONNREFUSED; longer than a packet: -EMSGSIZE). Returns NULL only without memory.
 */
struct pcall *pcall_start(struct hub *hub, const char *socket, const void *request, size_t len,
			  const int *fds, unsigned n_fds, uint64_t timeout_ns, pcall_fn *fn,
			  void *user);

/* Sends another packet of the same request, behind the first; without a wait, so it is kept until
 * it can go. Returns 0 or a negative errno: without it the request is not whole, and will time out.
 */
int pcall_send_more(struct pcall *call, const void *packet, size_t len);

/* Whether the request was sent: the service may have heard it. */
bool pcall_was_sent(const struct pcall *call);

/* What a person reads when a service, called name, could not be asked at its socket. */
void pcall_describe(const char *name, const char *socket, int error, char *out, size_t size);

/* Ends it; fn does not run any more. Not from inside fn. NULL is allowed. Always returns NULL. */
struct pcall *pcall_cancel(struct pcall *call);
