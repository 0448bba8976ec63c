// SPDX-License-Identifier: Apache-2.0
#include "virtio/vsock.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_vsock.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/util.h"
#include "virtio/vsock_conn.h"
#include "virtio/vsock_line.h"
#include "virtio/vsock_table.h"

#define QUEUE_RX     0u
#define QUEUE_TX     1u
#define N_QUEUES     3u /* and one for events, of which there are none */
#define QUEUE_SIZE   128u
#define PORTS_MAX    16u
#define REFUSALS_MAX 128u
#define PACKET_MAX   (64u * 1024)
#define HEADER_LEN   ((uint32_t)sizeof(struct virtio_vsock_hdr))

/* Below the 2 s after which Linux gives up: so nobody is joined to a connection that is forgotten
 * there. */
#define WAIT_NS (1500 * NS_PER_MS)
#define CALL_NS (10 * NS_PER_S)
#define TICK_NS (250 * NS_PER_MS)

/* A port of the host that is served; fd: whoever waits for the guest there, or -1. */
struct port {
	uint32_t number;
	int fd;
};

/* An RST for a connection that does not exist. */
struct refusal {
	uint32_t guest_port, host_port;
};

struct vsock {
	struct virtio_dev dev;
	struct loop *loop;
	uint64_t guest_cid;
	unsigned n_ports;
	struct port ports[PORTS_MAX];
	struct vsock_line line;
	struct vsock_table conns;
	uint64_t n_opened, n_refused, rx_bytes, tx_bytes;
	unsigned refusals_at, n_refusals;
	struct refusal refusals[REFUSALS_MAX];
	struct loop_op pump_op;
	bool pump_pending;
	struct loop_timer tick;
	bool tick_pending;
	void (*drained)(void *user); /* a reset waits */
	void *drained_user;
	struct vq_chain chain; /* the one being looked at */
};

static struct vsock *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct vsock, dev);
}

static void schedule_pump(void *user)
{
	struct vsock *vsock = user;

	if (vsock->pump_pending)
		return;
	vsock->pump_pending = true;
	loop_defer(vsock->loop, &vsock->pump_op);
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *data, uint32_t len)
{
	const struct virtio_vsock_config config = {.guest_cid = htole64(from_dev(dev)->guest_cid)};

	virtio_config_copy(&config, sizeof(config), off, data, len);
}

static int activate(struct virtio_dev *dev)
{
	schedule_pump(from_dev(dev));
	return 0;
}

/* Connections and ports. */

static struct port *find_port(struct vsock *vsock, uint32_t number)
{
	for (unsigned i = 0; i < vsock->n_ports; i++)
		if (vsock->ports[i].number == number)
			return &vsock->ports[i];
	return NULL;
}

/* A connection was opened, or (r < 0) could not be. */
static void opened(struct vsock *vsock, struct vsock_conn *conn, int r)
{
	if (r < 0)
		vsock_conn_kill(conn, true);
	else
		vsock->n_opened++;
	schedule_pump(vsock);
}

static void start_tick(struct vsock *vsock)
{
	if (vsock->tick_pending)
		return;
	vsock->tick_pending = true;
	if (loop_timer_start(vsock->loop, &vsock->tick, clock_now_ns() + TICK_NS) < 0)
		loop_defer(vsock->loop, &vsock->tick.op);
}

static void on_tick(struct loop_op *op, int res, uint32_t flags)
{
	struct vsock *vsock = container_of(op, struct vsock, tick.op);

	(void)res;
	(void)flags;
	vsock->tick_pending = false;
	if (vsock_table_look(&vsock->conns, clock_now_ns()) && !vsock->drained)
		start_tick(vsock);
	schedule_pump(vsock);
}

int virtio_vsock_listen(struct virtio_dev *dev, uint32_t port)
{
	struct vsock *vsock = from_dev(dev);

	if (find_port(vsock, port))
		return 0;
	if (port >= VSOCK_CALL_PORT_MIN)
		return -EINVAL;
	if (vsock->n_ports == PORTS_MAX)
		return -ENOSPC;
	vsock->ports[vsock->n_ports++] = (struct port){.number = port, .fd = -1};
	return 0;
}

