// SPDX-License-Identifier: Apache-2.0
/*
 * What the packet filter is told, as text of nft(8): two tables, both named protect. `netdev` has a
 * chain for each link, where a zone's packets enter the host: what is not provably the zone's own
 * is dropped there, before anything else of the host sees it. `inet` says who reaches whom, NAT
 * and published ports. Pure: every value is a number of ours, or an address written from bytes.
 */
#pragma once

#include <stdio.h>

#include "supervisor/network/nic.h"

#define RULES_TABLE "protect"
/* How a table of ours is known from somebody else's of the same name. */
#define RULES_MARK "made by protect-network"

/* Both tables anew, in place of what was there, without links. */
void rules_write_tables(FILE *out, const struct settings *settings);

/* Adds a link, whose tap exists; in place of its own chain that may be there. */
void rules_write_link(FILE *out, const struct nic *nic, const struct settings *settings);

/* Takes away what rules_write_link() added, whether its tap exists or not. */
void rules_write_removal(FILE *out, const struct nic *nic);

/* Lets nothing in from a tap of which nobody knows whose it is. */
void rules_write_unknown(FILE *out, const char *name);
