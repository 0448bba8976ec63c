// SPDX-License-Identifier: Apache-2.0
/* Control requests of proto/runner.proto: decoded, done, answered, now or later, in the loop
 * thread. */
#pragma once

#include <stddef.h>

#include "proto/runner.pb-c.h"
#include "runner/runner_server.h"

struct machine;

/* Serves one request. fds are the borrowed descriptors that came with it. */
void control_request(struct machine *machine, const void *data, size_t len, const int *fds,
		     unsigned n_fds, control_reply_fn *reply, void *user);