int virtio_vsock_offer(struct virtio_dev *dev, uint32_t number, int fd)
{
	_cleanup_(close_fdp) int owned = fd;
	struct vsock *vsock = from_dev(dev);
	struct vsock_conn *conn;
	struct port *port;
	int r;

	r = virtio_vsock_listen(dev, number);
	if (r == 0)
		r = io_set_nonblock(owned, 0); /* the loop waits only on blocking files */
	if (r < 0)
		return r;
	port = find_port(vsock, number);
	close_fdp(&port->fd);
	conn = vsock_table_find_by_port(&vsock->conns, number, VSOCK_CONN_OPEN);
	if (conn)
		vsock_conn_kill(conn, true);
	conn = vsock_table_find_by_port(&vsock->conns, number, VSOCK_CONN_WAITING);
	if (conn)
		opened(vsock, conn, vsock_conn_join(conn, steal_fd(&owned)));
	else
		port->fd = steal_fd(&owned);
	return 0;
}

static int wait_in_line(struct vsock *vsock, uint32_t number, int fd)
{
	struct vsock_conn *conn =
		vsock_table_find_by_port(&vsock->conns, number, VSOCK_CONN_WAITING);
	int r;

	if (number >= VSOCK_CALL_PORT_MIN)
		return -EINVAL;
	if (find_port(vsock, number))
		return -EADDRINUSE;
	r = io_set_nonblock(fd, 0);
	if (r < 0)
		return r;
	if (!conn)
		return vsock_line_add(&vsock->line, number, fd);
	opened(vsock, conn, vsock_conn_join(conn, fd));
	return 0;
}

static void close_shut(int fd)
{
	shutdown(fd, SHUT_RDWR); /* or a ring that still knows it would keep it open */
	close(fd);
}

int virtio_vsock_serve(struct virtio_dev *dev, uint32_t number, int fd)
{
	int r = wait_in_line(from_dev(dev), number, fd);

	if (r < 0)
		close_shut(fd);
	return r;
}

static struct vsock_conn *add_conn(struct vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	if (vsock_table_is_full(&vsock->conns))
		return NULL;
	return vsock_table_add(&vsock->conns, vsock_conn_new(vsock->loop, guest_port, host_port,
							     schedule_pump, vsock));
}

static void wait_until(struct vsock *vsock, struct vsock_conn *conn, uint64_t deadline_ns)
{
	conn->deadline_ns = deadline_ns;
	start_tick(vsock);
}

/* #syscalls loop: shutdown close */
static int start_call(struct vsock *vsock, uint32_t guest_port, int fd)
{
	struct vsock_conn *conn;
	int r;

	if (!vsock->dev.active || vsock->dev.broken)
		return -ENOTCONN;
	if (vsock_table_count_calls(&vsock->conns) >= VSOCK_CALLS_MAX)
		return -EUSERS;
	r = io_set_nonblock(fd, 0);
	if (r < 0)
		return r;
	conn = add_conn(vsock, guest_port, vsock_table_call_port(&vsock->conns));
	if (!conn)
		return -ENOMEM;
	vsock_conn_call(conn, fd);
	wait_until(vsock, conn, clock_now_ns() + CALL_NS);
	schedule_pump(vsock);
	return 0;
}

int virtio_vsock_connect(struct virtio_dev *dev, uint32_t guest_port, int fd)
{
	int r = start_call(from_dev(dev), guest_port, fd);

	if (r < 0)
		close_shut(fd);
	return r;
}

/* From the guest. */

static void refuse(struct vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	unsigned at = (vsock->refusals_at + vsock->n_refusals) % REFUSALS_MAX;

	vsock->refusals[at] = (struct refusal){.guest_port = guest_port, .host_port = host_port};
	vsock->n_refusals++;
	vsock->n_refused++;
	schedule_pump(vsock);
}

/* A connection that the guest asked for meets fd, or (-1) waits for somebody. */
static void meet(struct vsock *vsock, struct vsock_conn *conn, int fd)
{
	if (fd >= 0)
		opened(vsock, conn, vsock_conn_join(conn, fd));
	else
		wait_until(vsock, conn, clock_now_ns() + WAIT_NS);
}

/* At a rendezvous: the newest is who it is for. */
static struct vsock_conn *request_rendezvous(struct vsock *vsock, const struct port *port,
					     uint32_t guest_port)
{
	struct vsock_conn *older =
		vsock_table_find_by_port(&vsock->conns, port->number, VSOCK_CONN_WAITING);
	struct vsock_conn *conn = add_conn(vsock, guest_port, port->number);

	if (conn && older)
		vsock_conn_kill(older, true);
	return conn;
}

