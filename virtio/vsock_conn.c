// SPDX-License-Identifier: Apache-2.0
#include "virtio/vsock_conn.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "virtio/vsock.h"

#define BUFFER VSOCK_CONNECTION_BUFFER

static void on_sent(struct loop_op *op, int res, uint32_t flags);
static void on_received(struct loop_op *op, int res, uint32_t flags);
static void on_probed(struct loop_op *op, int res, uint32_t flags);

struct vsock_conn *vsock_conn_new(struct loop *loop, uint32_t guest_port, uint32_t host_port,
				  void (*changed)(void *user), void *user)
{
	struct vsock_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->loop = loop;
	conn->changed = changed;
	conn->user = user;
	conn->guest_port = guest_port;
	conn->host_port = host_port;
	conn->state = VSOCK_CONN_WAITING;
	conn->fd = conn->slot = -1;
	conn->send_op.done = on_sent;
	conn->recv_op.done = on_received;
	conn->probe_op.done = on_probed;
	return conn;
}

void vsock_conn_free(struct vsock_conn *conn)
{
	assert(!vsock_conn_is_busy(conn));
	loop_slot_remove(conn->loop, conn->slot);
	close_fdp(&conn->fd);
	free(conn->buffers);
	free(conn);
}

bool vsock_conn_is_busy(const struct vsock_conn *conn)
{
	return conn->sending || conn->receiving || conn->probing;
}

bool vsock_conn_is_idle(const struct vsock_conn *conn)
{
	return conn->state == VSOCK_CONN_DEAD && !vsock_conn_is_busy(conn) && !conn->rst_due;
}

/* #syscalls loop: shutdown close */
void vsock_conn_kill(struct vsock_conn *conn, bool tell)
{
	if (conn->state != VSOCK_CONN_DEAD)
		conn->rst_due = tell && !conn->request_due;
	conn->state = VSOCK_CONN_DEAD;
	/* Shutting ends what is under way on the socket: it cannot fail, as a cancellation could.
	 */
	if (conn->fd >= 0)
		shutdown(conn->fd, SHUT_RDWR);
	conn->changed(conn->user);
}

/* From the socket to the guest. */

static void start_recv(struct vsock_conn *conn)
{
	if (conn->receiving || conn->at_end || conn->out_len > 0)
		return;
	conn->receiving = true;
	conn->out_at = 0;
	conn->recv_deferred =
		loop_recv(conn->loop, &conn->recv_op, conn->slot, conn->out, BUFFER, 0) < 0;
	if (conn->recv_deferred)
		loop_defer(conn->loop, &conn->recv_op);
}

bool vsock_conn_needs_probe(const struct vsock_conn *conn)
{
	return conn->state == VSOCK_CONN_OPEN && conn->at_end && !conn->hung_up;
}

/* Sending nothing fails once the other end is closed. (A poll for the hang-up ends at once, with
 * the half that is known.) */
void vsock_conn_probe(struct vsock_conn *conn)
{
	if (!conn->probing)
		conn->probing = loop_send(conn->loop, &conn->probe_op, conn->slot, conn->in, 0,
					  MSG_NOSIGNAL) == 0;
}

static void on_probed(struct loop_op *op, int res, uint32_t flags)
{
	struct vsock_conn *conn = container_of(op, struct vsock_conn, probe_op);

	(void)flags;
	conn->probing = false;
	conn->hung_up = res == -EPIPE || res == -ECONNRESET;
	conn->changed(conn->user);
}

static void on_received(struct loop_op *op, int res, uint32_t flags)
{
	struct vsock_conn *conn = container_of(op, struct vsock_conn, recv_op);
	bool again = conn->recv_deferred || res == -EINTR;

	(void)flags;
	conn->receiving = conn->recv_deferred = false;
	if (conn->state == VSOCK_CONN_OPEN) {
		if (!again && res <= 0)
			conn->at_end = true;
		else if (!again && !conn->guest_wants_no_more)
			conn->out_len = (uint32_t)res;
		else
			start_recv(conn); /* what nobody wants is dropped */
	}
	conn->changed(conn->user);
}

