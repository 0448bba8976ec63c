// SPDX-License-Identifier: Apache-2.0
/*
 * The links of zones: taps, rules, routes and held ports together, each made whole or not at all.
 *
 * Invariant: a link that is up has its chain of rules (rules.h) from before it was up. What the
 * kernel forgets with a tap (addresses, routes, neighbours) is not looked after; what it keeps
 * (elements of our tables, held ports) is in this list. The list is also a file (state.h), from
 * which a service that was killed makes everything anew. Owned by one thread.
 */
#pragma once

#include <stdbool.h>

#include "supervisor/network/flows.h"
#include "supervisor/network/hold.h"
#include "supervisor/network/nft.h"
#include "supervisor/network/nic.h"
#include "supervisor/network/route.h"

struct link {
	struct link *next;
	struct nic nic;
	struct hold hold;
};

struct links {
	const struct settings *settings;
	struct nft *nft;
	struct route *route;
	struct flows *flows;
	const char *state_path;
	struct link *first;
	unsigned n;
};

/*
 * Makes tables and rules for the links that are in the state file and whose tap still is; taps that
 * nobody knows are let nothing in from until links_reconcile(). Returns 0 or a negative errno with
 * *err set.
 */
int links_start(struct links *links, struct error *err);

/* Forgets the list; the kernel's part stays as it is. */
void links_deinit(struct links *links);

/*
 * Makes a link. fds has room for `queues` descriptors (1 to NIC_QUEUES_MAX), which become the
 * caller's. Returns 0, or a negative errno with *err set, and then nothing is left of it.
 */
int links_attach(struct links *links, const struct nic *nic, unsigned queues, int *fds,
		 struct error *err);

/* Removes a link with its tap, if there is one. Returns 0 or a negative errno with *err set. */
int links_detach(struct links *links, uint32_t slot, uint32_t index, struct error *err);

/*
 * Makes rules, routes and held ports of these links whose taps are there, and removes all others
 * and their taps. A port that somebody has taken meanwhile costs this link all its published ports
 * (a line in the log), not its network. nics is borrowed. Returns 0 or a negative errno with *err
 * set.
 */
int links_reconcile(struct links *links, const struct nic *nics, unsigned n, struct error *err);
