// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/vchan_link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"

#define ORDER	   15u /* 32 KiB each way */
#define RING_PAGES (1u << (ORDER - VCHAN_ORDER_MIN))
#define PAGES	   (1u + 2u * RING_PAGES)

/* The reference last: what is there when it is, is whole. */
static int publish(const struct vchan_link *link, uint32_t reference)
{
	char text[16];
	int r = xen_store_remove(VCHAN_IDM_NODE);

	if (r < 0 && r != -ENOENT)
		return r;
	snprintf(text, sizeof(text), "%" PRIu32, link->share.port);
	r = xen_store_write(VCHAN_IDM_NODE "/event-channel", text);
	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "%" PRIu32, reference);
	return xen_store_write(VCHAN_IDM_NODE "/ring-ref", text);
}

void vchan_link_end(struct vchan_link *link)
{
	if (!link->share.pages)
		return;
	xen_store_remove(VCHAN_IDM_NODE);
	vchan_leave(&link->vchan);
	xen_send_event(&link->share);
	reactor_unwatch(link->reactor, &link->events);
	if (link->socket.fd >= 0) {
		int fd = link->socket.fd;

		reactor_unwatch(link->reactor, &link->socket);
		close(fd);
	}
	xen_unshare(&link->share);
}

static void lose(struct vchan_link *link)
{
	vchan_link_end(link);
	link->lost(link->user);
}

/* Each returns 0 or a negative errno. */
static int pump_to_host(struct vchan_link *link, bool *event)
{
	struct vchan_link_bytes *bytes = &link->to_host;
	ssize_t n;

	for (;;) {
		if (bytes->start == bytes->end) {
			n = recv(link->socket.fd, bytes->data, sizeof(bytes->data), MSG_DONTWAIT);
			if (n <= 0)
				return n < 0 && errno == EAGAIN ? 0 : -ECONNRESET;
			bytes->start = 0;
			bytes->end = (uint32_t)n;
		}
		n = vchan_write(&link->vchan, bytes->data + bytes->start, bytes->end - bytes->start,
				event);
		if (n <= 0)
			return (int)n;
		bytes->start += (uint32_t)n;
	}
}

static int pump_from_host(struct vchan_link *link, bool *event)
{
	struct vchan_link_bytes *bytes = &link->from_host;
	ssize_t n;

	for (;;) {
		if (bytes->start == bytes->end) {
			n = vchan_read(&link->vchan, bytes->data, sizeof(bytes->data), event);
			if (n <= 0)
				return n < 0 || vchan_peer(&link->vchan) == VCHAN_THERE
					       ? (int)n
					       : -ECONNRESET;
			bytes->start = 0;
			bytes->end = (uint32_t)n;
		}
		n = send(link->socket.fd, bytes->data + bytes->start, bytes->end - bytes->start,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n <= 0)
			return n < 0 && errno == EAGAIN ? 0 : -ECONNRESET;
		bytes->start += (uint32_t)n;
	}
}

static void pump(struct vchan_link *link)
{
	uint32_t wanted = 0;
	bool event = false;
	int r = pump_from_host(link, &event);

	if (r == 0)
		r = pump_to_host(link, &event);
	if (event)
		xen_send_event(&link->share);
	if (link->to_host.start == link->to_host.end)
		wanted |= EPOLLIN;
	if (link->from_host.start < link->from_host.end)
		wanted |= EPOLLOUT;
	if (r < 0 || reactor_rewatch(link->reactor, &link->socket, wanted) < 0)
		lose(link);
}

static void on_socket(struct reactor_watch *watch, uint32_t events)
{
	(void)events;
	pump(container_of(watch, struct vchan_link, socket));
}

/* The host connected: from here on there is a session. */
static int meet(struct vchan_link *link)
{
	int ends[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return -errno;
	r = reactor_watch(link->reactor, &link->socket, ends[0], EPOLLIN);
	if (r < 0) {
		close(ends[0]);
		close(ends[1]);
		return r;
	}
	link->met(link->user, ends[1]);
	return 0;
}

static void on_event(struct reactor_watch *watch, uint32_t events)
{
	struct vchan_link *link = container_of(watch, struct vchan_link, events);
	enum vchan_live host;

	(void)events;
	xen_take_event(&link->share);
	host = vchan_peer(&link->vchan);
	if (host == VCHAN_EXPECTED)
		return;
	if (link->socket.fd < 0 && (host == VCHAN_GONE || meet(link) < 0))
		lose(link);
	else
		pump(link);
}

int vchan_link_serve(struct vchan_link *link, struct reactor *reactor,
		     void (*met)(void *user, int fd), void (*lost)(void *user), void *user)
{
	uint32_t grants[PAGES];
	uint8_t *pages;
	int r;

	link->reactor = reactor;
	link->met = met;
	link->lost = lost;
	link->user = user;
	link->events = (struct reactor_watch){.fd = -1, .ready = on_event};
	link->socket = (struct reactor_watch){.fd = -1, .ready = on_socket};
	link->to_host.start = link->to_host.end = 0;
	link->from_host.start = link->from_host.end = 0;
	r = xen_share(&link->share, PAGES, grants);
	if (r < 0)
		return r;
	pages = link->share.pages;
	vchan_init_server(&link->vchan, link->share.pages, ORDER, pages + VCHAN_PAGE_SIZE,
			  pages + VCHAN_PAGE_SIZE * (1 + RING_PAGES));
	memcpy(link->vchan.page->grants, grants + 1, sizeof(grants) - sizeof(grants[0]));
	r = reactor_watch(reactor, &link->events, link->share.event_fd, EPOLLIN);
	if (r == 0)
		r = publish(link, grants[0]);
	if (r < 0)
		vchan_link_end(link);
	return r;
}
