// SPDX-License-Identifier: Apache-2.0
/*
 * One process that was asked for: a workload's first, or an exec in a workload or in the zone.
 * process.c is the parent's half: it clones, watches the child's report and its end; child.c is
 * what the child does until it executes the program.
 *
 * The life of a process: process_spawn() → started() once it executes its program →
 * process_reaped() → ended() once all its output was passed on. If the program cannot be executed
 * started() does not run, and ended() finds why in failure; then the process and its mounts are
 * gone already. zone-init's one thread owns it. Between clone and exec the child is our code, with
 * all rights of the zone, so it must not let itself be traced by those it joins.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "zone-guest/env.h"
#include "zone-guest/reactor.h"
#include "zone-guest/rootfs.h"
#include "zone-guest/settings.h"
#include "zone-guest/stdio.h"

enum process_place {
	PROCESS_IN_ZONE,	 /* the zone's own namespaces, all its rights */
	PROCESS_IN_NEW_WORKLOAD, /* new namespaces; it becomes their PID 1 */
	PROCESS_IN_WORKLOAD,	 /* joins those of a workload */
};

/* Everything here is borrowed for the call. */
struct process_spec {
	enum process_place place;
	char *const *argv; /* at least one, NULL-terminated */
	const struct strings *env;
	const char *working_directory; /* "" = / ; made in a new workload */
	const char *user;	       /* as user_resolve() */
	bool terminal;
	bool no_stdin; /* /dev/null instead of a pipe */
	uint16_t rows, columns;
	const struct rootfs_spec *rootfs; /* of a new workload */
	const settings_t *settings;	  /* of a workload; NULL in the zone itself */
	int join;			  /* pidfd of the workload's first process, to join it */
	const struct userns *userns;	  /* of a workload; NULL in the zone itself */
	int cgroup;			  /* descriptor of its cgroup folder, -1 = none */
};

struct process {
	struct reactor *reactor;
	struct reactor_watch report; /* the child's report socket, owned */
	struct stdio *stdio;	     /* owned */
	void (*started)(struct process *process);
	/* The last thing to happen; may free what holds *process. */
	void (*ended)(struct process *process);
	pid_t pid;	      /* in the zone's PID namespace; 0 = not spawned or reaped */
	int pidfd;	      /* -1 = none */
	int wait_status;      /* of waitpid(2), once reaped */
	struct error failure; /* why it did not start; code 0 = it did */
	bool running;	      /* started() ran */
};

/*
 * Prepares *process with streams that are not attached yet (process->stdio). Returns 0 or -ENOMEM.
 */
int process_init(struct process *process, struct reactor *reactor,
		 void (*started)(struct process *process), void (*ended)(struct process *process));

/* Frees what it holds; a process still running is left alone. May run twice. */
void process_deinit(struct process *process);

/*
 * Starts it. Returns 0, or a negative errno with the text; then neither started() nor ended()
 * follows.
 */
int process_spawn(struct process *process, const struct process_spec *spec, struct error *err);

/* Its parent has collected it; no more than one call. */
void process_reaped(struct process *process, int wait_status);

/* Sends a signal. Returns 0, -ESRCH when it has ended, or another negative errno. */
int process_signal(const struct process *process, int signal);

/* 0 to 255, 128+n for signal n. */
int process_exit_code(int wait_status);

/*
 * The child's half, called after clone(2): runs the program or reports why not through the socket.
 */
struct child_pipes {
	int in, out, err; /* with a terminal unused */
	int report;
};
_Noreturn void child_run(const struct process_spec *spec, const struct child_pipes *pipes);

/*
 * What comes through the report socket; a terminal's master comes as a descriptor with
 * CHILD_TERMINAL.
 */
enum child_report_kind { CHILD_TERMINAL = 1, CHILD_FAILED = 2 };

struct child_report {
	uint32_t kind;
	struct error failure;
};
