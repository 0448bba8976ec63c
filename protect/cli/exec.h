// SPDX-License-Identifier: Apache-2.0
/* What zone exec, workload exec and workload launch --attach have in common. Main thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protect/cli/args.h"
#include "protect/cli/connect.h"
#include "protect/cli/env_file.h"
#include "protect/cli/relay.h"

struct exec_options {
	bool terminal;
	bool detach;
	struct arg_list env, env_files;
	const char *directory;
	const char *user;
};

/* A process as the request says it; strings are borrowed, env is owned. */
struct exec_process {
	Protect__Control__Process message;
	Protect__Control__Terminal size;
	char **env;
	char *term;		/* TERM=…, owned */
	struct env_file *files; /* what lines of env point into */
	size_t n_files;
};

/* Fills *process; with a relay also its streams. Returns 0 or a negative errno, having said so. */
int exec_process_init(struct exec_process *process, const struct args *args,
		      const struct exec_options *options, const struct relay *relay);
void exec_process_deinit(struct exec_process *process);

/* The flags of a relay for a process with or without a terminal. */
unsigned exec_relay_flags(bool terminal);

/* Runs the tail in the zone or workload that operand 0 names. Returns the exit status of that or of
 * this program. */
int exec_run(uint32_t method, const struct args *args, const struct exec_options *options);
