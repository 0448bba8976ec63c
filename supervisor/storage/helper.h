// SPDX-License-Identifier: Apache-2.0
/*
 * The process that executes programs (mksquashfs, unsquashfs, mkfs) for protect-storage, which
 * itself may execute nothing once its filter is loaded. It is forked while there is neither a
 * thread nor a foreign byte, and has a filter of its own: a filter is inherited and can only be
 * narrowed, so what the programs need must not be missing in their parent's.
 *
 *   protect-storage ── request, descriptors ──▶ helper ── fork ──▶ keeper ── fork, filter, exec ──▶
 *                   ◀───────────── status, over a socket of the request's own ─────────┘
 *
 * Each program has a keeper, which waits for it and answers; when the request's socket is closed
 * (the caller gave up, or was killed) the keeper kills it. Nothing outlives protect-storage.
 */
#pragma once

#include <stdint.h>

#define HELPER_ARGS_MAX	 32u
#define HELPER_BYTES_MAX 8192u

/* One packet, with four descriptors: 0, 1 and 2 of the program and a socket for the answer, an
 * int32_t: the exit status, 128 + a signal's number, or a negative errno. */
struct helper_request {
	uint32_t n_args;
	char args[HELPER_BYTES_MAX]; /* each with its NUL; the first names the program */
};

/* Forks the helper; mkfs is the one program that may be named by a path. Returns the socket where
 * it hears, which lives as long as the process, or a negative errno. */
int helper_start(const char *mkfs);
