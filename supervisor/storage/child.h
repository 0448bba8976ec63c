// SPDX-License-Identifier: Apache-2.0
/*
 * Helper programs (mksquashfs, unsquashfs, mkfs.ext4): started without a shell, with a fixed
 * environment and only the three standard descriptors, default signals, and reaped by the thread
 * that started them. In the service another process executes them (helper.h); in one-shot commands
 * this one does. Any thread.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

#define CHILD_NOT_RUN 127 /* the exit status of a program that could not be executed */

struct child {
	pid_t pid;  /* -1: it is the helper's */
	int answer; /* where the helper says how it ended */
};

/* From now on, and before there is another thread: the helper's socket, for all children. */
void child_use_helper(int socket);

/*
 * Starts argv[0] (searched in /usr/bin:/bin:/usr/sbin:/sbin) with the borrowed descriptors as its
 * 0, 1, 2 (negative = /dev/null). Returns 0 or a negative errno with *err set; child_wait() or
 * child_kill() must follow a 0.
 */
int child_start(struct child *child, const char *const argv[], int in_fd, int out_fd, int err_fd,
		struct error *err);

/* Waits for the end. Returns the exit status, 128 + the signal's number, or CHILD_NOT_RUN. */
int child_wait(struct child *child);

/* SIGKILL, then waits. */
void child_kill(struct child *child);

/*
 * Runs argv and collects at most max bytes of its output, with a NUL behind them; the caller frees
 * *out. A child that writes more is killed. Returns the exit status (≥ 0), -EFBIG, or another
 * negative errno with *err set.
 */
int child_output(const char *const argv[], size_t max, char **out, size_t *len, struct error *err);
