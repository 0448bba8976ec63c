// SPDX-License-Identifier: Apache-2.0
/*
 * From whatever ends a zone to nothing left: ask the runner to end, kill it if it does not, reap
 * it, read why it ended, give back what the zone held, tell whoever waits; remove the zone if that
 * was wanted.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/runner.h"
#include "base/util.h"
#include "supervisor/daemon/hold.h"
#include "supervisor/daemon/keep.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"

#define GRACE_NS	(2 * NS_PER_S) /* for a runner that was asked to end, or seems to have ended */
#define REAP_RETRY_NS	(50 * NS_PER_MS)
#define LAUNCH_RETRY_NS (500 * NS_PER_MS) /* while protect-launch itself does not answer */
#define RECORD_MAX	255u

static void release(struct zone *zone)
{
	struct daemon *d = zone->daemon;

	if (zone->row.slot == SLOT_NONE)
		return;
	zone_network_end(zone);
	volume_list_drop(&zone->volumes);
	ledger_release(&d->ledger, zone->row.memory_mib, zone->row.vcpus);
	zone_slot_release(d, zone->row.slot);
	zone->row.slot = SLOT_NONE;
}

void zone_undo(struct zone *zone)
{
	zone->storage = storage_cancel(zone->storage);
	zone_launch_close(zone);
	release(zone);
	zone->phase = ZONE_PHASE_ENDED;
	log_warning("zone=%s name=%s err=\"%s\" not launched", zone->row.uuid, zone->row.name,
		    zone->failure.text);
	server_fail_error(zone->daemon, zone->launcher, &zone->failure);
	zone_remove(zone);
}

/* The record's first line as "REASON[ DETAIL]"; "" when the runner left none. */
static void read_record(const struct zone *zone, char line[static RECORD_MAX + 1])
{
	_cleanup_(close_fdp) int fd = -1;
	char path[256], raw[RECORD_MAX + 1];
	ssize_t n = 0;

	if (zone_path(zone, "exit", path, sizeof(path)) == 0)
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0)
		n = io_pread_full(fd, raw, RECORD_MAX, 0);
	raw[n > 0 ? n : 0] = '\0';
	raw[strcspn(raw, "\n")] = '\0';
	daemon_copy_text(line, RECORD_MAX + 1, raw);
}

static bool is_ending(const char *word)
{
	static const char *const words[] = {RUNNER_EXIT_POWEROFF, RUNNER_EXIT_REBOOT,
					    RUNNER_EXIT_PANIC, RUNNER_EXIT_TRIPLE_FAULT,
					    RUNNER_EXIT_KILLED};

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		if (strncmp(word, words[i], strlen(words[i])) == 0)
			return true;
	return false;
}

/* Why it ended, from our own reason, the record and the wait status, in this order. Returns whether
 * the runner itself failed. */
static bool find_reason(struct zone *zone, int wait_status, uint32_t oom_kills)
{
	size_t size = sizeof(zone->row.reason);
	char line[RECORD_MAX + 1];

	read_record(zone, line);
	if (zone->failure.code) {
		snprintf(zone->row.reason, size, "%.*s", (int)size - 1, zone->failure.text);
		return true;
	}
	/* What a runner wrote of itself is not believed of one that was killed for want of memory.
	 */
	if (is_ending(line) && !oom_kills) {
		snprintf(zone->row.reason, size, "%s", line);
		return false;
	}
	if (oom_kills)
		snprintf(zone->row.reason, size,
			 "out of memory: the zone with its runner reached its limit of %llu MiB",
			 (unsigned long long)(limits_of(&zone->row).memory_bytes / MIB));
	else if (strncmp(line, RUNNER_EXIT_ERROR, strlen(RUNNER_EXIT_ERROR)) == 0)
		snprintf(zone->row.reason, size, "%s",
			 line[strlen(RUNNER_EXIT_ERROR)] ? line + strlen(RUNNER_EXIT_ERROR) + 1
							 : line);
	else if (wait_status >= 0 && WIFSIGNALED(wait_status))
		snprintf(zone->row.reason, size, "runner killed by signal %d",
			 WTERMSIG(wait_status));
	else if (wait_status >= 0 && WIFEXITED(wait_status))
		snprintf(zone->row.reason, size, "runner ended with status %d",
			 WEXITSTATUS(wait_status));
	else
		snprintf(zone->row.reason, size,
			 "runner killed or crashed; how is not known, protect-launch has been "
			 "restarted since");
	return true;
}

