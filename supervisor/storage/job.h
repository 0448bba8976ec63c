// SPDX-License-Identifier: Apache-2.0
/*
 * The caller of an operation, as the code deep inside sees it: somebody to tell about progress, who
 * may have left. One worker thread owns a job. A job without a socket (one-shot commands) is never
 * cancelled.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct job {
	int socket; /* borrowed; the client's connection, or -1 */
	/* Of a part only, see job_part(). */
	const char *item; /* or NULL */
	unsigned item_number, items;
	const atomic_bool *stop;
	uint64_t checked_ns;
	uint64_t told_ns;
};

#define JOB_NONE                                                                                   \
	{                                                                                          \
		.socket = -1                                                                       \
	}

/*
 * To be called often from anything that takes long. Tells the client `text` with done of total
 * bytes (0 = unknown), at most five times a second and never waiting for it. Returns 0, or
 * -ECANCELED when the client has closed its connection.
 */
int job_progress(struct job *job, const char *text, uint64_t done, uint64_t total);

/*
 * A job for one of several things that are done at once for a client, each by its own thread: item
 * (borrowed) is the number-th of n. Progress tells of the item; when *stop becomes true the part is
 * cancelled.
 */
struct job job_part(const struct job *job, const char *item, unsigned number, unsigned n,
		    const atomic_bool *stop);

/* Tells that a part is complete, whatever was told before. */
void job_part_done(struct job *job, const char *text, uint64_t total);
