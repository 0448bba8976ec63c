// SPDX-License-Identifier: Apache-2.0
#include "xen-compat/idm.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/util.h"
#include "xen-compat/channel.h"

#define PAUSE_FIRST_NS (10 * NS_PER_MS)
#define PAUSE_LAST_NS  (200 * NS_PER_MS)

static void start(struct idm_line *line);
static void pump(struct idm_line *line);

/* Disconnects both ends; once nothing is under way, whoever came meanwhile has his turn. */
static void drop(struct idm_line *line)
{
	if (line->fd < 0)
		return;
	line->closing = true;
	channel_close(&line->channel, line->xen, line->events);
	if (line->receiving)
		loop_cancel(line->loop, &line->recv_op);
	if (line->sending)
		loop_cancel(line->loop, &line->send_op);
	if (line->timing)
		loop_cancel(line->loop, &line->timer.op);
	if (line->receiving || line->sending || line->timing)
		return;
	loop_slot_remove(line->loop, line->slot);
	shutdown(line->fd, SHUT_RDWR); /* a removed slot keeps it open for a while */
	close_fdp(&line->fd);
	line->closing = false;
	if (line->next_fd >= 0 && !line->ended)
		start(line);
}

static void attempt(struct idm_line *line);

static void try_later(struct idm_line *line)
{
	line->timing =
		loop_timer_start(line->loop, &line->timer, clock_now_ns() + line->pause_ns) == 0;
	if (line->pause_ns * 2 <= PAUSE_LAST_NS)
		line->pause_ns *= 2;
	if (!line->timing)
		drop(line);
}

static void time_came(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct idm_line *line = container_of(op, struct idm_line, timer.op);

	(void)res;
	(void)cqe_flags;
	line->timing = false;
	if (line->closing)
		drop(line);
	else
		attempt(line);
}

static void fired(void *user)
{
	pump(user);
}

/* Looks whether the zone's agent is there. */
static void attempt(struct idm_line *line)
{
	static struct log_limit limit;
	int r = channel_open(&line->channel, line->xen, line->events, line->domid, fired, line);

	if (r == 0) {
		pump(line);
		return;
	}
	if (r != -ENOENT && r != -ENOTCONN && log_allowed(&limit, 4, NULL))
		log_info("msg=\"the zone's agent cannot be met yet\" err=%d", -r);
	try_later(line);
}

static void receive(struct idm_line *line)
{
	struct idm_bytes *bytes = &line->to_zone;

	if (line->receiving || line->closing || bytes->start < bytes->end)
		return;
	bytes->start = bytes->end = 0;
	line->receiving = loop_recv(line->loop, &line->recv_op, line->slot, bytes->data,
				    sizeof(bytes->data), 0) == 0;
	if (!line->receiving)
		drop(line);
}

static void received(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct idm_line *line = container_of(op, struct idm_line, recv_op);

	(void)cqe_flags;
	line->receiving = false;
	if (res <= 0 || line->closing) {
		drop(line);
		return;
	}
	line->to_zone.end = (uint32_t)res;
	if (line->channel.page)
		pump(line);
}

static void send_more(struct idm_line *line)
{
	struct idm_bytes *bytes = &line->from_zone;

	line->sending =
		loop_send(line->loop, &line->send_op, line->slot, bytes->data + bytes->start,
			  bytes->end - bytes->start, MSG_NOSIGNAL) == 0;
	if (!line->sending)
		drop(line);
}

static void sent(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct idm_line *line = container_of(op, struct idm_line, send_op);

	(void)cqe_flags;
	line->sending = false;
	if (res <= 0 || line->closing) {
		drop(line);
		return;
	}
	line->from_zone.start += (uint32_t)res;
	if (line->from_zone.start < line->from_zone.end)
		send_more(line);
	else
		pump(line);
}

/* Each returns 0 or a negative errno. */
static int pump_to_zone(struct idm_line *line, bool *event)
{
	struct idm_bytes *bytes = &line->to_zone;
	ssize_t n = 1;

	while (bytes->start < bytes->end && n > 0) {
		n = vchan_write(&line->channel.vchan, bytes->data + bytes->start,
				bytes->end - bytes->start, event);
		if (n > 0) {
			bytes->start += (uint32_t)n;
			line->tx_bytes += (uint64_t)n;
		}
	}
	return n < 0 ? (int)n : 0;
}

static int pump_from_zone(struct idm_line *line, bool *event)
{
	struct idm_bytes *bytes = &line->from_zone;
	ssize_t n;

	if (line->sending)
		return 0;
	n = vchan_read(&line->channel.vchan, bytes->data, sizeof(bytes->data), event);
	if (n < 0)
		return (int)n;
	if (n == 0)
		return vchan_peer(&line->channel.vchan) == VCHAN_THERE ? 0 : -ECONNRESET;
	bytes->start = 0;
	bytes->end = (uint32_t)n;
	line->rx_bytes += (uint64_t)n;
	return 0;
}

/* Moves what can be moved; what then stops it wakes it again. */
static void pump(struct idm_line *line)
{
	bool event = false;
	int r;

	if (line->closing || !line->channel.page)
		return;
	r = pump_to_zone(line, &event);
	if (r == 0)
		r = pump_from_zone(line, &event);
	if (event)
		events_notify(line->events, line->channel.port);
	if (r < 0) {
		drop(line);
		return;
	}
	if (!line->sending && line->from_zone.start < line->from_zone.end)
		send_more(line);
	receive(line);
}

static void start(struct idm_line *line)
{
	line->fd = steal_fd(&line->next_fd);
	line->slot = loop_slot_add(line->loop, line->fd);
	line->pause_ns = PAUSE_FIRST_NS;
	line->to_zone.start = line->to_zone.end = 0;
	line->from_zone.start = line->from_zone.end = 0;
	if (line->slot < 0) {
		close_fdp(&line->fd);
		return;
	}
	receive(line); /* so that it is noticed when he goes while he waits */
	if (line->fd >= 0)
		attempt(line);
}

void idm_line_init(struct idm_line *line, struct loop *loop, struct xen *xen, struct events *events,
		   uint32_t domid)
{
	*line = (struct idm_line){.xen = xen,
				  .events = events,
				  .loop = loop,
				  .domid = domid,
				  .fd = -1,
				  .next_fd = -1,
				  .recv_op.done = received,
				  .send_op.done = sent,
				  .timer.op.done = time_came};
}

void idm_line_offer(struct idm_line *line, int fd)
{
	close_fdp(&line->next_fd);
	line->next_fd = fd;
	if (line->ended)
		close_fdp(&line->next_fd);
	else if (line->fd >= 0)
		drop(line);
	else
		start(line);
}

void idm_line_close(struct idm_line *line)
{
	line->ended = true;
	close_fdp(&line->next_fd);
	drop(line);
}

bool idm_line_is_closed(const struct idm_line *line)
{
	return line->fd < 0;
}
