// SPDX-License-Identifier: Apache-2.0
/*
 * What a service tells systemd, and what systemd hands it: sd_notify(3) and sd_listen_fds(3) in the
 * few lines that we need, since libsystemd has no static library and is no part of a runner.
 * Nothing here fails when there is no systemd; then nobody is told and nothing is handed over.
 * Called before any thread is started. The environment is root's word and believed.
 */
#pragma once

#include <stdint.h>

/*
 * A datagram socket connected to $NOTIFY_SOCKET, which outlives a change of root and of namespaces;
 * the caller closes it. -1 without such a variable or with nobody there.
 */
int notify_open(void);

/* Sends a state ("READY=1", lines as in sd_notify(3)); nothing for a negative descriptor. It does
 * not wait, and what does not reach anybody is no error. */
void notify_send(int fd, const char *state);

/* How often the service has to send WATCHDOG=1, half of $WATCHDOG_USEC; 0 = nobody waits for it. */
uint64_t notify_watchdog_ns(void);

/*
 * The listening unix socket of that type (SOCK_STREAM, SOCK_SEQPACKET) that systemd opened for this
 * service, close-on-exec; the caller's. Returns -ENOENT when none was handed over, -EINVAL when
 * what was is no such socket.
 */
int notify_listener(int type);
