// SPDX-License-Identifier: Apache-2.0
#include "zone-guest/link.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/runner.h"
#include "base/util.h"
#include "zone-guest/agent.h"

#define PAUSE_FIRST_NS (50 * NS_PER_MS)
#define PAUSE_LAST_NS  NS_PER_S

static void attempt(struct link *link);

static void try_later(struct link *link)
{
	reactor_timer_start(&link->zone->reactor, &link->timer, clock_now_ns() + link->pause_ns);
	link->pause_ns = link->pause_ns * 2 < PAUSE_LAST_NS ? link->pause_ns * 2 : PAUSE_LAST_NS;
}

static void on_lost(void *user)
{
	struct link *link = user;

	link->pause_ns = PAUSE_FIRST_NS;
	try_later(link);
}

static void connected(struct link *link, int fd)
{
	int r = agent_start(link->zone, fd, on_lost, link);

	if (r < 0) {
		log_error("what=session err=%s", strerror(-r));
		try_later(link);
	}
}

/* On Xen both the host's end and the agent's may be the first to go. */
static void on_host_lost(void *user)
{
	struct link *link = user;

	agent_stop(link->zone);
	on_lost(link);
}

static void on_session_lost(void *user)
{
	struct link *link = user;

	vchan_link_end(&link->vchan);
	on_lost(link);
}

static void on_met(void *user, int fd)
{
	struct link *link = user;
	int r = agent_start(link->zone, fd, on_session_lost, link);

	if (r < 0)
		log_error("what=session err=%s", strerror(-r));
}

static void attempt_vchan(struct link *link)
{
	int r = vchan_link_serve(&link->vchan, &link->zone->reactor, on_met, on_host_lost, link);

	if (r == 0)
		return;
	log_warning("what=vchan err=%s", strerror(-r));
	try_later(link);
}

static void on_ready(struct reactor_watch *watch, uint32_t events)
{
	struct link *link = container_of(watch, struct link, watch);
	_cleanup_(close_fdp) int fd = watch->fd;
	socklen_t len = sizeof(int);
	int error = 0;

	(void)events;
	reactor_unwatch(&link->zone->reactor, watch);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error)
		try_later(link);
	else
		connected(link, steal_fd(&fd));
}

static void attempt_vsock(struct link *link)
{
	const struct sockaddr_vm host = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_HOST,
		.svm_port = IDM_PORT,
	};
	_cleanup_(close_fdp) int fd =
		socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0) {
		try_later(link);
	} else if (connect(fd, (const struct sockaddr *)&host, sizeof(host)) == 0) {
		connected(link, steal_fd(&fd));
	} else if (errno != EINPROGRESS ||
		   reactor_watch(&link->zone->reactor, &link->watch, fd, EPOLLOUT) < 0) {
		link->watch.fd = -1;
		try_later(link);
	} else {
		steal_fd(&fd);
	}
}

static void attempt(struct link *link)
{
	if (link->on_xen)
		attempt_vchan(link);
	else
		attempt_vsock(link);
}

static void on_timer(struct reactor_timer *timer)
{
	attempt(container_of(timer, struct link, timer));
}

void link_start(struct link *link, struct zone *zone)
{
	*link = (struct link){
		.zone = zone,
		.watch = {.fd = -1, .ready = on_ready},
		.timer = {.fired = on_timer},
		.pause_ns = PAUSE_FIRST_NS,
		.on_xen = xen_is_here(),
	};
	attempt(link);
}
