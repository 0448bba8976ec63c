// SPDX-License-Identifier: Apache-2.0
/* The agent's vchan: found in xenstore, mapped, let go. All of it is the zone's word. Loop thread.
 */
#pragma once

#include "xen-compat/idm.h"

/*
 * Maps what the zone publishes, if it does; fired(user) follows for each event of its. Returns 0,
 * or a negative errno: -ENOENT, -ENOTCONN: nothing is there yet.
 */
int channel_open(struct idm_channel *channel, struct xen *xen, struct events *events,
		 uint32_t domid, void (*fired)(void *user), void *user);

/* Tells the zone and unmaps. Twice does no harm. */
void channel_close(struct idm_channel *channel, struct xen *xen, struct events *events);
