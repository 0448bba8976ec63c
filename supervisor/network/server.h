// SPDX-License-Identifier: Apache-2.0
/*
 * The socket of protect-network. One thread; each connection is one operation, in the order in
 * which they come, and an operation takes milliseconds. Only root and the daemon's user are heard.
 */
#pragma once

#include <sys/types.h>

#include "supervisor/network/ops.h"

struct server;

/* Listens at path, or on the socket that systemd hands over, and takes SIGTERM and SIGINT. Returns
 * 0 or a negative errno with *err set. */
int server_open(struct server **out, const char *path, uid_t allowed_uid, struct error *err);

/* Serves until one of these signals. notify: where systemd hears of us (base/notify.h). Returns 0
 * or a negative errno. */
int server_run(struct server *server, struct ops *ops, int notify);

/* Closes all; removes the socket's file unless it is systemd's. */
struct server *server_close(struct server *server);
