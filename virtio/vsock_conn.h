// SPDX-License-Identifier: Apache-2.0
/*
 * One vsock connection of the guest and the unix socket it is joined to: a buffer each way, credits
 * each way (virtio 1.2 §5.10.6.3), and what is to be told to the guest. It never waits: the socket
 * is read and written by the loop, and the device asks for the next packet when the guest has a
 * buffer for it. Invariants: at most one recv and one send are under way; bytes from the guest are
 * accepted only within the credit it was given, and moved only when OPEN; it is freed only when
 * dead and nothing is under way. Loop thread; nothing from the guest is trusted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_vsock.h>

#include "base/loop.h"
#include "virtio/queue.h"

enum vsock_conn_state {
	VSOCK_CONN_WAITING, /* the guest asked, nobody is there yet */
	VSOCK_CONN_CALLING, /* the host asked, the guest has not answered */
	VSOCK_CONN_OPEN,
	VSOCK_CONN_DEAD, /* to be freed when idle */
};

struct vsock_conn {
	struct loop *loop;
	/* Something is due for the guest, or the connection became idle. Called from the loop. */
	void (*changed)(void *user);
	void *user;
	uint32_t guest_port, host_port;
	enum vsock_conn_state state;
	uint64_t deadline_ns; /* of waiting and calling */
	int fd, slot;
	uint8_t *buffers;

	/* From the guest to the socket: a ring of VSOCK_CONNECTION_BUFFER bytes. */
	struct loop_op send_op;
	bool sending, send_deferred;
	uint8_t *in;
	uint32_t in_at, in_len;
	uint32_t rx_cnt, fwd_cnt, told_fwd_cnt; /* bytes; they wrap */
	bool guest_sent_all, write_shut;

	/* From the socket to the guest: what one recv brought. */
	struct loop_op recv_op;
	bool receiving, recv_deferred, at_end;
	/* After that, whether the socket is gone in both directions: nothing wakes for that, so it
	 * is asked now and then. */
	struct loop_op probe_op;
	bool probing, hung_up;
	uint8_t *out;
	uint32_t out_at, out_len;
	uint32_t tx_cnt, peer_buf_alloc, peer_fwd_cnt;
	bool guest_wants_no_more;

	bool request_due, response_due, credit_update_due, credit_requested, rst_due;
	uint32_t shutdown_sent; /* VIRTIO_VSOCK_SHUTDOWN_* */
};

/* A connection that waits for vsock_conn_join() or vsock_conn_call(). NULL without memory. */
struct vsock_conn *vsock_conn_new(struct loop *loop, uint32_t guest_port, uint32_t host_port,
				  void (*changed)(void *user), void *user);

/* Frees an idle connection and closes its socket. */
void vsock_conn_free(struct vsock_conn *conn);

/* Joins a connection that the guest asked for to fd, which is its own from here on, also on
 * failure. Returns 0 or a negative errno. */
int vsock_conn_join(struct vsock_conn *conn, int fd);

/* Asks the guest for a connection with fd, which is its own from here on. */
void vsock_conn_call(struct vsock_conn *conn, int fd);

/* The guest's answer to that. Returns 0 or a negative errno: without room for it, or -EBADMSG if
 * the guest was not even asked yet. */
int vsock_conn_answered(struct vsock_conn *conn);

/* Ends it: the socket is shut at once, and the guest told by RST if `tell` and it knows of it. */
void vsock_conn_kill(struct vsock_conn *conn, bool tell);

/* Whether it can be freed: dead, nothing under way, nothing left to tell. */
bool vsock_conn_is_idle(const struct vsock_conn *conn);

/* Whether an operation of it is under way. */
bool vsock_conn_is_busy(const struct vsock_conn *conn);

/* Whether its socket's reader may leave without a word: vsock_conn_probe() is due now and then. It
 * finds that out, after which both halves are over. */
bool vsock_conn_needs_probe(const struct vsock_conn *conn);
void vsock_conn_probe(struct vsock_conn *conn);

/* What the guest said of its own buffer in a header. */
void vsock_conn_set_credit(struct vsock_conn *conn, uint32_t buf_alloc, uint32_t fwd_cnt);

/* The guest's data: len bytes of the chain's readable part from off. -ENOBUFS: more than it had
 * credit for; -EPIPE: after its end. */
int vsock_conn_receive(struct vsock_conn *conn, const struct vq_chain *chain, size_t off,
		       uint32_t len);

/* The guest will send no more, or wants no more (VIRTIO_VSOCK_SHUTDOWN_*). */
void vsock_conn_guest_shutdown(struct vsock_conn *conn, uint32_t flags);

/* The operation of the next packet for the guest, 0 when there is none. */
uint16_t vsock_conn_due(const struct vsock_conn *conn);

/*
 * Takes the packet vsock_conn_due() announced: sets op, flags, len (≤ room), buf_alloc and fwd_cnt
 * of *header, and *payload (valid until the next vsock_conn_taken(), which is to be called when it
 * was copied).
 */
void vsock_conn_take(struct vsock_conn *conn, uint16_t op, uint32_t room,
		     struct virtio_vsock_hdr *header, const void **payload);
void vsock_conn_taken(struct vsock_conn *conn, uint32_t len);
