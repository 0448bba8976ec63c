// SPDX-License-Identifier: Apache-2.0
/*
 * The connections to a running zone: control and console to its runner, IDM through the runner to
 * zone-init. A lost IDM connection is made again until the runner ends; a fresh one starts with
 * BOOTSTRAP, any other with LIST.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/runner.h"
#include "proto/agent.pb-c.h"
#include "base/util.h"
#include "supervisor/daemon/exec.h"
#include "supervisor/daemon/guest_settings.h"
#include "supervisor/daemon/hold.h"
#include "supervisor/daemon/policy_driver.h"
#include "supervisor/daemon/snoop.h"
#include "supervisor/daemon/spec.h"
#include "supervisor/daemon/stats.h"
#include "supervisor/daemon/volume_moves.h"
#include "supervisor/daemon/wall_clock.h"
#include "supervisor/daemon/workload.h"
#include "supervisor/daemon/zone.h"
#include "supervisor/daemon/zone_nics.h"

#define ENTROPY_BYTES	    64u
#define RECONNECT_NS	    (200 * NS_PER_MS) /* the first time; then twice as long each time */
#define TAKE_UP_AGAIN_NS    NS_PER_S
#define RECONNECTS_MAX	    5u		    /* doublings */
#define LASTING_NS	    (10 * NS_PER_S) /* a connection that held so long counts as a good one */
#define DISK_ANSWER_NS	    (20 * NS_PER_S) /* a detach has 10 s, and by force 5 s more */
#define CONSOLE_CHUNK	    16384u
#define CONSOLE_BUDGET	    16u /* chunks in one go */
#define CONSOLE_SLICE_NS    (100 * NS_PER_MS)
#define CONSOLE_SLICE_BYTES (256u * 1024) /* in a slice: 2.5 MiB a second */

static int connect_agent(struct zone *zone, bool fresh);

static void reconnect(void *user);

/* A zone that takes connections only to end them costs us a little less each time. */
static void reconnect_later(struct zone *zone)
{
	uint64_t wait_ns = RECONNECT_NS << zone->reconnects;

	if (zone->reconnects < RECONNECTS_MAX)
		zone->reconnects++;
	timer_set(&zone->daemon->hub, &zone->reconnect, clock_now_ns() + wait_ns, reconnect, zone);
}

static void reconnect(void *user)
{
	struct zone *zone = user;

	if (connect_agent(zone, false) < 0)
		reconnect_later(zone);
}

void zone_reconnect(struct zone *zone)
{
	if (!zone->agent)
		timer_set(&zone->daemon->hub, &zone->reconnect, clock_now_ns(), reconnect, zone);
}

static bool is_running(const struct zone *zone)
{
	return zone->phase == ZONE_PHASE_BOOT || zone->phase == ZONE_PHASE_READY;
}

static void agent_closed(void *user, int error)
{
	struct zone *zone = user;

	zone->agent = NULL;
	zone->agent_usable = false;
	snoop_note(zone, "the session has ended");
	execs_zone_lost(zone);
	if (is_running(zone)) {
		if (clock_now_ns() - zone->connected_ns >= LASTING_NS)
			zone->reconnects = 0;
		log_warning("zone=%s err=\"%s\" idm connection lost", zone->row.uuid,
			    strerror(-error));
		reconnect_later(zone);
	}
	zone_try_free(zone);
}

static void agent_event(void *user, struct idm *idm, uint32_t kind, const void *data, size_t len)
{
	struct zone *zone = user;
	Protect__Agent__Exited *exited;

	(void)idm;
	if (kind != PROTECT__AGENT__EVENT_KIND__EVENT_EXITED)
		return;
	exited = protect__agent__exited__unpack(NULL, len, data);
	if (!exited)
		return;
	if (!exec_exited(zone, exited))
		workload_exited(zone, exited);
	protect__agent__exited__free_unpacked(exited, NULL);
}

static void agent_snoop(void *user, enum idm_direction direction, const void *packet, size_t len)
{
	snoop_tap(user, direction, packet, len);
}

static const struct idm_handler handler = {.event = agent_event, .snoop = agent_snoop};

