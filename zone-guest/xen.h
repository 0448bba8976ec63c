// SPDX-License-Identifier: Apache-2.0
/*
 * What a zone needs of Xen when it is a Xen domain: its nodes in xenstore, and pages and an event
 * channel that it shares with the host (Linux' /dev/xen). Nothing here fails harder than with an
 * errno.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a PVH domain, which Linux can only reset, says that it means to be switched off. */
#define XEN_END_NODE "data/protect-end"

/* Beside the nodes of a disk: its serial. */
#define XEN_SERIAL_NODE "protect-serial"

/* Whether this is a Xen domain. Needs /dev. */
bool xen_is_here(void);

/* Whether it is one that cannot switch itself off (PVH without ACPI); needs /sys. */
bool xen_is_pvh(void);

/* Reads a node's text, at most size - 1 characters. Returns 0 or a negative errno. */
int xen_store_read(const char *node, char *text, size_t size);

/*
 * Writes, removes a node; a name that begins with no slash is below the zone's own home. Return 0
 * or a negative errno.
 */
int xen_store_write(const char *node, const char *value);
int xen_store_remove(const char *node);

/* Pages that the host may map, and the event channel that goes with them. */
struct xen_share {
	int grant_fd, event_fd; /* -1: none; event_fd is readable when the host sent an event */
	uint32_t port;
	void *pages;
	size_t len;
};

/* Shares n pages, zeroed; grants[] are their references. Returns 0 or a negative errno, and then
 * nothing is shared. */
int xen_share(struct xen_share *share, unsigned n, uint32_t *grants);

/* Twice does no harm. */
void xen_unshare(struct xen_share *share);

/* Takes the event that made event_fd readable. */
void xen_take_event(struct xen_share *share);
void xen_send_event(struct xen_share *share);
