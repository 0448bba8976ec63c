// SPDX-License-Identifier: Apache-2.0
/*
 * The first request of a session with a new zone: who it is and what its host knows. bootstrap()
 * keeps what the agent itself needs and answers; system_apply() and system_apply_later() are what
 * main.c lets it do to the whole system.
 */
#pragma once

#include <stdint.h>

#include "zone-guest/zone.h"

/*
 * Answers the request (method BOOTSTRAP). A second one in the life of a zone is refused with
 * EALREADY.
 */
void bootstrap(struct zone *zone, uint64_t id, const Protect__Agent__Bootstrap *message);

/* Host name, entropy, clock, /etc files, links. Returns 0 or a negative errno with the text. */
int system_apply(struct zone *zone, const Protect__Agent__Bootstrap *message, struct error *err);

/* Sets the clock to the host's time, if it is off by more than a message may take on its way.
 * Returns 0 or a negative errno. */
int system_set_time(uint64_t time_ns);

/* Mounts the kernel's other modules where modprobe looks for them, and has those loaded that
 * devices without a driver ask for. */
void system_apply_later(struct zone *zone, const Protect__Agent__Bootstrap *message);

/* Sets the text of the zone's /etc/resolv.conf, for what is started from now on. Returns 0 or a
 * negative errno with *err. */
int bootstrap_nameservers(struct zone *zone, char *const *servers, size_t n_servers,
			  struct error *err);