/* A zone that does not even take its bootstrap cannot become ready; a lost connection may. */
static void bootstrapped(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct zone *zone = user;
	Protect__Agent__ZoneReady *ready;

	if (error == -ECONNRESET || zone->phase != ZONE_PHASE_BOOT)
		return;
	ready = error ? NULL : protect__agent__zone_ready__unpack(NULL, len, payload);
	if (!ready) {
		zone_fail(zone, error ? error : -EPROTO, "zone '%s' could not be set up: %s",
			  zone->row.name, error ? text : "its answer cannot be read");
		return;
	}
	zone->agent_usable = true;
	zone_set_up(zone, ready->kernel_release);
	wall_clock_tell(zone);
	protect__agent__zone_ready__free_unpacked(ready, NULL);
}

static int send_bootstrap(struct zone *zone, Protect__Agent__Bootstrap *message)
{
	size_t len = protect__agent__bootstrap__get_packed_size(message);
	_cleanup_(freep) uint8_t *payload = malloc(len);

	if (!payload)
		return -ENOMEM;
	protect__agent__bootstrap__pack(message, payload);
	return idm_call(link_idm(zone->agent), PROTECT__AGENT__METHOD__METHOD_BOOTSTRAP, payload,
			len, 0, bootstrapped, zone, NULL);
}

static int bootstrap(struct zone *zone)
{
	Protect__Agent__Bootstrap message = PROTECT__AGENT__BOOTSTRAP__INIT;
	struct zone_links links;
	struct guest_settings settings;
	char addons[] = SPEC_ADDONS_SERIAL;
	uint8_t entropy[ENTROPY_BYTES];
	struct timespec now;
	int r = guest_settings_read(zone->row.guest_json, &settings);

	if (r < 0)
		return r;
	r = -EIO;
	clock_gettime(CLOCK_REALTIME, &now);
	message.zone_uuid = zone->row.uuid;
	message.hostname = zone->row.name;
	message.entropy.data = entropy;
	message.entropy.len = sizeof(entropy);
	message.time_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	message.env = settings.env.items;
	message.n_env = settings.env.n;
	message.sysctls = settings.sysctls.items;
	message.n_sysctls = settings.sysctls.n;
	message.modules = settings.modules.items;
	message.n_modules = settings.modules.n;
	zone_links_fill(zone, &links);
	message.links = links.pointers;
	message.n_links = links.n_links;
	message.nameservers = links.nameservers;
	message.n_nameservers = links.n_nameservers;
	if (!zone->no_addons)
		message.addons_serial = addons;
	if (getrandom(entropy, sizeof(entropy), 0) == (ssize_t)sizeof(entropy))
		r = send_bootstrap(zone, &message);
	explicit_bzero(entropy, sizeof(entropy));
	guest_settings_free(&settings);
	return r;
}

/* What runs in a zone that was set up before: this daemon's memory is brought in line with it. */
static void listed(void *user, int error, const char *text, const void *payload, size_t len)
{
	struct zone *zone = user;
	Protect__Agent__ZoneState *state;

	if (error == -ECONNRESET || !is_running(zone))
		return;
	state = error ? NULL : protect__agent__zone_state__unpack(NULL, len, payload);
	if (!state) {
		log_warning("zone=%s err=\"%s\" agent cannot list", zone->row.uuid,
			    error ? text : "bad answer");
		link_close(zone->agent);
		return;
	}
	if (!state->bootstrapped) {
		if (zone->phase == ZONE_PHASE_READY)
			zone_fail(zone, -EIO, "zone '%s': its agent has forgotten it",
				  zone->row.name);
		else if (bootstrap(zone) < 0)
			link_close(zone->agent);
	} else {
		zone->agent_usable = true;
		if (zone->phase == ZONE_PHASE_BOOT)
			zone_set_up(zone, "");
		wall_clock_tell(zone);
		workloads_listed(zone, state);
		hold_end(zone);
	}
	protect__agent__zone_state__free_unpacked(state, NULL);
}

static int connect_agent(struct zone *zone, bool fresh)
{
	char path[256];
	int r = zone_path(zone, "runner.sock", path, sizeof(path));
	int fd = r < 0 ? r : runner_connect(path, RUNNER_IDM);

	if (fd < 0)
		return fd;
	r = link_new(&zone->daemon->hub, fd, IDM_CLIENT, &handler, agent_closed, zone,
		     &zone->agent);
	if (r < 0)
		return r;
	zone->connected_ns = clock_now_ns();
	snoop_note(zone, "a session begins");
	if (fresh)
		return bootstrap(zone);
	return idm_call(link_idm(zone->agent), PROTECT__AGENT__METHOD__METHOD_LIST, NULL, 0,
			clock_now_ns() + AGENT_ANSWER_NS, listed, zone, NULL);
}

