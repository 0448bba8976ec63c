// SPDX-License-Identifier: Apache-2.0
/*
 * One packet of the daemon's to its answer (proto/network.proto). A request is a stranger's until
 * it is checked, although only the daemon's user and root may send one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supervisor/network/links.h"

#define OPS_PACKET_MAX (64u * 1024)

struct ops {
	struct links *links;
	uint64_t instance; /* this process among those before and after it */
};

/* What is sent back: a packet, and the descriptors of a link. */
struct answer {
	uint8_t *packet; /* NULL without memory */
	size_t len;
	int fds[NIC_QUEUES_MAX];
	unsigned n_fds;
	uint32_t slot, index; /* of the link that was made, if n_fds */
};

/* A list that is sent in pieces; zero-initialise. */
struct list {
	Protect__Network__Nic **nics;
	size_t n;
};

void list_clear(struct list *list);

/* Serves one packet. Returns false when it was a piece of a list, after which nothing is sent. The
 * answer is the caller's, to be given to answer_clear(). */
bool ops_serve(struct ops *ops, struct list *list, const void *packet, size_t len,
	       struct answer *answer);

/* Closes descriptors and frees. */
void answer_clear(struct answer *answer);

/* An answer that nobody got: the link that it was about is removed. */
void ops_undo(struct ops *ops, const struct answer *answer);
