// SPDX-License-Identifier: Apache-2.0
/*
 * What workloads may not ask the kernel for, by seccomp filters: two at most, of which the stricter
 * word counts.
 *
 * The guard is there in every workload, also in a privileged one: no AF_VSOCK socket, so that
 * nobody poses as the zone's agent, and no io_uring, which can make sockets without a system call
 * that a filter sees. The profile is on top of it: what Docker's default one keeps from programs
 * without the capabilities for it (a list of what is refused here, and of nothing newer than it
 * knows), a program that somebody compiled from a profile of his own, or none. It does not guard
 * the zone from the workload, whose kernel is the tenant's own, but workloads from each other.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum filter_profile { FILTER_DEFAULT, FILTER_UNCONFINED, FILTER_PROGRAM };

struct filter_spec {
	enum filter_profile profile;
	uint64_t caps;	     /* that the program will have at most */
	const void *program; /* struct sock_filter, with FILTER_PROGRAM */
	size_t len_bytes;
};

/*
 * Confines the calling process and what it will be, which needs CAP_SYS_ADMIN or no_new_privs.
 * Returns 0 or a negative errno with the text; a program must not go on without its filters.
 */
int filter_apply(const struct filter_spec *spec, struct error *err);
