// SPDX-License-Identifier: Apache-2.0
/*
 * The host's wall clock, which may be set at any time: zones are told, so that they follow. The
 * daemon itself waits by the monotonic clock alone.
 */
#pragma once

#include "supervisor/daemon/zone.h"

/* Has every zone told whenever the clock is set. Returns 0 or a negative errno with text.
 * wall_clock_stop() may follow a start that failed, or none. */
int wall_clock_start(struct daemon *d, struct error *err);
void wall_clock_stop(struct daemon *d);

/* Tells one zone that has just become usable, or goes on after a pause: it may have
 * missed that the clock was set. */
void wall_clock_tell(struct zone *zone);