/* Returns false at the end of the console. */
static bool read_console(struct zone *zone)
{
	uint8_t chunk[CONSOLE_CHUNK];

	for (unsigned i = 0; i < CONSOLE_BUDGET; i++) {
		ssize_t n = recv(zone->console_fd, chunk, sizeof(chunk), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n <= 0)
			return false;
		ring_append(zone->log, FOLLOW_TAG_OUT, chunk, (size_t)n);
		zone->console_bytes += (size_t)n;
	}
	return true;
}

static void console_again(void *user)
{
	struct zone *zone = user;

	watch_set(zone->console, POLLIN);
}

/* A zone that floods its console has the daemon's processor and disk for a part of the time only;
 * what is too much meanwhile its runner drops, the oldest first. */
static void pace_console(struct zone *zone)
{
	uint64_t now_ns = clock_now_ns();

	if (now_ns - zone->console_slice_ns >= CONSOLE_SLICE_NS) {
		zone->console_slice_ns = now_ns;
		zone->console_bytes = 0;
	} else if (zone->console_bytes >= CONSOLE_SLICE_BYTES) {
		watch_set(zone->console, 0);
		timer_set(&zone->daemon->hub, &zone->console_pause,
			  zone->console_slice_ns + CONSOLE_SLICE_NS, console_again, zone);
	}
}

static void console_readable(void *user, uint32_t events)
{
	struct zone *zone = user;

	(void)events;
	if (read_console(zone))
		pace_console(zone);
	else
		watch_set(zone->console, 0);
	followers_push(&zone->followers);
}

static int connect_console(struct zone *zone, const char *socket)
{
	int r;

	zone->console_fd = runner_connect(socket, RUNNER_CONSOLE);
	if (zone->console_fd < 0)
		return zone->console_fd;
	r = watch_new(&zone->daemon->hub, zone->console_fd, console_readable, zone, &zone->console);
	if (r == 0)
		watch_set(zone->console, POLLIN);
	return r;
}

static void control_gone(void *user, int error)
{
	struct zone *zone = user;

	if (error == -ETIMEDOUT && !zone->failure.code)
		error_set(&zone->failure, error, "its runner did not answer any more");
	zone->control = runner_close(zone->control);
	zone_runner_gone(zone);
}

static void disks_gone(void *user, int error)
{
	struct zone *zone = user;

	(void)error; /* those who waited were told; the runner's end shows at the control connection
		      */
	zone->disks = runner_close(zone->disks);
}

int zone_request_disk(struct zone *zone, const Protect__Runner__Request *request, int fd,
		      runner_fn *fn, void *user)
{
	char path[256];
	int r = zone->control ? zone_path(zone, "runner.sock", path, sizeof(path)) : -ENOTCONN;

	if (r == 0 && !zone->disks)
		r = runner_open_lane(&zone->daemon->hub, path, DISK_ANSWER_NS, disks_gone, zone,
				     &zone->disks);
	return r < 0 ? r : runner_request(zone->disks, request, fd, fn, user);
}

int zone_connect(struct zone *zone)
{
	bool fresh = zone->requested_ns && !zone->was_ready;
	char path[256];
	int r = zone_path(zone, "runner.sock", path, sizeof(path));

	if (r == 0)
		r = runner_open(&zone->daemon->hub, path, control_gone, zone, &zone->control);
	if (r == 0)
		r = connect_console(zone, path);
	if (r == 0)
		r = connect_agent(zone, fresh);
	return r;
}

void zone_disconnect(struct zone *zone)
{
	timer_stop(&zone->reconnect);
	if (zone->console_fd >= 0)
		read_console(zone);
	timer_stop(&zone->console_pause);
	output_pace_stop(zone);
	zone->console = watch_free(zone->console);
	close_fdp(&zone->console_fd);
	zone_ops_fail(zone);
	zone_nics_lost(zone);
	volume_moves_lost(zone);
	stats_close(zone);
	zone->disks = runner_close(zone->disks);
	zone->control = runner_close(zone->control);
	if (zone->agent)
		link_close(zone->agent);
}

