// SPDX-License-Identifier: Apache-2.0
/*
 * zone-vmm's way into the sandbox of base/isolate.h, once everything that the spec names is open
 * and before anything of the guest's is looked at.
 *
 * Started by protect-launch, it is in there already: that is checked, and a descriptor too many is
 * a reason not to start. Started alone, it goes in by itself, as no user but an unprivileged one,
 * and becomes two processes: the one that was started keeps its process id, for whoever waits for
 * it, in the same sandbox with nothing but a signalfd and a socket; the other one, PID 1 of a new
 * namespace, is the zone. Neither outlives the other.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "runner/spec.h"

#define CONFINE_ID_NONE ((uid_t)-1)

/*
 * What root becomes when it names nobody: this and the process id, which no other process has as
 * long as the zone lives. Nobody uses these ids (systemd's UIDS-GIDS: 0x70000000 and above).
 */
#define CONFINE_ID_BASE 0x70000000u

struct confine {
	const struct zone_spec *spec;
	int kvm_fd;
	uid_t uid; /* of the zone, when root starts it alone; CONFINE_ID_NONE = CONFINE_ID_BASE + …
		    */
	gid_t gid;
	int notify; /* where systemd hears us, or -1. Becomes a way through the process outside. */
};

/*
 * Returns 0 in the process that is to run the zone, single-threaded as the caller; the other one
 * does not return, but ends as the zone's ends. A negative errno with text: the zone must not
 * start.
 */
int confine(struct confine *confine, struct error *err);
