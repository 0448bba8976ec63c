// SPDX-License-Identifier: Apache-2.0
/* Questions to protect-storage (proto/storage.proto). The answer always comes; a service that is
 * not there is an answer too. */
#pragma once

#include "proto/storage.pb-c.h"
#include "supervisor/daemon/hub.h"

struct storage_call;

/*
 * One reply: progress (reply->progress is set; more follows) or the result, with reply->error (a
 * positive errno) and its text. The reply and the descriptors are borrowed: dup what is to be kept.
 * After the result the call is gone.
 */
typedef void storage_fn(void *user, const Protect__Storage__Reply *reply, const int *fds,
			unsigned n_fds);

/* Sends one request with at most one borrowed descriptor (-1 = none). fn runs, never from in here.
 * Returns NULL only without memory. */
struct storage_call *storage_call(struct hub *hub, const char *socket,
				  const Protect__Storage__Request *request, int fd, storage_fn *fn,
				  void *user);

/* fn does not run any more; the operation ends. Not from inside fn. NULL is allowed. Always returns
 * NULL. */
struct storage_call *storage_cancel(struct storage_call *call);

/* A name that only a registry can know: its first part is a host (a dot, a colon, or "localhost"),
 * and a path follows. */
bool storage_is_registry_ref(const char *ref);