/*
 * Tells the launcher that waits. A zone whose runner could not even start it is removed, as if it
 * had never been; one that ran stays in the list with its log. Returns whether to remove it.
 */
static bool answer_launcher(struct zone *zone, bool runner_failed)
{
	bool owed = zone->launcher.client != 0;

	if (!owed || zone->was_ready)
		return false;
	if (zone->failure.code)
		server_fail_error(zone->daemon, zone->launcher, &zone->failure);
	else if (runner_failed)
		server_fail(zone->daemon, zone->launcher, -EIO,
			    "zone '%s' could not be started: %s", zone->row.name, zone->row.reason);
	else
		server_fail(zone->daemon, zone->launcher, -EIO,
			    "zone '%s' ended before it was ready: %s; 'protect zone logs %s' shows "
			    "its console",
			    zone->row.name, zone->row.reason, zone->row.name);
	zone->launcher = (struct ticket){0};
	return runner_failed && !zone->failure.code;
}

/* wait_status: -1 = not known. */
static void finish(struct zone *zone, int wait_status, const struct launch_reply *reply)
{
	bool runner_failed = find_reason(zone, wait_status, reply->oom_kills), remove;

	timer_stop(&zone->timer);
	zone->death = watch_free(zone->death);
	close_fdp(&zone->pidfd);
	zone_disconnect(zone);
	release(zone);
	zone->paused = false;
	zone->phase = ZONE_PHASE_ENDED;
	if (zone->destroy_wanted)
		zone_set_state(zone, PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_DESTROYING);
	else
		zone_set_state(zone, runner_failed
					     ? PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_FAILED
					     : PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_EXITED);
	log_info("zone=%s name=%s memory_peak_mib=%llu oom_kills=%u reason=\"%s\" ended",
		 zone->row.uuid, zone->row.name,
		 (unsigned long long)(reply->memory_peak_bytes / MIB), reply->oom_kills,
		 zone->row.reason);
	workloads_zone_ended(zone);
	hold_end(zone);
	followers_end(&zone->followers);
	keep_end(zone->daemon, zone->row.uuid, zone->log);
	remove = answer_launcher(zone, runner_failed);
	if (remove || zone->destroy_wanted)
		zone_remove(zone);
}

static void ask_launch(struct zone *zone, uint32_t op, uint32_t signal, launch_fn *fn)
{
	struct launch_request request = {.op = op, .signal = signal};

	uuid_parse(zone->row.uuid, &request.uuid);
	launch_cancel(zone->launch);
	zone->launch = launch_call(&zone->daemon->hub, zone->daemon->options.launch_socket,
				   &request, NULL, 0, fn, zone);
}

static void reap_again(void *user)
{
	zone_reap(user);
}

static void killed(void *user, const struct launch_reply *reply, int pidfd)
{
	struct zone *zone = user;

	(void)pidfd;
	zone->launch = NULL;
	if (reply->error && reply->error != -ENOENT && reply->error != -ESRCH)
		log_warning("zone=%s err=\"%s\" runner not killed", zone->row.uuid, reply->text);
	zone->phase = ZONE_PHASE_REAP;
	zone_reap(zone);
}

static void kill_runner(void *user)
{
	struct zone *zone = user;

	zone->kill_sent = true;
	ask_launch(zone, LAUNCH_SIGNAL, SIGKILL, killed);
	if (!zone->launch)
		timer_set(&zone->daemon->hub, &zone->timer, clock_now_ns() + LAUNCH_RETRY_NS,
			  kill_runner, zone);
}

/* protect-launch does not answer at all: whoever waits for the zone need not; the rest is done when
 * it does. */
