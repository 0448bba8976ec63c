// SPDX-License-Identifier: Apache-2.0
/*
 * The zone's console: the ring that its kernel writes to (xen/io/console.h), read by this runner
 * itself, not by xenconsoled, into the console's hub. The zone may write anything into the ring's
 * page at any time. Loop thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "runner/console_hub.h"
#include "xen-compat/domain.h"
#include "xen-compat/events.h"

struct xencons_interface;

struct console {
	struct xen *xen;
	struct events *events;
	struct console_hub *hub;
	struct xencons_interface *page; /* NULL: not open */
	uint32_t out_at;		/* our position */
	uint64_t n_bytes;
	evtchn_port_t port;
};

/* Maps the ring of the domain and hears of it from here on. What is given is borrowed. Returns 0 or
 * a negative errno with *err. */
int console_open(struct console *console, struct xen *xen, struct events *events,
		 struct console_hub *hub, const struct domain *domain, struct error *err);

/* Takes what is in the ring: also what was left there by a zone that has ended. */
void console_drain(struct console *console);
void console_close(struct console *console);

/*
 * Copies what the ring holds behind *at, at most size bytes, and moves *at. Positions that make no
 * sense empty it. Returns the number of bytes. (For console_drain() and for tests.)
 */
size_t console_take(const struct xencons_interface *page, uint32_t *at, uint8_t *to, size_t size);
