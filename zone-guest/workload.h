// SPDX-License-Identifier: Apache-2.0
/*
 * A workload: an image's program as PID 1 of its own namespaces. It is launched (waiting for its
 * disk if that is not there yet), runs, has exited, and stays known, with its exit and the last of
 * its output, until it is started again, on the files that it left, or removed. It outlives
 * sessions: what it did meanwhile the host asks with LIST, which tells one run from the next by
 * their number.
 *
 * Requests that take time (launch, start, remove) are answered later by their id, if the session
 * they came in is still there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/uuid.h"
#include "zone-guest/scratch.h"
#include "zone-guest/settings.h"
#include "zone-guest/userns.h"
#include "zone-guest/zone.h"

enum workload_state { WORKLOAD_WAITING, WORKLOAD_STARTING, WORKLOAD_RUNNING, WORKLOAD_EXITED };

struct workload {
	struct zone *zone;
	struct uuid uuid;
	enum workload_state state;
	char name[ZONE_HOSTNAME_MAX + 1];
	char serial[24];
	struct volumes volumes;
	struct program program;
	settings_t *settings;
	struct userns userns;
	char scratch[SCRATCH_PATH_MAX]; /* "" = none yet */
	char scratch_serial[24];	/* of a disk for it; "" = a tmpfs */
	char scratch_disk[64];		/* path of that, once found */
	struct process process;
	unsigned run;	 /* how often it was started */
	int wait_status; /* of the last run that ended */
	struct reactor_timer
		timer; /* looking for the disk again; at the end for the group to be empty */
	unsigned empty_checks;
	uint64_t disk_deadline_ns;
	uint64_t launch_id, remove_id; /* requests to answer; 0 = none */
	int cgroup;		       /* -1 = none */
	uint64_t oom_kills;	       /* of its group before this run */
	bool oom_killed, removing;
};

/* Answers the request (method WORKLOAD_LAUNCH) now or later. */
void workload_launch(struct zone *zone, uint64_t id, const Protect__Agent__WorkloadLaunch *message);

/* The name that it has for itself; borrowed. */
const char *workload_hostname(const struct workload *workload);

/* WORKLOAD_START, WORKLOAD_ATTACH and WORKLOAD_REMOVE. */
void workload_start(struct workload *workload, uint64_t id,
		    const Protect__Agent__WorkloadStart *message);
void workload_attach(struct workload *workload, uint64_t id,
		     const Protect__Agent__WorkloadAttach *message);
void workload_remove(struct workload *workload, uint64_t id);

/* WORKLOAD_UPDATE: sets limits; none is changed for later runs that cannot be set now. */
void workload_update(struct workload *workload, uint64_t id,
		     const Protect__Agent__WorkloadUpdate *message);

/* Looks for the disk again if it waits for one. */
void workload_disk_changed(struct workload *workload);

/* Sends a signal to its first process, or to all of them. Returns 0 or a negative errno. */
int workload_signal(struct workload *workload, int signal, bool all);

/* Forgets the requests of a session that is gone. */
void workload_session_lost(struct workload *workload);

/* Frees it. Used by zone_deinit(); in all other cases it frees itself. */
void workload_free(struct workload *workload);

/* Fills a message whose strings lie in *text and *exited. */
struct workload_message {
	Protect__Agent__WorkloadState state;
	Protect__Agent__Exited exited;
	char uuid[UUID_TEXT_SIZE];
};
void workload_describe(const struct workload *workload, struct workload_message *out);
