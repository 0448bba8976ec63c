// SPDX-License-Identifier: Apache-2.0
/* Control requests of proto/runner.proto for a zone on Xen: decoded, done, answered at once, in the
 * loop thread. */
#pragma once

#include <stddef.h>

#include "runner/runner_server.h"

struct zone;

/* Serves one request. fds are the borrowed descriptors that came with it. */
void control_request(struct zone *zone, const void *data, size_t len, const int *fds,
		     unsigned n_fds, control_reply_fn *reply, void *user);
