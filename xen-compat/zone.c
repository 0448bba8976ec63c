// SPDX-License-Identifier: Apache-2.0
#include "xen-compat/zone.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "xen-compat/control.h"
#include "xen-compat/store.h"

#define LOOP_ENTRIES  64
#define LOOP_SLOTS    64
#define LOOK_NS	      (100 * NS_PER_MS)
#define TICK_NS	      NS_PER_MS
#define LAST_WORDS_NS (500 * NS_PER_MS)
#define DRAIN_NS      (2 * NS_PER_S)

/* What the zone says of its own end where Xen has only one word for all (zone-guest/xen.h). */
#define END_NODE "data/protect-end"

bool zone_end(struct zone *zone, const char *reason, const char *detail)
{
	if (zone->end_reason)
		return false;
	zone->end_reason = reason;
	snprintf(zone->end_detail, sizeof(zone->end_detail), "%s", detail);
	loop_stop(zone->loop);
	return true;
}

bool zone_press_button(struct zone *zone)
{
	return !zone->paused && store_put(&zone->xen, zone->domain.id, STORE_ZONE_OWNS,
					  "control/shutdown", "poweroff") == 0;
}

/* A PVH guest without ACPI knows no way to switch itself off: its agent says what is meant, and
 * resets. */
static const char *reset_reason(struct zone *zone)
{
	return store_is(&zone->xen, zone->domain.id, END_NODE, "poweroff") ? RUNNER_EXIT_POWEROFF
									   : RUNNER_EXIT_REBOOT;
}

static void end_as(struct zone *zone, enum domain_state state)
{
	switch (state) {
	case DOMAIN_RUNS:
		break;
	case DOMAIN_POWEROFF:
		zone_end(zone, RUNNER_EXIT_POWEROFF, "");
		break;
	case DOMAIN_REBOOT:
		zone_end(zone, reset_reason(zone), "");
		break;
	case DOMAIN_CRASH:
		zone_end(zone, RUNNER_EXIT_PANIC, "");
		break;
	case DOMAIN_WATCHDOG:
		zone_end(zone, RUNNER_EXIT_PANIC, "watchdog");
		break;
	case DOMAIN_GONE:
		zone_end(zone, RUNNER_EXIT_KILLED, "the domain was destroyed");
		break;
	}
}

static void look(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct zone *zone = container_of(op, struct zone, look.op);

	(void)cqe_flags;
	if (res != -ETIME || zone->end_reason)
		return;
	domain_look(&zone->xen, &zone->domain, &zone->info);
	end_as(zone, zone->info.state);
	if (!zone->end_reason &&
	    loop_timer_start(zone->loop, &zone->look, clock_now_ns() + LOOK_NS) < 0)
		zone_end(zone, RUNNER_EXIT_ERROR, "the zone cannot be watched any more");
}

static void on_idm(void *user, int fd)
{
	struct zone *zone = user;

	idm_line_offer(&zone->idm, fd);
}

/* There is no vsock on Xen: nobody is ever there. */
static void on_port(void *user, uint32_t port, int fd)
{
	(void)user;
	(void)port;
	close_fdp(&fd);
}

static void on_control(void *user, const void *data, size_t len, const int *fds, unsigned n_fds,
		       control_reply_fn *reply, void *reply_user)
{
	control_request(user, data, len, fds, n_fds, reply, reply_user);
}

static int listen_at(struct zone *zone, int fd)
{
	const struct runner_host host = {.loop = zone->loop,
					 .console = &zone->hub,
					 .idm = on_idm,
					 .connect = on_port,
					 .serve = on_port,
					 .control = on_control,
					 .user = zone};

	return runner_server_init(&zone->server, &host, fd);
}

