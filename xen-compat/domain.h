// SPDX-License-Identifier: Apache-2.0
/*
 * A zone as a Xen domain: made, built from kernel and initramfs, started, looked at, destroyed. Its
 * handle is the zone's UUID, so that it is found again when its runner is gone. Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "runner/spec.h"
#include "xen-compat/xen.h"

struct domain {
	uint32_t id;			   /* 0: none */
	bool hvm;			   /* PVH, not PV */
	uint32_t console_port, store_port; /* the zone's ends, for us and for xenstored */
	unsigned long store_frame;
};

/*
 * Makes the domain, paused, and puts kernel and initramfs into it, both a stranger's work that
 * libxenguest reads. Nothing of it is left after a failure. Returns 0 or a negative errno with
 * *err: -EEXIST if a domain of this UUID is there.
 */
int domain_make(struct xen *xen, const struct zone_spec *spec, struct domain *domain,
		struct error *err);

/* Introduces it to xenstored, where its nodes are by now, and lets it run. */
int domain_start(struct xen *xen, const struct domain *domain, struct error *err);

enum domain_state {
	DOMAIN_RUNS,
	DOMAIN_POWEROFF,
	DOMAIN_REBOOT,
	DOMAIN_CRASH,
	DOMAIN_WATCHDOG,
	DOMAIN_GONE, /* somebody destroyed it */
};

struct domain_info {
	enum domain_state state;
	uint64_t memory_bytes; /* that it has now */
	uint64_t cpu_ns;
	unsigned online_vcpus;
	bool paused;
};

/* Asks Xen how the domain is. */
void domain_look(struct xen *xen, const struct domain *domain, struct domain_info *info);

/* Finds a domain by UUID. Returns its id, or 0. */
uint32_t domain_find(struct xen *xen, const struct uuid *uuid);

/* Destroys a domain and removes its nodes. Id 0: nothing happens. Returns 0 or a negative errno. */
int domain_destroy(struct xen *xen, uint32_t id);
