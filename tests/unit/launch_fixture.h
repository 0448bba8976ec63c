// SPDX-License-Identifier: Apache-2.0
/*
 * A protect-launch without its socket, for tests: requests go straight to runners_request(), and
 * the runner is launch_probe, which does what the spec's text says (launch_probe.c). Works as any
 * user; the change of ids is tested when that is root.
 */
#pragma once

#include "harness.h"

#include "supervisor/launch/launch.h"
#include "supervisor/launch/runners.h"

#define N_FDS	     5u
#define TELL_STATUS  7 /* the probe's exit status after "tell" */
#define HEARD_STATUS 9 /* and after "listen", once SIGTERM came */

struct fixture {
	struct runners runners;
	const char *order; /* to the probe */
	char dir[32], socket[64], log[64], exit[64];
};

void fixture_init(struct fixture *f, const char *order);
void fixture_deinit(struct fixture *f);

/* A SPAWN that nothing is wrong with, of a zone of its own. */
struct launch_request fixture_request(void);

void fixture_open_fds(struct fixture *f, int fds[static N_FDS]);

/* One request; fds are closed by it. */
struct launch_reply fixture_ask(struct fixture *f, const struct launch_request *request, int *fds);

struct launch_reply fixture_spawn(struct fixture *f, const struct launch_request *request);
struct launch_reply fixture_signal(struct fixture *f, const struct uuid *uuid, unsigned signal);

/* Waits for the runner's end, 5 s at most. */
struct launch_reply fixture_reap(struct fixture *f, const struct uuid *uuid);

/* What the probe said so far; the caller frees it. */
char *fixture_log(const struct fixture *f);