void vsock_conn_set_credit(struct vsock_conn *conn, uint32_t buf_alloc, uint32_t fwd_cnt)
{
	conn->peer_buf_alloc = buf_alloc;
	conn->peer_fwd_cnt = fwd_cnt;
	conn->credit_requested = false;
}

/* Room in the guest's buffer; 0 also when its figures make no sense. */
static uint32_t peer_credit(const struct vsock_conn *conn)
{
	uint32_t under_way = conn->tx_cnt - conn->peer_fwd_cnt;

	return under_way < conn->peer_buf_alloc ? conn->peer_buf_alloc - under_way : 0;
}

/* From the guest to the socket. */

static uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Once the guest's last byte is out, the socket hears of its end; when it also wants no more, all
 * is over. */
static void finish_guest_end(struct vsock_conn *conn)
{
	if (!conn->guest_sent_all || conn->in_len > 0 || conn->sending)
		return;
	if (conn->guest_wants_no_more) {
		vsock_conn_kill(conn, true);
	} else if (!conn->write_shut) {
		conn->write_shut = true;
		shutdown(conn->fd, SHUT_WR);
	}
}

static void start_send(struct vsock_conn *conn)
{
	uint32_t len = min32(conn->in_len, BUFFER - conn->in_at);

	if (conn->sending || len == 0)
		return;
	conn->sending = true;
	conn->send_deferred = loop_send(conn->loop, &conn->send_op, conn->slot,
					conn->in + conn->in_at, len, MSG_NOSIGNAL) < 0;
	if (conn->send_deferred)
		loop_defer(conn->loop, &conn->send_op);
}

/* Tells the guest of room when it knows of less than half a buffer: neither too late nor for every
 * packet. */
static void update_credit(struct vsock_conn *conn)
{
	uint32_t known_free = BUFFER - (conn->rx_cnt - conn->told_fwd_cnt);

	if (conn->fwd_cnt != conn->told_fwd_cnt && known_free < BUFFER / 2)
		conn->credit_update_due = true;
}

static void on_sent(struct loop_op *op, int res, uint32_t flags)
{
	struct vsock_conn *conn = container_of(op, struct vsock_conn, send_op);
	bool again = conn->send_deferred || res == -EINTR;

	(void)flags;
	conn->sending = conn->send_deferred = false;
	if (conn->state == VSOCK_CONN_OPEN) {
		if (!again && res <= 0) {
			vsock_conn_kill(conn, true);
			return;
		}
		if (!again) {
			conn->in_at = (conn->in_at + (uint32_t)res) % BUFFER;
			conn->in_len -= (uint32_t)res;
			conn->fwd_cnt += (uint32_t)res;
			update_credit(conn);
		}
		start_send(conn);
		finish_guest_end(conn);
	}
	conn->changed(conn->user);
}

int vsock_conn_receive(struct vsock_conn *conn, const struct vq_chain *chain, size_t off,
		       uint32_t len)
{
	uint32_t end = (conn->in_at + conn->in_len) % BUFFER, first;

	if (conn->guest_sent_all)
		return -EPIPE;
	if (len > BUFFER - conn->in_len)
		return -ENOBUFS;
	first = min32(len, BUFFER - end);
	vq_copy_out(chain, off, conn->in + end, first);
	vq_copy_out(chain, off + first, conn->in, len - first);
	conn->in_len += len;
	conn->rx_cnt += len;
	start_send(conn);
	return 0;
}

void vsock_conn_guest_shutdown(struct vsock_conn *conn, uint32_t flags)
{
	if (flags & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		conn->guest_wants_no_more = true;
		conn->out_len = 0;
		start_recv(conn);
	}
	if (flags & VIRTIO_VSOCK_SHUTDOWN_SEND)
		conn->guest_sent_all = true;
	finish_guest_end(conn);
}

