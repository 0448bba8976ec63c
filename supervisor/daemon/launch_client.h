// SPDX-License-Identifier: Apache-2.0
/* Questions to protect-launch (supervisor/launch/launch.h). The answer always comes; a service that
 * is not there is an answer too. */
#pragma once

#include "supervisor/daemon/hub.h"
#include "supervisor/launch/launch.h"

struct launch_call;

/* reply->error and text say how it went; version 0 = launch itself did not answer, and then pid -1
 * = whether it acted is not known. pidfd: of SPAWN, now the callee's, else -1. The call is gone
 * when this returns. */
typedef void launch_fn(void *user, const struct launch_reply *reply, int pidfd);

/*
 * Sends one request; version and n_fds are filled in, descriptors are borrowed. fn runs once, never
 * from in here. Returns NULL only without memory.
 */
struct launch_call *launch_call(struct hub *hub, const char *socket,
				const struct launch_request *request, const int *fds,
				unsigned n_fds, launch_fn *fn, void *user);

/* fn does not run any more. Not from inside fn. NULL is allowed. Always returns NULL. */
struct launch_call *launch_cancel(struct launch_call *call);