/* At a port in line: NULL where nobody serves, or too many are there. */
static struct vsock_conn *request_in_line(struct vsock *vsock, uint32_t guest_port,
					  uint32_t host_port)
{
	bool somebody = vsock_line_has(&vsock->line, host_port), served = somebody;
	unsigned n_served = 0, n_waiting = 0, at = 0;
	const struct vsock_conn *conn;

	while ((conn = vsock_table_each(&vsock->conns, &at))) {
		if (conn->host_port >= VSOCK_CALL_PORT_MIN || find_port(vsock, conn->host_port))
			continue;
		n_served++;
		if (conn->host_port != host_port || conn->state == VSOCK_CONN_DEAD)
			continue;
		served = true;
		n_waiting += conn->state == VSOCK_CONN_WAITING;
	}
	if (!served || n_served >= VSOCK_SERVED_MAX ||
	    (!somebody && n_waiting >= VSOCK_BACKLOG_MAX))
		return NULL;
	return add_conn(vsock, guest_port, host_port);
}

static void on_request(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
	uint32_t guest_port = le32toh(header->src_port), host_port = le32toh(header->dst_port);
	struct port *port = find_port(vsock, host_port);
	struct vsock_conn *conn;

	vsock_table_forget_old(&vsock->conns, guest_port, host_port);
	conn = port ? request_rendezvous(vsock, port, guest_port)
		    : request_in_line(vsock, guest_port, host_port);
	if (!conn) {
		refuse(vsock, guest_port, host_port);
		return;
	}
	vsock_conn_set_credit(conn, le32toh(header->buf_alloc), le32toh(header->fwd_cnt));
	meet(vsock, conn, port ? steal_fd(&port->fd) : vsock_line_take(&vsock->line, host_port));
}

/* The guest answers a call, by anything but RST. */
static void on_answer(struct vsock *vsock, struct vsock_conn *conn,
		      const struct virtio_vsock_hdr *header)
{
	int r = -EBADMSG;

	if (le16toh(header->op) == VIRTIO_VSOCK_OP_RESPONSE) {
		vsock_conn_set_credit(conn, le32toh(header->buf_alloc), le32toh(header->fwd_cnt));
		r = vsock_conn_answered(conn);
	}
	opened(vsock, conn, r);
}

/* A packet on a connection that is open. Returns a negative errno if it ends the connection. */
static int on_open_packet(struct vsock *vsock, struct vsock_conn *conn,
			  const struct virtio_vsock_hdr *header)
{
	uint32_t len = le32toh(header->len);
	int r;

	vsock_conn_set_credit(conn, le32toh(header->buf_alloc), le32toh(header->fwd_cnt));
	switch (le16toh(header->op)) {
	case VIRTIO_VSOCK_OP_RW:
		if (len > PACKET_MAX || len > vsock->chain.out_len - HEADER_LEN)
			return -EBADMSG;
		r = vsock_conn_receive(conn, &vsock->chain, HEADER_LEN, len);
		if (r == 0)
			vsock->rx_bytes += len;
		return r;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		vsock_conn_guest_shutdown(conn, le32toh(header->flags));
		return 0;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		return 0;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		conn->credit_update_due = true;
		return 0;
	default:
		return -EBADMSG;
	}
}

static void on_packet(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
	uint32_t guest_port = le32toh(header->src_port), host_port = le32toh(header->dst_port);
	struct vsock_conn *conn = vsock_table_find(&vsock->conns, guest_port, host_port);
	uint16_t op = le16toh(header->op);

	/* Nobody else can have sent it, and there is nobody but the host to send it to (§5.10.6.2).
	 */
	if (le64toh(header->src_cid) != vsock->guest_cid ||
	    le64toh(header->dst_cid) != VMADDR_CID_HOST)
		return;
	if (le16toh(header->type) != VIRTIO_VSOCK_TYPE_STREAM) {
		if (op != VIRTIO_VSOCK_OP_RST)
			refuse(vsock, guest_port, host_port);
	} else if (conn && op == VIRTIO_VSOCK_OP_RST) {
		vsock_conn_kill(conn, false);
	} else if (conn && conn->state == VSOCK_CONN_CALLING) {
		on_answer(vsock, conn, header);
	} else if (conn &&
		   (conn->state == VSOCK_CONN_WAITING || on_open_packet(vsock, conn, header) < 0)) {
		vsock_conn_kill(conn, true);
	} else if (!conn && op == VIRTIO_VSOCK_OP_REQUEST) {
		on_request(vsock, header);
	} else if (!conn && op != VIRTIO_VSOCK_OP_RST) {
		refuse(vsock, guest_port, host_port);
	}
	schedule_pump(vsock);
}

/*
 * Takes packets from the guest: 1 when there are no more, 0 when it stopped before that, negative
 * when the queue is broken. Every packet may need a refusal, so without room for one the rest stays
 * in the queue until the guest has taken some.
 */
