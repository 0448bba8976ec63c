// SPDX-License-Identifier: Apache-2.0
/*
 * METHOD_HOST_IDM_SNOOP: clients that look on at what the daemon and its zones say to each other.
 * The sessions' tap only copies a packet into each snooper's own queue, SNOOP_HELD_MAX bytes long
 * (of a stream's data a short prefix); what does not fit is dropped and counted. The decoding
 * (snoop_json.h) happens later, a little in each turn of the loop, and only as fast as the client
 * reads: so a snooper that is slow, or stopped, loses packets and holds up nobody.
 *
 * A client gets one JSON object a line: packets, and notes of ours: what was dropped, sessions that
 * begin and end. One thread.
 */
#pragma once

#include "idm-vsock/session.h"
#include "supervisor/daemon/daemon.h"

#define SNOOPERS_MAX   8u
#define SNOOP_HELD_MAX (1024u * 1024)

/* A packet of a zone's session, as idm_handler.snoop has it. Costs a comparison if nobody looks on.
 */
void snoop_tap(const struct zone *zone, enum idm_direction direction, const void *packet,
	       size_t len);

/* Something happened to a zone's session: a constant text. */
void snoop_note(const struct zone *zone, const char *text);
