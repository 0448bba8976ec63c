// SPDX-License-Identifier: Apache-2.0
/*
 * The end of a zone that whoever runs zone-vmm asks for with a signal, as a service manager does:
 * the guest's power button is pressed, and what has not powered off when the grace is over is ended
 * from outside. A guest is free to ignore the button. Owned by the loop thread.
 */
#pragma once

#include <stdint.h>

#include "base/loop.h"

struct machine;

struct shutdown {
	struct machine *machine; /* borrowed */
	uint64_t grace_ns;
	int notify; /* borrowed: where systemd hears of it, or -1 */
	struct loop_timer timer;
	const char *cause;
};

/* A zero grace ends the zone at the first request. */
void shutdown_init(struct shutdown *shutdown, struct machine *machine, uint64_t grace_ns,
		   int notify);

/*
 * Asks the guest; asked again, while it is paused or without grace the zone ends at once. cause: a
 * word for the exit record, which outlives the machine.
 */
void shutdown_request(struct shutdown *shutdown, const char *cause);