static int receive(struct vsock *vsock, struct vq *vq)
{
	for (unsigned n = 0; n < vq->size; n++) {
		struct virtio_vsock_hdr header;
		int r;

		if (vsock->n_refusals == REFUSALS_MAX)
			return 1; /* the pump comes back when there is room */
		r = vq_pop(vq, &vsock->chain);
		if (r <= 0)
			return r < 0 ? r : 1;
		if (vsock->chain.n_in > 0 ||
		    vq_copy_out(&vsock->chain, 0, &header, HEADER_LEN) != HEADER_LEN)
			return -EBADMSG;
		on_packet(vsock, &header);
		vq_push(vq, vsock->chain.head, 0);
	}
	return 0;
}

static void pump_tx(struct vsock *vsock)
{
	struct vq *vq = &vsock->dev.queues[QUEUE_TX];
	int r;

	if (vsock->n_refusals == REFUSALS_MAX || !vq->enabled)
		return;
	vq_no_kicks(vq);
	r = receive(vsock, vq);
	if (r < 0)
		virtio_dev_broken(&vsock->dev, "its transmit queue");
	else if (vsock->n_refusals < REFUSALS_MAX && (r == 0 || vq_want_kicks(vq)))
		vsock->dev.kick_again(&vsock->dev, QUEUE_TX);
}

/* To the guest. */

static struct virtio_vsock_hdr make_header(const struct vsock *vsock, uint32_t guest_port,
					   uint32_t host_port)
{
	return (struct virtio_vsock_hdr){
		.src_cid = htole64(VMADDR_CID_HOST),
		.dst_cid = htole64(vsock->guest_cid),
		.src_port = htole32(host_port),
		.dst_port = htole32(guest_port),
		.type = htole16(VIRTIO_VSOCK_TYPE_STREAM),
		.op = htole16(VIRTIO_VSOCK_OP_RST),
	};
}

static void send_refusal(struct vsock *vsock)
{
	const struct refusal *refusal = &vsock->refusals[vsock->refusals_at];
	struct virtio_vsock_hdr header =
		make_header(vsock, refusal->guest_port, refusal->host_port);

	vq_copy_in(&vsock->chain, 0, &header, HEADER_LEN);
	vq_push(&vsock->dev.queues[QUEUE_RX], vsock->chain.head, HEADER_LEN);
	vsock->refusals_at = (vsock->refusals_at + 1) % REFUSALS_MAX;
	vsock->n_refusals--;
}

static void send_packet(struct vsock *vsock, struct vsock_conn *conn)
{
	struct virtio_vsock_hdr header = make_header(vsock, conn->guest_port, conn->host_port);
	uint32_t room = vsock->chain.in_len - HEADER_LEN, len;
	const void *payload;

	vsock_conn_take(conn, vsock_conn_due(conn), room < PACKET_MAX ? room : PACKET_MAX, &header,
			&payload);
	len = le32toh(header.len);
	vq_copy_in(&vsock->chain, 0, &header, HEADER_LEN);
	if (len > 0)
		vq_copy_in(&vsock->chain, HEADER_LEN, payload, len);
	vq_push(&vsock->dev.queues[QUEUE_RX], vsock->chain.head, HEADER_LEN + len);
	vsock_conn_taken(conn, len);
	vsock->tx_bytes += len;
}

/* A buffer of the guest's for one packet: 1, 0 when there is none, negative when the queue is
 * broken. */
static int take_buffer(struct vsock *vsock, struct vq *vq)
{
	int r = vq_pop(vq, &vsock->chain);

	if (r == 0 && vq_want_kicks(vq))
		r = vq_pop(vq, &vsock->chain);
	/* One byte of data at least, or a packet of data would carry none for ever. */
	if (r == 1 && (vsock->chain.n_out > 0 || vsock->chain.in_len <= HEADER_LEN))
		return -EBADMSG;
	return r;
}

static void pump_rx(struct vsock *vsock)
{
	struct vq *vq = &vsock->dev.queues[QUEUE_RX];

	vq_no_kicks(vq);
	for (unsigned n = 0; n < vq->size; n++) {
		struct vsock_conn *conn =
			vsock->n_refusals > 0 ? NULL : vsock_table_next_due(&vsock->conns);
		int r;

		if (!conn && vsock->n_refusals == 0)
			return;
		r = take_buffer(vsock, vq);
		if (r < 0)
			virtio_dev_broken(&vsock->dev, "its receive queue");
		if (r <= 0)
			return;
		if (conn)
			send_packet(vsock, conn);
		else
			send_refusal(vsock);
	}
	vsock->dev.kick_again(&vsock->dev, QUEUE_RX);
}

