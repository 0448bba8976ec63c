// SPDX-License-Identifier: Apache-2.0
#include <sys/types.h>

#include "xen-compat/console.h"

#include <errno.h>
#include <sys/mman.h>

#include <xen/grant_table.h>
#include <xen/io/console.h>

#define CHUNK 2048u /* the size of the ring */

void console_drain(struct console *console)
{
	uint8_t bytes[CHUNK];
	size_t n;

	if (!console->page)
		return;
	n = console_take(console->page, &console->out_at, bytes, sizeof(bytes));
	__atomic_store_n(&console->page->out_cons, console->out_at, __ATOMIC_RELEASE);
	if (n == 0)
		return;
	console->n_bytes += n;
	console_hub_write(console->hub, bytes, n);
	events_notify(console->events, console->port);
}

static void fired(void *user)
{
	console_drain(user);
}

int console_open(struct console *console, struct xen *xen, struct events *events,
		 struct console_hub *hub, const struct domain *domain, struct error *err)
{
	int port;

	*console = (struct console){.xen = xen, .events = events, .hub = hub};
	console->page = xengnttab_map_grant_ref(xen->grants, domain->id, GNTTAB_RESERVED_CONSOLE,
						PROT_READ | PROT_WRITE);
	if (!console->page)
		return error_set_errno(err, -errno, "the zone's console cannot be mapped");
	port = events_bind(events, domain->id, domain->console_port, fired, console);
	if (port < 0)
		return error_set_errno(err, port, "the zone's console cannot be heard");
	console->port = (evtchn_port_t)port;
	return 0;
}

void console_close(struct console *console)
{
	if (console->port)
		events_unbind(console->events, console->port);
	if (console->page)
		xengnttab_unmap(console->xen->grants, console->page, 1);
	console->port = 0;
	console->page = NULL;
}
