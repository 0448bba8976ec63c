// SPDX-License-Identifier: Apache-2.0
#include "protect/shim/poller.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/clock.h"

int poller_init(struct poller *poller)
{
	*poller = (struct poller){.epoll = epoll_create1(EPOLL_CLOEXEC)};
	return poller->epoll < 0 ? -errno : 0;
}

void poller_deinit(struct poller *poller)
{
	close_fdp(&poller->epoll);
}

int poller_watch(struct poller *poller, struct source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};
	int op = !events ? EPOLL_CTL_DEL : source->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (events == source->events)
		return 0;
	if (epoll_ctl(poller->epoll, op, source->fd, &event) < 0)
		return -errno;
	source->events = events;
	return 0;
}

void alarm_stop(struct poller *poller, struct alarm *alarm)
{
	for (struct alarm **place = &poller->alarms; *place; place = &(*place)->next)
		if (*place == alarm) {
			*place = alarm->next;
			break;
		}
	alarm->deadline_ns = 0;
}

void alarm_set(struct poller *poller, struct alarm *alarm, uint64_t deadline_ns,
	       void (*due)(void *user), void *user)
{
	alarm_stop(poller, alarm);
	*alarm = (struct alarm){
		.next = poller->alarms, .deadline_ns = deadline_ns, .due = due, .user = user};
	poller->alarms = alarm;
}

static struct alarm *earliest(const struct poller *poller)
{
	struct alarm *found = NULL;

	for (struct alarm *a = poller->alarms; a; a = a->next)
		if (!found || a->deadline_ns < found->deadline_ns)
			found = a;
	return found;
}

/* Until the next alarm, but no longer than timeout_ms (-1 = for ever). */
static int wait_ms(const struct poller *poller, int timeout_ms)
{
	const struct alarm *alarm = earliest(poller);
	uint64_t now_ns = clock_now_ns(), ms;

	if (!alarm)
		return timeout_ms;
	if (alarm->deadline_ns <= now_ns)
		return 0;
	ms = (alarm->deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
	if (ms > INT_MAX)
		ms = INT_MAX;
	return timeout_ms >= 0 && timeout_ms < (int)ms ? timeout_ms : (int)ms;
}

static void run_alarms(struct poller *poller)
{
	uint64_t now_ns = clock_now_ns();
	struct alarm *alarm;

	while ((alarm = earliest(poller)) && alarm->deadline_ns <= now_ns) {
		alarm_stop(poller, alarm);
		alarm->due(alarm->user);
	}
}

int poller_turn(struct poller *poller, int timeout_ms)
{
	struct epoll_event event;
	int n = epoll_wait(poller->epoll, &event, 1, wait_ms(poller, timeout_ms));

	if (n < 0 && errno != EINTR)
		return -errno;
	if (n > 0) {
		const struct source *source = event.data.ptr;

		source->ready(source->user, event.events);
	}
	run_alarms(poller);
	if (poller->settle)
		poller->settle(poller->user);
	return 0;
}

int poller_run(struct poller *poller)
{
	int r = 0;

	while (r == 0 && !poller->stopped)
		r = poller_turn(poller, -1);
	return r;
}
