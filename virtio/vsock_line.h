// SPDX-License-Identifier: Apache-2.0
/*
 * The host's sockets that wait in line for connections of the guest's, each at its port: first
 * come, first served. Bounded over all ports; who left while waiting is passed over. Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define VSOCK_LINE_MAX 16u

struct vsock_line {
	unsigned n;
	struct {
		uint32_t port;
		int fd;
	} waiting[VSOCK_LINE_MAX]; /* the oldest first */
};

/* fd (a connected unix stream socket) is the line's from here on. Returns 0, or -EUSERS when too
 * many wait, and then fd stays the caller's. */
int vsock_line_add(struct vsock_line *line, uint32_t port, int fd);

/* Whether anybody waits at a port. */
bool vsock_line_has(struct vsock_line *line, uint32_t port);

/* The first who waits at a port, the caller's from here on; -1 when there is nobody. */
int vsock_line_take(struct vsock_line *line, uint32_t port);

/* Sends all away. */
void vsock_line_close(struct vsock_line *line);
