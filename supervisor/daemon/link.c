// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/link.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "idm-vsock/pump.h"

struct link {
	struct link *next;
	struct hub *hub;
	int fd;
	struct idm *idm;
	struct watch *watch;
	struct timer deadline;
	link_closed_fn *closed;
	void *user;
	bool dead;
	int error;
	struct idm_pump pump;
};

static void link_fail(struct link *link, int error)
{
	if (link->dead)
		return;
	link->dead = true;
	link->error = error;
	hub_touch(link->hub);
}

static void link_ready(void *user, uint32_t events)
{
	struct link *link = user;
	int r;

	(void)events;
	if (link->dead)
		return;
	r = idm_pump_run(&link->pump, clock_now_ns());
	if (r < 0)
		link_fail(link, r);
}

static void link_tick(void *user)
{
	struct link *link = user;

	if (!link->dead)
		idm_tick(link->idm, clock_now_ns());
}

int link_new(struct hub *hub, int fd, enum idm_role role, const struct idm_handler *handler,
	     link_closed_fn *closed, void *user, struct link **out)
{
	_cleanup_(close_fdp) int owned = fd;
	struct link *link = calloc(1, sizeof(*link));
	int r = -ENOMEM;

	if (!link)
		return -ENOMEM;
	link->hub = hub;
	link->closed = closed;
	link->user = user;
	link->idm = idm_new(role, handler, user);
	if (link->idm)
		r = idm_pump_init(&link->pump, fd, link->idm);
	if (r == 0)
		r = watch_new(hub, fd, link_ready, link, &link->watch);
	if (r < 0) {
		link->idm = idm_free(link->idm);
		free(link);
		return r;
	}
	link->fd = steal_fd(&owned);
	link->next = hub->links;
	hub->links = link;
	hub_touch(hub);
	*out = link;
	return 0;
}

struct idm *link_idm(const struct link *link)
{
	return link->idm;
}

void link_accept_fds(struct link *link)
{
	link->pump.takes_fds = true;
}

unsigned link_take_fds(struct link *link, int *fds, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < link->pump.n_fds; i++)
		if (n < max)
			fds[n++] = link->pump.fds[i];
		else
			close(link->pump.fds[i]);
	link->pump.n_fds = 0;
	return n;
}

void link_close(struct link *link)
{
	link_fail(link, 0);
}

static void link_serve(struct link *link)
{
	uint64_t deadline_ns;
	int r = idm_pump_flush(&link->pump);

	if (r < 0) {
		link_fail(link, r);
		return;
	}
	watch_set(link->watch, (uint32_t)(unsigned short)idm_pump_events(&link->pump));
	deadline_ns = idm_next_deadline(link->idm);
	if (deadline_ns && deadline_ns <= clock_now_ns()) {
		/* Mostly a stream that has room again: what its owner writes now goes out with the
		 * next sweep. */
		idm_tick(link->idm, clock_now_ns());
		hub_touch(link->hub);
		deadline_ns = idm_next_deadline(link->idm);
	}
	if (deadline_ns)
		timer_set(link->hub, &link->deadline, deadline_ns, link_tick, link);
	else
		timer_stop(&link->deadline);
}

static struct link *take_dead(struct hub *hub)
{
	for (struct link **place = &hub->links; *place; place = &(*place)->next) {
		struct link *link = *place;

		if (!link->dead)
			continue;
		*place = link->next;
		return link;
	}
	return NULL;
}

void links_sweep(struct hub *hub)
{
	struct link *link;

	for (link = hub->links; link; link = link->next)
		if (!link->dead)
			link_serve(link);
	while ((link = take_dead(hub))) {
		timer_stop(&link->deadline);
		link->watch = watch_free(link->watch);
		link->idm = idm_free(link->idm);
		close_fdp(&link->fd);
		link_take_fds(link, NULL, 0);
		if (link->closed)
			link->closed(link->user, link->error);
		free(link);
		/* What it held may have written to other sessions while it ended. */
		hub_touch(hub);
	}
}
