// SPDX-License-Identifier: Apache-2.0
/*
 * A zone on Xen: domain, console, IDM and the runner's socket put together, from a spec to its end.
 * Everything here belongs to the thread that calls zone_run(), the loop thread.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "runner/console_hub.h"
#include "runner/runner_server.h"
#include "runner/spec.h"
#include "xen-compat/console.h"
#include "xen-compat/disks.h"
#include "xen-compat/domain.h"
#include "xen-compat/events.h"
#include "xen-compat/idm.h"
#include "xen-compat/xen.h"

#define ZONE_DETAIL_MAX 128

struct zone {
	struct loop *loop;
	struct xen xen;
	struct events events;
	struct domain domain;
	struct domain_info info; /* when it was looked at last */
	struct console_hub hub;
	struct console console;
	struct idm_line idm;
	struct disks disks;
	struct runner_server server;
	struct loop_timer look, wind; /* at the domain; at what is still under way */
	uint64_t started_ns, wind_deadline_ns;
	uint64_t memory_bytes, target_bytes;
	unsigned vcpus, target_vcpus;
	bool paused;		/* by request */
	const char *end_reason; /* NULL while it runs */
	char end_detail[ZONE_DETAIL_MAX];
};

/* Opens what a zone needs of the host, and makes the domain, which does not run yet. After a
 * failure zone_deinit() is due. Returns 0 or a negative errno with *err. */
int zone_init(struct zone *zone, struct zone_spec *spec, struct error *err);

/* Lets the domain run. Returns 0 or a negative errno with *err. */
int zone_start(struct zone *zone, struct error *err);

/* Runs until the zone ends; end_reason and end_detail then say how. Returns 0 or a negative errno
 * of the loop. */
int zone_run(struct zone *zone, struct error *err);

/* The power button. Returns whether the guest can hear it. */
bool zone_press_button(struct zone *zone);

/* Ends the zone from outside; the first reason stays. Returns whether this was the first. */
bool zone_end(struct zone *zone, const char *reason, const char *detail);

/* Destroys the domain and gives everything back. */
void zone_deinit(struct zone *zone);
