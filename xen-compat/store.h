// SPDX-License-Identifier: Apache-2.0
/*
 * A zone's nodes in xenstore, docs/misc/xenstore-paths.pandoc of Xen: what a Linux guest looks for
 * below /local/domain/DOMID. What the zone may write is its own directories only; all that is read
 * back from there is the zone's word.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "xen-compat/xen.h"

#define STORE_VALUE_MAX 256u

enum store_access {
	STORE_HOST, /* the zone may not even read it */
	STORE_ZONE_READS,
	STORE_ZONE_OWNS, /* the zone reads and writes */
};

/*
 * Writes the node /local/domain/DOMID/NAME, made with its parents, with the access given. value
 * NULL: a directory. Returns 0 or a negative errno.
 */
int store_put(struct xen *xen, uint32_t domid, enum store_access access, const char *name,
	      const char *value);

/* The same with a number. */
int store_put_number(struct xen *xen, uint32_t domid, enum store_access access, const char *name,
		     uint64_t value);

/*
 * Reads a number that the zone wrote. Returns 0; -ENOENT: there is none; -EBADMSG: it is no decimal
 * number up to max.
 */
int store_get_number(struct xen *xen, uint32_t domid, const char *name, uint64_t max,
		     uint64_t *value);

/* Whether the node's value is exactly this text. */
bool store_is(struct xen *xen, uint32_t domid, const char *name, const char *text);

/* Removes all nodes of the domain. */
void store_remove(struct xen *xen, uint32_t domid);

/* Decimal digits and nothing else, up to max; no NUL is needed behind them. Returns 0 or -EBADMSG.
 */
int store_parse_number(const char *text, size_t len, uint64_t max, uint64_t *value);
