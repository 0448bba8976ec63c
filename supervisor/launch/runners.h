// SPDX-License-Identifier: Apache-2.0
/*
 * The runners that this protect-launch started, and the requests about them. Owned by the one
 * thread. The client is not trusted: every request is copied, checked whole, and then carried out.
 * Memory is bounded by the number of uid slots.
 *
 * When protect-launch itself is started anew, runners go on without it: it knows them no more, but
 * their cgroups can still be killed and removed by UUID.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "supervisor/launch/cgroup.h"
#include "supervisor/launch/folders.h"
#include "supervisor/launch/launch.h"

struct runner_record {
	struct uuid uuid;
	uint32_t slot;
	pid_t pid;
	int pidfd;
	int wait_status;
	bool used, ended, group_left;
	bool on_xen, domain_left;    /* ended, and what is left of its domain not destroyed yet */
	struct cgroup_report report; /* once the group is gone */
};

struct runners_config {
	const char *runner, *xen_runner;
	const char *folder_server;     /* the program zone-fs */
	const struct folders *folders; /* borrowed; which folders zones may have */
	const char *kvm;
	struct cgroups *cgroups; /* borrowed; NULL = zones have no limits */
	int null;
	bool change_ids;
	uid_t uid_base;
	uint32_t uid_count;
};

struct runners {
	struct runners_config config;
	struct runner_record *records; /* uid_count of them */
};

/* Takes over what config holds (borrowed strings outlive it). Returns 0 or -ENOMEM. */
int runners_init(struct runners *runners, const struct runners_config *config);

/* Frees the records. The runners themselves go on. */
void runners_deinit(struct runners *runners);

/*
 * Carries out one packet of len bytes with its descriptors, which are closed in any case. Fills
 * *reply; *pidfd becomes a descriptor to send with it (owned by the caller) or -1.
 */
void runners_request(struct runners *runners, const void *packet, size_t len, int *fds,
		     unsigned n_fds, struct launch_reply *reply, int *pidfd);

/* Collects children that ended and removes their cgroups. Returns whether a group is left to remove
 * later. */
bool runners_collect(struct runners *runners);
