// SPDX-License-Identifier: Apache-2.0
/*
 * The connections of a vsock device: VSOCK_CONNECTIONS_MAX places, found by their ports, given
 * turns. Looked through as a whole: sixty-four pointers cost less than an index would. Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtio/vsock_conn.h"

#define VSOCK_CONNECTIONS_MAX 64
#define VSOCK_CALL_PORT_MIN   0x40000000u /* connections of the host come from here and above */

struct vsock_table {
	struct vsock_conn *conns[VSOCK_CONNECTIONS_MAX];
	unsigned next;	  /* whose turn it is */
	uint32_t n_calls; /* since the start; the host's next port */
};

/* Walks through all: *at begins as 0. NULL at the end. */
struct vsock_conn *vsock_table_each(const struct vsock_table *table, unsigned *at);

/* The connection with these ports that is not dead, or NULL. */
struct vsock_conn *vsock_table_find(const struct vsock_table *table, uint32_t guest_port,
				    uint32_t host_port);

/* One at a port of the host's in this state, or NULL; if several wait, who does so for longest. */
struct vsock_conn *vsock_table_find_by_port(const struct vsock_table *table, uint32_t host_port,
					    enum vsock_conn_state state);

/* Puts a connection into a free place; NULL (none free, or conn is NULL) leaves it the caller's. */
struct vsock_conn *vsock_table_add(struct vsock_table *table, struct vsock_conn *conn);
bool vsock_table_is_full(const struct vsock_table *table);
bool vsock_table_is_empty(const struct vsock_table *table);

/* How many connections are the host's, those included that the guest has to hear the end of. */
unsigned vsock_table_count_calls(const struct vsock_table *table);
unsigned vsock_table_count_open(const struct vsock_table *table);

/* A port of the host's that no connection has, dead ones included. */
uint32_t vsock_table_call_port(struct vsock_table *table);

/* The guest opens a connection anew: an RST still due for an earlier one of the same ports would
 * hit it. */
void vsock_table_forget_old(struct vsock_table *table, uint32_t guest_port, uint32_t host_port);

/* The next connection in turn that has a packet for the guest, or NULL. */
struct vsock_conn *vsock_table_next_due(struct vsock_table *table);

/* Asks those whose host's end may have gone, and ends those that have waited too long for somebody
 * on the host or for the guest's answer. Returns whether others still wait. */
bool vsock_table_look(struct vsock_table *table, uint64_t now_ns);

/* Ends all without telling the guest, which has reset the device. */
void vsock_table_kill_all(struct vsock_table *table);

/* Frees what is over. Returns whether any is left that vsock_table_look() has to ask. */
bool vsock_table_reap(struct vsock_table *table);
