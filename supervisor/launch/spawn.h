// SPDX-License-Identifier: Apache-2.0
/*
 * Starts one runner, or the server of a folder that it has, in the sandbox of base/isolate.h: the
 * child is born into namespaces of its own, waits until the parent has mapped its ids and put it
 * into its cgroup, gives up everything it has but the descriptors it was given, and executes the
 * runner by a descriptor, for it sees no file any more. Whatever fails in the child, the exec
 * included, is told to the parent, so that "spawned" means that the runner's own code runs.
 *
 * A runner that needs a loader (PT_INTERP) cannot start in an empty root. Debug builds let it keep
 * the host's and say so in the log; all others refuse it.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/error.h"

/* A server of a folder (zone-fs) rather than a runner: the folder is its root. */
struct spawn_folder {
	const char *path;
	const struct stat *known; /* what the path has to lead to */
	bool read_only;
	int socket; /* its end of the connection */
};

struct spawn {
	const char *runner; /* the program */
	const struct spawn_folder
		*folder;	      /* NULL: a runner; else kvm, fds and n_fds are not used */
	const char *const *arguments; /* with the program's name, NULL behind the last */
	/* Stays in the caller's namespaces and root, and with its uid: no stage of the sandbox but
	 * limits and the loss of all capabilities. For runners on Xen. */
	bool on_host;
	int kvm;
	int null;	/* /dev/null */
	const int *fds; /* in the order of enum launch_place */
	unsigned n_fds;
	int cgroup; /* directory descriptor to be born in, -1 = none */
	/* Puts the process into its cgroup before it runs anything of its own; NULL = nothing to
	 * do. Returns 0 or a negative errno with text. */
	int (*enter)(void *user, pid_t pid, struct error *err);
	void *user;
	/* Of the runner, outside and inside. Others than the caller's need root, and root without
	 * supplementary groups: a runner keeps those of the caller. */
	uid_t uid;
	gid_t gid;
};

/*
 * Returns the process id and sets *pidfd (owned by the caller), or a negative errno with text, and
 * then no process is left. Borrows all descriptors. The caller reaps the process, which is PID 1 of
 * its namespace: SIGTERM and SIGINT are blocked until it asks for them, and ignored after that.
 */
pid_t spawn_runner(const struct spawn *spawn, int *pidfd, struct error *err);
