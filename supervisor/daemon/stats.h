// SPDX-License-Identifier: Apache-2.0
/*
 * The counters of runners, asked of each over a control connection of its own: a request that waits
 * there (a detach) holds up no figures, and a runner that does not answer is not ended for it. One
 * question at a time a zone. A runner is not trusted: of what it says so much is copied as there is
 * room for, names are made printable, and no two devices of a kind have the same.
 */
#pragma once

#include "supervisor/daemon/policy.h"
#include "supervisor/daemon/zone.h"

#define FIGURES_DEVICES_MAX 40u /* disks and NICs */
#define FIGURES_NAME_SIZE   24u

struct device_figures {
	char name[FIGURES_NAME_SIZE];
	bool is_nic;
	uint64_t read_ops, read_bytes; /* of a NIC: to the guest */
	uint64_t write_ops, write_bytes;
	uint64_t errors; /* of a NIC: dropped */
};

struct zone_figures {
	uint64_t taken_ns; /* 0 = none yet */
	uint64_t exits;
	uint64_t plugged_bytes, balloon_bytes, reported_bytes;
	uint64_t guest_age_ms; /* then; 0 = the guest has said none of these: */
	uint64_t guest_total_bytes, guest_free_bytes, guest_available_bytes, guest_cache_bytes;
	uint64_t guest_major_faults;
	uint64_t vsock_rx_bytes, vsock_tx_bytes, console_bytes;
	uint32_t broken_devices;
	/*
	 * What the guest had when it said so: its words are those that it was asked for with the
	 * figures before, and its memory may just be changing. Words that it said unasked, as a
	 * driver does at its start, count for nothing.
	 */
	bool has_words;
	uint64_t words_have_bytes;
	unsigned n_devices;
	struct device_figures devices[FIGURES_DEVICES_MAX];
};

/* Asks a zone that has a runner, unless that is under way; policy_sampled() follows when it
 * answers. Nothing happens when it cannot be reached. */
void stats_ask(struct zone *zone);

/* What it said last; NULL: nothing yet. */
const struct zone_figures *stats_figures(const struct zone *zone);

/* The part of it that a policy looks at. */
struct policy_sample stats_sample(const struct zone_figures *figures, uint64_t now_ns);

/* Ends the connection and forgets the figures. Not from inside policy_sampled(). */
void stats_close(struct zone *zone);

/* Takes a runner's words over into *figures, which hold what it said before, or zeroes. */
void stats_update(struct zone_figures *figures, const Protect__Runner__StatsReply *reply,
		  uint64_t now_ns);
