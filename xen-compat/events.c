// SPDX-License-Identifier: Apache-2.0
#include "xen-compat/events.h"

#include <errno.h>
#include <poll.h>

#include "base/io.h"
#include "base/log.h"
#include "base/util.h"

#define TURN_MAX 16u /* ports that one turn serves: others in the loop come first then */

static void wait(struct events *events)
{
	if (loop_poll(events->loop, &events->op, events->slot, POLLIN) < 0)
		log_error("msg=\"event channels are no longer heard\"");
}

static void serve(struct events *events, evtchn_port_t port)
{
	for (unsigned i = 0; i < EVENTS_PORTS_MAX; i++) {
		struct events_port *entry = &events->ports[i];

		if (entry->port != port)
			continue;
		/* Before the handler looks: what comes while it does fires again. */
		xenevtchn_unmask(events->handle, port);
		entry->fired(entry->user);
		return;
	}
}

static void ready(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct events *events = container_of(op, struct events, op);

	(void)cqe_flags;
	if (res < 0)
		return;
	for (unsigned i = 0; i < TURN_MAX; i++) {
		int port = xenevtchn_pending(events->handle);

		if (port <= 0)
			break;
		serve(events, (evtchn_port_t)port);
	}
	wait(events);
}

int events_open(struct events *events, struct xentoollog_logger *logger, struct error *err)
{
	*events = (struct events){.slot = -1, .op.done = ready};
	events->handle = xenevtchn_open(logger, 0);
	if (!events->handle)
		return error_set_errno(err, -errno, "/dev/xen/evtchn; load xen-evtchn");
	return io_set_nonblock(xenevtchn_fd(events->handle), 1);
}

int events_start(struct events *events, struct loop *loop)
{
	events->loop = loop;
	events->slot = loop_slot_add(loop, xenevtchn_fd(events->handle));
	if (events->slot < 0)
		return events->slot;
	wait(events);
	return 0;
}

void events_close(struct events *events)
{
	if (events->handle)
		xenevtchn_close(events->handle);
	events->handle = NULL;
}

int events_bind(struct events *events, uint32_t domid, evtchn_port_t remote,
		void (*fired)(void *user), void *user)
{
	for (unsigned i = 0; i < EVENTS_PORTS_MAX; i++) {
		int port;

		if (events->ports[i].port)
			continue;
		port = xenevtchn_bind_interdomain(events->handle, domid, remote);
		if (port <= 0)
			return port < 0 && errno ? -errno : -EIO;
		events->ports[i] = (struct events_port){
			.port = (evtchn_port_t)port, .fired = fired, .user = user};
		return port;
	}
	return -ENOSPC;
}

void events_unbind(struct events *events, evtchn_port_t port)
{
	for (unsigned i = 0; i < EVENTS_PORTS_MAX; i++)
		if (port && events->ports[i].port == port)
			events->ports[i].port = 0;
	if (port && events->handle)
		xenevtchn_unbind(events->handle, port);
}

void events_notify(struct events *events, evtchn_port_t port)
{
	xenevtchn_notify(events->handle, port);
}
