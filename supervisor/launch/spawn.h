// SPDX-License-Identifier: Apache-2.0
/*
 * Starts one runner: the child gives up everything it has but the descriptors it was given, and
 * executes the runner. Whatever fails in the child, the exec included, is told to the parent, so
 * that "spawned" means that the runner's own code runs.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct spawn {
	const char *runner;
	int kvm;
	int null;	/* /dev/null */
	const int *fds; /* in the order of enum launch_place */
	unsigned n_fds;
	int cgroup; /* directory descriptor, -1 = none */
	bool change_ids;
	uid_t id; /* uid and gid, if change_ids */
};

/*
 * Returns the process id and sets *pidfd (owned by the caller), or a negative errno with text, and
 * then no process is left. Borrows all descriptors. The caller reaps the process.
 */
pid_t spawn_runner(const struct spawn *spawn, int *pidfd, struct error *err);
