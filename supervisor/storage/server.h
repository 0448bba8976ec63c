// SPDX-License-Identifier: Apache-2.0
/*
 * The socket of protect-storage. One thread accepts and polls; each connection is one operation in
 * a thread of its own, at most SERVER_WORKERS_MAX at once, while further ones wait in the backlog.
 * Only root and one other user may connect.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "supervisor/storage/ops.h"

#define SERVER_WORKERS_MAX 24u

/* Whom to serve where. */
struct server_options {
	const char *path;
	mode_t mode;
	uid_t allowed_uid; /* besides root; 0 = nobody else */
};

/*
 * Serves until SIGTERM or SIGINT, which the caller has blocked in all threads; operations under way
 * are then cancelled. `ready` (may be NULL) runs once the socket exists and before the first
 * connection is accepted. Returns 0 or a negative errno with *err set.
 */
int server_run(struct storage *storage, const struct server_options *options,
	       void (*ready)(void *context), void *context, struct error *err);
