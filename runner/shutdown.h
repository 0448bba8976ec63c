// SPDX-License-Identifier: Apache-2.0
/*
 * The end of a zone that whoever runs its runner asks for with a signal, as a service manager does:
 * the guest's power button is pressed, and what has not powered off when the grace is over is ended
 * from outside. A guest is free to ignore the button. Owned by the loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

/* How the runner does it. */
struct shutdown_host {
	struct loop *loop;
	bool (*ask)(void *user); /* the power button; false: the guest cannot hear it now */
	bool (*end)(void *user, const char *cause); /* at once; false: it has ended already */
	void *user;
};

struct shutdown {
	struct shutdown_host host;
	uint64_t grace_ns;
	int notify; /* borrowed: where systemd hears of it, or -1 */
	struct loop_timer timer;
	const char *cause;
};

/* A zero grace ends the zone at the first request. */
void shutdown_init(struct shutdown *shutdown, const struct shutdown_host *host, uint64_t grace_ns,
		   int notify);

/*
 * Asks the guest; asked again, while it cannot hear or without grace the zone ends at once. cause:
 * a word for the exit record, which outlives the zone.
 */
void shutdown_request(struct shutdown *shutdown, const char *cause);