static int write_nodes(struct zone *zone, const struct zone_spec *spec)
{
	static const struct {
		const char *name;
		enum store_access access;
	} folders[] = {
		{"", STORE_ZONE_READS},
		{"cpu", STORE_ZONE_READS},
		{"memory", STORE_ZONE_READS},
		{"device", STORE_ZONE_READS},
		{"control", STORE_ZONE_READS},
		{"control/shutdown", STORE_ZONE_OWNS},
		{"control/feature-poweroff", STORE_ZONE_OWNS},
		{"control/feature-reboot", STORE_ZONE_OWNS},
		{"data", STORE_ZONE_OWNS},
		{"feature", STORE_ZONE_OWNS},
		{"console", STORE_ZONE_READS},
		{"store", STORE_ZONE_READS},
	};
	struct xen *xen = &zone->xen;
	uint32_t id = zone->domain.id;
	char name[64], text[UUID_TEXT_SIZE];
	int r = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(folders) && r == 0; i++)
		r = store_put(xen, id, folders[i].access, folders[i].name, i == 0 ? "" : NULL);
	uuid_format(&spec->uuid, text);
	if (r == 0)
		r = store_put(xen, id, STORE_ZONE_READS, "name", spec->name[0] ? spec->name : text);
	if (r == 0)
		r = store_put_number(xen, id, STORE_ZONE_READS, "domid", id);
	if (r == 0)
		r = store_put_number(xen, id, STORE_ZONE_READS, "memory/target",
				     spec->memory_mib * KIB);
	if (r == 0)
		r = store_put_number(xen, id, STORE_ZONE_READS, "memory/static-max",
				     spec->max_memory_mib * KIB);
	/* xenconsoled leaves it to us. */
	if (r == 0)
		r = store_put(xen, id, STORE_ZONE_READS, "console/type", "ioemu");
	if (r == 0)
		r = store_put_number(xen, id, STORE_ZONE_READS, "console/port",
				     zone->domain.console_port);
	if (r == 0)
		r = store_put_number(xen, id, STORE_ZONE_READS, "store/port",
				     zone->domain.store_port);
	for (unsigned i = 0; i < spec->max_vcpus && r == 0; i++) {
		snprintf(name, sizeof(name), "cpu/%u/availability", i);
		r = store_put(xen, id, STORE_ZONE_READS, name,
			      i < spec->vcpus ? "online" : "offline");
	}
	return r;
}

static int open_host(struct zone *zone, struct error *err)
{
	int r = xen_open(&zone->xen, err);

	if (r == 0)
		r = events_open(&zone->events, &zone->xen.logger, err);
	if (r < 0)
		return r;
	r = loop_new(&zone->loop, LOOP_ENTRIES, LOOP_SLOTS);
	if (r == 0)
		r = events_start(&zone->events, zone->loop);
	return r < 0 ? error_set_errno(err, r, "the event loop cannot be made") : 0;
}

static int connect_outside(struct zone *zone, struct zone_spec *spec, struct error *err)
{
	int r = 0;

	if (spec->console_fd >= 0)
		r = console_hub_add(&zone->hub, steal_fd(&spec->console_fd), false);
	if (r == 0 && spec->socket_fd >= 0)
		r = listen_at(zone, steal_fd(&spec->socket_fd));
	return r < 0 ? error_set_errno(err, r, "cannot serve the zone's socket or console") : 0;
}

static int check_spec(struct zone_spec *spec, struct error *err)
{
	static const struct uuid none;

	if (spec->backend == SPEC_BACKEND_KVM)
		return error_set(err, -EINVAL, "the spec wants KVM; zone-vmm runs it");
	if (spec->backend == SPEC_BACKEND_ANY)
		spec->backend = SPEC_BACKEND_PV;
	if (spec->n_nics)
		return error_set(err, -EOPNOTSUPP, "zones on Xen have no NICs yet");
	return uuid_equal(&spec->uuid, &none) ? uuid_generate(&spec->uuid) : 0;
}