static void give_up_launcher(struct zone *zone)
{
	if (!zone->launcher.client || zone->was_ready)
		return;
	if (!zone->failure.code)
		error_set(&zone->failure, -ETIMEDOUT, "zone '%s': protect-launch does not answer",
			  zone->row.name);
	server_fail_error(zone->daemon, zone->launcher, &zone->failure);
	zone->launcher = (struct ticket){0};
	zone->destroy_wanted = true;
	zone_set_state(zone, PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_DESTROYING);
}

static void reaped(void *user, const struct launch_reply *reply, int pidfd)
{
	struct zone *zone = user;
	uint64_t now_ns = clock_now_ns();

	(void)pidfd;
	zone->launch = NULL;
	/* One that an earlier protect-launch started is known by nobody: its status is lost. */
	if (!reply->error || (reply->error == -ENOENT && reply->version)) {
		finish(zone, reply->error ? -1 : reply->wait_status, reply);
		return;
	}
	if (reply->error != -EBUSY) {
		if (!zone->kill_sent)
			log_warning("zone=%s err=\"%s\" not reaped yet", zone->row.uuid,
				    reply->text);
		zone->kill_sent = true;
		if (reply->error == -ETIMEDOUT)
			give_up_launcher(zone);
		timer_set(&zone->daemon->hub, &zone->timer, now_ns + LAUNCH_RETRY_NS, reap_again,
			  zone);
		return;
	}
	/* It still runs though its socket is closed: it had its time. Asked again when that did not
	 * help. */
	if (now_ns - zone->reap_since_ns >= GRACE_NS) {
		zone->reap_since_ns = now_ns;
		kill_runner(zone);
		return;
	}
	timer_set(&zone->daemon->hub, &zone->timer, now_ns + REAP_RETRY_NS, reap_again, zone);
}

void zone_reap(struct zone *zone)
{
	if (!zone->reap_since_ns)
		zone->reap_since_ns = clock_now_ns();
	ask_launch(zone, LAUNCH_REAP, 0, reaped);
	if (!zone->launch)
		timer_set(&zone->daemon->hub, &zone->timer, clock_now_ns() + LAUNCH_RETRY_NS,
			  reap_again, zone);
}

void zone_runner_gone(struct zone *zone)
{
	if (zone->phase != ZONE_PHASE_BOOT && zone->phase != ZONE_PHASE_READY &&
	    zone->phase != ZONE_PHASE_ENDING)
		return;
	zone->phase = ZONE_PHASE_REAP;
	zone_reap(zone);
}

static void ask_runner_to_end(struct zone *zone)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Kill end = PROTECT__RUNNER__KILL__INIT;

	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_KILL;
	request.kill = &end;
	zone->phase = ZONE_PHASE_ENDING;
	if (!zone->control || runner_request(zone->control, &request, -1, NULL, NULL) < 0) {
		kill_runner(zone);
		return;
	}
	timer_set(&zone->daemon->hub, &zone->timer, clock_now_ns() + GRACE_NS, kill_runner, zone);
}

static void end(struct zone *zone)
{
	switch (zone->phase) {
	case ZONE_PHASE_KERNEL:
		zone_undo(zone);
		return;
	case ZONE_PHASE_BOOT:
	case ZONE_PHASE_READY:
		ask_runner_to_end(zone);
		return;
	case ZONE_PHASE_ENDED:
		if (zone->destroy_wanted)
			zone_remove(zone);
		return;
	case ZONE_PHASE_SPAWN: /* goes on when launch has answered */
	case ZONE_PHASE_ENDING:
	case ZONE_PHASE_REAP:
		return;
	}
}

void zone_fail(struct zone *zone, int code, const char *format, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (zone->phase != ZONE_PHASE_ENDED)
		error_set(&zone->failure, code, "%s", text);
	end(zone);
}

void zone_destroy(struct zone *zone, struct ticket ticket, bool wait)
{
	struct daemon *d = zone->daemon;

	zone->destroy_wanted = true;
	if (wait)
		waiters_add(d, &zone->gone, ticket);
	zone_set_state(zone, PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_DESTROYING);
	/* The last thing done with the zone: it may be gone after it. */
	zone_fail(zone, -ECANCELED, "zone '%s' was destroyed", zone->row.name);
	if (!wait)
		server_reply_empty(d, ticket);
}