/* Bytes may move from here on. */
static int open_conn(struct vsock_conn *conn)
{
	conn->buffers = malloc(2 * (size_t)BUFFER);
	if (!conn->buffers)
		return -ENOMEM;
	conn->in = conn->buffers;
	conn->out = conn->buffers + BUFFER;
	conn->slot = loop_slot_add(conn->loop, conn->fd);
	if (conn->slot < 0)
		return conn->slot;
	conn->state = VSOCK_CONN_OPEN;
	start_recv(conn);
	return 0;
}

int vsock_conn_join(struct vsock_conn *conn, int fd)
{
	assert(conn->state == VSOCK_CONN_WAITING && conn->fd < 0);
	conn->fd = fd;
	conn->response_due = true;
	return open_conn(conn);
}

void vsock_conn_call(struct vsock_conn *conn, int fd)
{
	assert(conn->state == VSOCK_CONN_WAITING && conn->fd < 0);
	conn->fd = fd;
	conn->state = VSOCK_CONN_CALLING;
	conn->request_due = true;
}

int vsock_conn_answered(struct vsock_conn *conn)
{
	assert(conn->state == VSOCK_CONN_CALLING);
	return conn->request_due ? -EBADMSG : open_conn(conn);
}

/* Packets for the guest. */

/* What the guest is to hear of the socket's end (VIRTIO_VSOCK_SHUTDOWN_*) and has not heard. */
static uint32_t shutdown_due(const struct vsock_conn *conn)
{
	uint32_t flags = 0;

	if (conn->at_end && conn->out_len == 0)
		flags = VIRTIO_VSOCK_SHUTDOWN_SEND |
			(conn->hung_up ? VIRTIO_VSOCK_SHUTDOWN_RCV : 0);
	return flags & ~conn->shutdown_sent ? flags : 0;
}

uint16_t vsock_conn_due(const struct vsock_conn *conn)
{
	uint32_t credit = peer_credit(conn);

	if (conn->rst_due)
		return VIRTIO_VSOCK_OP_RST;
	if (conn->state == VSOCK_CONN_CALLING && conn->request_due)
		return VIRTIO_VSOCK_OP_REQUEST;
	if (conn->state != VSOCK_CONN_OPEN)
		return 0;
	if (conn->response_due)
		return VIRTIO_VSOCK_OP_RESPONSE;
	if (conn->out_len > 0 && credit > 0)
		return VIRTIO_VSOCK_OP_RW;
	if (conn->credit_update_due)
		return VIRTIO_VSOCK_OP_CREDIT_UPDATE;
	if (conn->out_len > 0 && !conn->credit_requested)
		return VIRTIO_VSOCK_OP_CREDIT_REQUEST;
	if (shutdown_due(conn))
		return VIRTIO_VSOCK_OP_SHUTDOWN;
	return 0;
}

void vsock_conn_take(struct vsock_conn *conn, uint16_t op, uint32_t room,
		     struct virtio_vsock_hdr *header, const void **payload)
{
	uint32_t len = 0;

	*payload = NULL;
	switch (op) {
	case VIRTIO_VSOCK_OP_RST:
		conn->rst_due = false;
		break;
	case VIRTIO_VSOCK_OP_REQUEST:
		conn->request_due = false;
		break;
	case VIRTIO_VSOCK_OP_RESPONSE:
		conn->response_due = false;
		break;
	case VIRTIO_VSOCK_OP_RW:
		len = min32(room, min32(conn->out_len, peer_credit(conn)));
		*payload = conn->out + conn->out_at;
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		conn->credit_requested = true;
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		conn->shutdown_sent = shutdown_due(conn);
		header->flags = htole32(conn->shutdown_sent);
		break;
	}
	/* Every packet carries our credit. */
	conn->credit_update_due = false;
	conn->told_fwd_cnt = conn->fwd_cnt;
	header->op = htole16(op);
	header->len = htole32(len);
	header->buf_alloc = htole32(BUFFER);
	header->fwd_cnt = htole32(conn->fwd_cnt);
}

void vsock_conn_taken(struct vsock_conn *conn, uint32_t len)
{
	conn->out_at += len;
	conn->out_len -= len;
	conn->tx_cnt += len;
	if (conn->out_len == 0 && conn->state == VSOCK_CONN_OPEN)
		start_recv(conn);
}