int zone_init(struct zone *zone, struct zone_spec *spec, struct error *err)
{
	int r = check_spec(spec, err);

	memset(zone, 0, sizeof(*zone));
	zone->started_ns = clock_now_ns();
	zone->look.op.done = look;
	zone->memory_bytes = spec->max_memory_mib * MIB;
	zone->target_bytes = spec->memory_mib * MIB;
	zone->vcpus = spec->max_vcpus;
	zone->target_vcpus = spec->vcpus;
	if (r == 0)
		r = open_host(zone, err);
	if (r == 0) {
		console_hub_init(&zone->hub, zone->loop);
		r = domain_make(&zone->xen, spec, &zone->domain, err);
	}
	if (r < 0)
		return r;
	idm_line_init(&zone->idm, zone->loop, &zone->xen, &zone->events, zone->domain.id);
	disks_init(&zone->disks, zone->loop, &zone->xen, zone->domain.id);
	r = write_nodes(zone, spec);
	if (r < 0)
		return error_set_errno(err, r, "the zone's nodes in xenstore cannot be written");
	for (unsigned i = 0; i < spec->n_disks && r == 0; i++)
		r = disks_attach(&zone->disks, &spec->disks[i], err);
	if (r == 0)
		r = connect_outside(zone, spec, err);
	if (r == 0)
		r = console_open(&zone->console, &zone->xen, &zone->events, &zone->hub,
				 &zone->domain, err);
	return r;
}

int zone_start(struct zone *zone, struct error *err)
{
	int r = domain_start(&zone->xen, &zone->domain, err);

	if (r == 0)
		r = loop_timer_start(zone->loop, &zone->look, clock_now_ns() + LOOK_NS);
	return r;
}

int zone_run(struct zone *zone, struct error *err)
{
	int r = loop_run(zone->loop);

	return r < 0 ? error_set_errno(err, r, "the event loop failed") : 0;
}

static bool is_closed(const struct zone *zone)
{
	return console_hub_is_closed(&zone->hub) && idm_line_is_closed(&zone->idm) &&
	       runner_server_is_closed(&zone->server);
}

static void wind_tick(struct loop_op *op, int res, uint32_t cqe_flags)
{
	struct zone *zone = container_of(op, struct zone, wind.op);
	uint64_t now_ns = clock_now_ns();

	(void)res;
	(void)cqe_flags;
	if (!zone->idm.ended &&
	    (console_hub_is_idle(&zone->hub) || now_ns >= zone->wind_deadline_ns)) {
		zone->wind_deadline_ns = now_ns + DRAIN_NS;
		idm_line_close(&zone->idm);
		console_hub_close(&zone->hub);
		runner_server_close(&zone->server);
	}
	if ((zone->idm.ended && (is_closed(zone) || now_ns >= zone->wind_deadline_ns)) ||
	    loop_timer_start(zone->loop, &zone->wind, now_ns + TICK_NS) < 0)
		loop_stop(zone->loop);
}

/* The zone's last words get out; who is connected is let go. */
static void wind_down(struct zone *zone)
{
	console_drain(&zone->console);
	zone->wind.op.done = wind_tick;
	zone->wind_deadline_ns = clock_now_ns() + LAST_WORDS_NS;
	if (loop_timer_start(zone->loop, &zone->wind, clock_now_ns()) == 0)
		loop_run(zone->loop);
}

void zone_deinit(struct zone *zone)
{
	int r;

	if (zone->idm.loop)
		wind_down(zone);
	if (zone->console.xen)
		console_close(&zone->console);
	/* A domain whose memory is mapped here would stay behind. */
	r = zone->xen.control ? domain_destroy(&zone->xen, zone->domain.id) : 0;
	if (r < 0)
		log_error("msg=\"the domain cannot be destroyed\" domid=%" PRIu32 " err=%d",
			  zone->domain.id, -r);
	zone->domain.id = 0;
	if (zone->disks.loop)
		disks_drop(&zone->disks);
	zone->loop = loop_free(zone->loop);
	events_close(&zone->events);
	xen_close(&zone->xen);
}