/* The device as a whole. */

static void maybe_drained(struct vsock *vsock)
{
	void (*drained)(void *user) = vsock->drained;

	if (!drained || vsock->pump_pending || vsock->tick_pending ||
	    !vsock_table_is_empty(&vsock->conns))
		return;
	vsock->drained = NULL;
	drained(vsock->drained_user);
}

/* The end of a turn: moves what can be moved both ways, and tells the guest once. */
static void on_pump(struct loop_op *op, int res, uint32_t flags)
{
	struct vsock *vsock = container_of(op, struct vsock, pump_op);
	struct virtio_dev *dev = &vsock->dev;
	bool was_full = vsock->n_refusals == REFUSALS_MAX;

	(void)res;
	(void)flags;
	vsock->pump_pending = false;
	if (dev->active && !dev->broken) {
		pump_rx(vsock);
		if (was_full && !dev->broken)
			pump_tx(vsock);
		vq_flush(&dev->queues[QUEUE_RX]);
		vq_flush(&dev->queues[QUEUE_TX]);
	}
	if (vsock_table_reap(&vsock->conns))
		start_tick(vsock);
	maybe_drained(vsock);
}

static void kick(struct virtio_dev *dev, unsigned queue)
{
	struct vsock *vsock = from_dev(dev);

	if (queue == QUEUE_TX)
		pump_tx(vsock);
	schedule_pump(vsock);
}

static void reset(struct virtio_dev *dev, void (*drained)(void *user), void *user)
{
	struct vsock *vsock = from_dev(dev);

	vsock->drained = drained;
	vsock->drained_user = user;
	vsock->n_refusals = 0;
	vsock_table_kill_all(&vsock->conns);
	if (vsock->tick_pending)
		loop_cancel(vsock->loop, &vsock->tick.op); /* or it ends by itself soon */
	if (vsock_table_reap(&vsock->conns))
		start_tick(vsock);
	maybe_drained(vsock);
}

/* No packet is held from one turn to the next, and connections are the device's: they go on. */
static void reset_queue(struct virtio_dev *dev, unsigned queue, void (*drained)(void *user),
			void *user)
{
	(void)dev;
	(void)queue;
	drained(user);
}

static unsigned counters(const struct virtio_dev *dev, struct virtio_counter *out, unsigned max)
{
	const struct vsock *vsock = (const struct vsock *)(const void *)dev;

	_Static_assert(offsetof(struct vsock, dev) == 0, "a cast that keeps the const");
	const struct virtio_counter all[] = {
		{"rx_bytes", vsock->rx_bytes},	  {"tx_bytes", vsock->tx_bytes},
		{"opened", vsock->n_opened},	  {"open", vsock_table_count_open(&vsock->conns)},
		{"called", vsock->conns.n_calls}, {"refused", vsock->n_refused},
		{"in_line", vsock->line.n},
	};
	return virtio_counters_copy(all, ARRAY_SIZE(all), out, max);
}

static void destroy(struct virtio_dev *dev)
{
	struct vsock *vsock = from_dev(dev);

	for (unsigned i = 0; i < vsock->n_ports; i++)
		close_fdp(&vsock->ports[i].fd);
	vsock_line_close(&vsock->line);
	free(vsock);
}

static const struct virtio_ops vsock_ops = {
	.id = VIRTIO_ID_VSOCK,
	.pci_class = 0x078000, /* communication controller, other */
	.name = "vsock",
	.config_read = config_read,
	.activate = activate,
	.kick = kick,
	.reset = reset,
	.reset_queue = reset_queue,
	.counters = counters,
	.destroy = destroy,
};

int virtio_vsock_new(struct virtio_dev **out, struct loop *loop, uint64_t guest_cid)
{
	struct vsock *vsock = calloc(1, sizeof(*vsock));

	if (!vsock)
		return -ENOMEM;
	vsock->dev.ops = &vsock_ops;
	vsock->dev.n_queues = N_QUEUES;
	vsock->dev.queue_size_max = QUEUE_SIZE;
	vsock->dev.offered = UINT64_C(1) << VIRTIO_F_VERSION_1 |
			     UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC |
			     UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX;
	vsock->loop = loop;
	vsock->guest_cid = guest_cid;
	vsock->pump_op.done = on_pump;
	vsock->tick.op.done = on_tick;
	*out = &vsock->dev;
	return 0;
}
