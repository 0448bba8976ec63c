// SPDX-License-Identifier: Apache-2.0
/*
 * The zone's links over rtnetlink(7): loopback, and those that the bootstrap describes, found by
 * their hardware address.
 */
#pragma once

#include "base/error.h"
#include "proto/agent.pb-c.h"

/* Sets the loopback up. Returns 0 or a negative errno. */
int net_loopback_up(void);

/*
 * Names the link, sets its MTU, sets it up, gives it its addresses and default routes (a gateway
 * counts as on the link). Returns 0, or -ENODEV, -EINVAL or another negative errno with the text.
 */
int net_apply(const Protect__Agent__Link *link, struct error *err);
