// SPDX-License-Identifier: Apache-2.0
/*
 * The way to the hypervisor, to xenstored and to event channels: everything that a runner ever
 * opens by name on a Xen host, opened once, before it gives up the right to. Loop thread.
 */
#pragma once

#include <stdint.h>

#include <xenctrl.h>
#include <xengnttab.h>
#include <xenstore.h>

#include "base/error.h"

struct xen {
	xentoollog_logger logger; /* what the libraries say goes to our log */
	xc_interface *control;
	xengnttab_handle *grants;
	struct xs_handle *store;
};

/*
 * Returns 0, or a negative errno with one line in *err: -ENODEV where this is no Xen host or not
 * its control domain. After a failure nothing is open.
 */
int xen_open(struct xen *xen, struct error *err);

/* Twice does no harm. */
void xen_close(struct xen *xen);

/* Sets *err from errno and what libxenctrl said last: "WHAT: …". Returns the negative errno. */
int xen_failed(struct xen *xen, struct error *err, const char *what);
