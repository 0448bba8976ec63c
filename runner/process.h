// SPDX-License-Identifier: Apache-2.0
/*
 * What the process of a runner does, whatever its hypervisor: its signals, its exit record and its
 * exit status (base/runner.h, docs/zone-spec.md).
 */
#pragma once

#include <stdint.h>
#include <sys/signalfd.h>

#include "base/error.h"
#include "base/loop.h"
#include "runner/shutdown.h"
#include "runner/spec.h"

#define RUNNER_EXIT_USAGE 2

/* Makes descriptors 0 to 2 open: whoever started us may have closed them, and what is opened next
 * would then be taken for the log. */
void runner_open_stdio(void);

/* What an option such as --spec-fd names, made close-on-exec; -EBADF if that is not open. */
int runner_parse_fd(const char *text);

/* Reads and parses the spec at path, or, without one, of descriptor fd. As spec_parse(). */
int runner_read_spec(const char *path, int fd, struct zone_spec *spec, struct error *err);

/* SIGTERM and SIGINT, each a shutdown_request(). */
struct runner_signals {
	struct shutdown *shutdown; /* borrowed */
	struct loop *loop;
	int fd, slot;
	struct loop_op op;
	struct signalfd_siginfo info;
	uint32_t last; /* signal, and when it came */
	uint64_t last_ns;
};

/* Before any thread is started: all of them inherit the blocked signals. Returns 0 or a negative
 * errno; the owner closes fd after the loop's end. */
int runner_watch_signals(struct runner_signals *signals, struct loop *loop,
			 struct shutdown *shutdown);

/* Writes the exit record; fd -1: there is none. */
void runner_write_exit(int fd, const char *reason, const char *detail);

/* The exit status of a runner whose zone ended so. */
int runner_exit_status(const char *reason);
