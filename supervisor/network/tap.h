// SPDX-License-Identifier: Apache-2.0
/*
 * Taps: links whose other end are descriptors. Ours are not persistent: the last descriptor that is
 * closed, however its owner ends, takes the link with it, and its addresses and routes.
 */
#pragma once

#include <net/if.h>

#include "base/error.h"

#define TAP_DEVICE "/dev/net/tun"

/* Whether this process may make taps. Returns 0 or a negative errno with *err set. */
int tap_check_rights(struct error *err);

/*
 * Makes a tap of that name, which nobody has, with n queues (IFF_VNET_HDR; IFF_MULTI_QUEUE if there
 * are several), down. The descriptors in fds are the caller's. Returns 0 or a negative errno with
 * *err set, and then there is no such link.
 */
int tap_make(const char name[IF_NAMESIZE], unsigned n, int *fds, struct error *err);
