// SPDX-License-Identifier: Apache-2.0
#include "supervisor/daemon/wall_clock.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "proto/agent.pb-c.h"

#define SET_TIME_SIZE 16 /* one varint */
#define ON_ITS_WAY_NS (NS_PER_S / 2)
#define TRIES_MAX     5u

static void send_time(struct zone *zone);

/* A time that was long on its way is a wrong one. */
static void told(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct zone *zone = user;

	(void)payload;
	(void)len;
	/* An agent of before this request goes on with its own clock, as does a zone that ends. */
	if (error && error != -ENOSYS && error != -EOPNOTSUPP && error != -ECONNRESET)
		log_warning("zone=%s err=\"%s\" clock not set", zone->row.uuid, text);
	if (!error && clock_now_ns() - zone->time_sent_ns > ON_ITS_WAY_NS &&
	    ++zone->time_tries < TRIES_MAX)
		send_time(zone);
}

static void send_time(struct zone *zone)
{
	Protect__Agent__SetTime message = PROTECT__AGENT__SET_TIME__INIT;
	struct idm *idm = zone_session(zone);
	uint8_t payload[SET_TIME_SIZE];
	struct timespec now;
	size_t len;

	/* A paused zone would read an old time when it goes on. */
	if (!idm || zone->paused || clock_gettime(CLOCK_REALTIME, &now) < 0)
		return;
	message.time_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	len = protect__agent__set_time__pack(&message, payload);
	zone->time_sent_ns = clock_now_ns();
	idm_call(idm, PROTECT__AGENT__METHOD__METHOD_SET_TIME, payload, len,
		 zone->time_sent_ns + AGENT_ANSWER_NS, told, zone, NULL);
}

void wall_clock_tell(struct zone *zone)
{
	zone->time_tries = 0;
	send_time(zone);
}

/*
 * #syscalls daemon: timerfd_settime read
 * #syscalls daemon.start: timerfd_create
 */
/* A timer that never expires, but ends when the clock is set. */
static int arm(int fd)
{
	const struct itimerspec never = {.it_value.tv_sec = INT64_MAX / (int64_t)NS_PER_S};

	return timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0
		       ? -errno
		       : 0;
}

static void clock_was_set(void *user, uint32_t events)
{
	struct daemon *d = user;
	uint64_t expired;

	(void)events;
	if (read(d->wall_clock_fd, &expired, sizeof(expired)) < 0 && errno == EAGAIN)
		return;
	log_info("the host's clock was set");
	arm(d->wall_clock_fd);
	for (struct zone *z = d->zones; z; z = z->next)
		wall_clock_tell(z);
}

int wall_clock_start(struct daemon *d, struct error *err)
{
	int r;

	d->wall_clock_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	r = d->wall_clock_fd < 0 ? -errno : arm(d->wall_clock_fd);
	if (r == 0)
		r = watch_new(&d->hub, d->wall_clock_fd, clock_was_set, d, &d->wall_clock_watch);
	if (r < 0)
		return error_set_errno(err, r, "a timer that follows the clock");
	watch_set(d->wall_clock_watch, POLLIN);
	return 0;
}

void wall_clock_stop(struct daemon *d)
{
	d->wall_clock_watch = watch_free(d->wall_clock_watch);
	close_fdp(&d->wall_clock_fd);
}