struct idm *zone_session(const struct zone *zone)
{
	return zone->agent && zone->agent_usable && zone->phase == ZONE_PHASE_READY
		       ? link_idm(zone->agent)
		       : NULL;
}

/* A daemon that ended between the runner's answer to an update and its own note of it knows them no
 * better. A runner from before targets says 0. */
static void take_targets(struct zone *zone, const Protect__Runner__StatusReply *status)
{
	uint64_t memory_mib = status->target_memory_bytes / MIB;
	uint32_t vcpus = status->target_vcpus;
	struct zone_row *row = &zone->row;
	struct error err = ERROR_NULL;

	if (!policy_takes_target(zone))
		memory_mib = row->target_memory_mib;
	if (!memory_mib || !vcpus ||
	    (memory_mib == row->target_memory_mib && vcpus == row->target_vcpus) ||
	    zone_check_targets(row, memory_mib, vcpus, &err) < 0)
		return;
	row->target_memory_mib = memory_mib;
	row->target_vcpus = vcpus;
	state_put_zone(zone->daemon->state, row);
}

static void got_status(void *user, int error, const char *text, const Protect__Runner__Reply *reply)
{
	struct zone *zone = user;

	(void)text;
	zone->has_status = true;
	if (error || !reply->status)
		return;
	zone->paused = reply->status->paused;
	take_targets(zone, reply->status);
	zone_nics_compare(zone, reply->status);
	if (zone->paused) /* it will not answer */
		hold_end(zone);
}

static void ask_status(struct zone *zone)
{
	Protect__Runner__Request request = PROTECT__RUNNER__REQUEST__INIT;
	Protect__Runner__Status status = PROTECT__RUNNER__STATUS__INIT;

	request.what_case = PROTECT__RUNNER__REQUEST__WHAT_STATUS;
	request.status = &status;
	runner_request(zone->control, &request, -1, got_status, zone);
}

/* Whether nobody listens there any more. All else, as no descriptors, no memory or a full backlog,
 * says nothing of the zone. */
static bool is_over(int error)
{
	return error == -ECONNREFUSED || error == -ENOENT || error == -ECONNRESET ||
	       error == -EPIPE;
}

static void take_up(void *user)
{
	struct zone *zone = user;
	int r = zone_connect(zone);

	log_info("zone=%s name=%s err=\"%s\" taken up again", zone->row.uuid, zone->row.name,
		 r < 0 ? strerror(-r) : "");
	if (r < 0 && !is_over(r)) {
		zone_disconnect(zone);
		timer_set(&zone->daemon->hub, &zone->reconnect, clock_now_ns() + TAKE_UP_AGAIN_NS,
			  take_up, zone);
		return;
	}
	if (r < 0) {
		if (!zone->was_ready)
			error_set(&zone->failure, -EIO,
				  "protect-daemon ended while the zone was being created");
		zone_runner_gone(zone);
		return;
	}
	ring_clear(zone->log); /* the runner tells the last of its console once more */
	ask_status(zone);
	if (zone->destroy_wanted)
		zone_fail(zone, -ECANCELED, "zone '%s' was destroyed", zone->row.name);
	else if (!zone->was_ready)
		zone_start_boot_timer(zone);
	if (zone->phase == ZONE_PHASE_READY || zone->phase == ZONE_PHASE_BOOT)
		limits_renew(zone);
}

void zone_adopt(struct zone *zone)
{
	bool was_ready = zone->row.state == PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_READY;

	if (zone->row.state == PROTECT__CONTROL__ZONE_STATE_KIND__ZONE_DESTROYING)
		zone->destroy_wanted = true;
	if (zone->row.slot == SLOT_NONE) {
		zone->phase = ZONE_PHASE_ENDED;
		if (zone->destroy_wanted)
			zone_remove(zone);
		return;
	}
	zone->phase = was_ready ? ZONE_PHASE_READY : ZONE_PHASE_BOOT;
	zone->was_ready = was_ready;
	if (was_ready)
		zone_volumes_adopt(zone);
	if (was_ready && !zone->destroy_wanted)
		hold_begin(zone);
	take_up(zone);
}
