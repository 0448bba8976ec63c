// SPDX-License-Identifier: Apache-2.0
#include "virtio/vsock_table.h"

#include <stddef.h>

struct vsock_conn *vsock_table_each(const struct vsock_table *table, unsigned *at)
{
	while (*at < VSOCK_CONNECTIONS_MAX) {
		struct vsock_conn *conn = table->conns[(*at)++];

		if (conn)
			return conn;
	}
	return NULL;
}

struct vsock_conn *vsock_table_find(const struct vsock_table *table, uint32_t guest_port,
				    uint32_t host_port)
{
	struct vsock_conn *conn;
	unsigned at = 0;

	while ((conn = vsock_table_each(table, &at)))
		if (conn->state != VSOCK_CONN_DEAD && conn->guest_port == guest_port &&
		    conn->host_port == host_port)
			return conn;
	return NULL;
}

struct vsock_conn *vsock_table_find_by_port(const struct vsock_table *table, uint32_t host_port,
					    enum vsock_conn_state state)
{
	struct vsock_conn *conn, *first = NULL;
	unsigned at = 0;

	while ((conn = vsock_table_each(table, &at)))
		if (conn->state == state && conn->host_port == host_port &&
		    (!first || conn->deadline_ns < first->deadline_ns))
			first = conn;
	return first;
}

struct vsock_conn *vsock_table_add(struct vsock_table *table, struct vsock_conn *conn)
{
	for (unsigned i = 0; conn && i < VSOCK_CONNECTIONS_MAX; i++) {
		if (table->conns[i])
			continue;
		table->conns[i] = conn;
		return conn;
	}
	return NULL;
}

static unsigned count(const struct vsock_table *table)
{
	unsigned n = 0, at = 0;

	while (vsock_table_each(table, &at))
		n++;
	return n;
}

bool vsock_table_is_full(const struct vsock_table *table)
{
	return count(table) == VSOCK_CONNECTIONS_MAX;
}

bool vsock_table_is_empty(const struct vsock_table *table)
{
	return count(table) == 0;
}

unsigned vsock_table_count_calls(const struct vsock_table *table)
{
	const struct vsock_conn *conn;
	unsigned n = 0, at = 0;

	while ((conn = vsock_table_each(table, &at)))
		n += conn->host_port >= VSOCK_CALL_PORT_MIN;
	return n;
}

unsigned vsock_table_count_open(const struct vsock_table *table)
{
	const struct vsock_conn *conn;
	unsigned n = 0, at = 0;

	while ((conn = vsock_table_each(table, &at)))
		n += conn->state == VSOCK_CONN_OPEN;
	return n;
}

static bool has_host_port(const struct vsock_table *table, uint32_t host_port)
{
	const struct vsock_conn *conn;
	unsigned at = 0;

	while ((conn = vsock_table_each(table, &at)))
		if (conn->host_port == host_port)
			return true;
	return false;
}

uint32_t vsock_table_call_port(struct vsock_table *table)
{
	uint32_t port;

	do
		port = VSOCK_CALL_PORT_MIN + table->n_calls++ % VSOCK_CALL_PORT_MIN;
	while (has_host_port(table, port));
	return port;
}

void vsock_table_forget_old(struct vsock_table *table, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_conn *conn;
	unsigned at = 0;

	while ((conn = vsock_table_each(table, &at)))
		if (conn->state == VSOCK_CONN_DEAD && conn->guest_port == guest_port &&
		    conn->host_port == host_port)
			conn->rst_due = false;
}

struct vsock_conn *vsock_table_next_due(struct vsock_table *table)
{
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		unsigned at = (table->next + i) % VSOCK_CONNECTIONS_MAX;

		if (table->conns[at] && vsock_conn_due(table->conns[at])) {
			table->next = (at + 1) % VSOCK_CONNECTIONS_MAX;
			return table->conns[at];
		}
	}
	return NULL;
}

bool vsock_table_look(struct vsock_table *table, uint64_t now_ns)
{
	struct vsock_conn *conn;
	bool more = false;
	unsigned at = 0;

	while ((conn = vsock_table_each(table, &at))) {
		if (vsock_conn_needs_probe(conn))
			vsock_conn_probe(conn);
		if (conn->state != VSOCK_CONN_WAITING && conn->state != VSOCK_CONN_CALLING)
			continue;
		if (now_ns >= conn->deadline_ns)
			vsock_conn_kill(conn, true);
		else
			more = true;
	}
	return more;
}

void vsock_table_kill_all(struct vsock_table *table)
{
	struct vsock_conn *conn;
	unsigned at = 0;

	while ((conn = vsock_table_each(table, &at))) {
		vsock_conn_kill(conn, false);
		conn->rst_due = false;
	}
}

bool vsock_table_reap(struct vsock_table *table)
{
	bool more = false;

	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		struct vsock_conn *conn = table->conns[i];

		if (conn && vsock_conn_is_idle(conn)) {
			vsock_conn_free(conn);
			table->conns[i] = NULL;
		} else if (conn) {
			more |= vsock_conn_needs_probe(conn);
		}
	}
	return more;
}
