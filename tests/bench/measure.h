// SPDX-License-Identifier: Apache-2.0
/*
 * What the measuring programs share: CPU time, random places, the job of the block programs. They
 * run alone, print one line of JSON and trust their caller. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What one run of a block program does. */
struct blk_job {
	const char *path;
	bool write, sequential, direct;
	unsigned depth;	      /* operations in flight */
	uint32_t block_bytes; /* a multiple of 512 */
	uint64_t run_ns;
	uint64_t file_bytes; /* set by blk_job_open() */
	uint64_t next, random;
};

/* CPU time of this process (all its threads, the kernel's workers for it too), in ns. */
uint64_t cpu_ns(void);

/*
 * Reads "FILE read|write random|sequential DEPTH BLOCK_BYTES MS [direct]" into job and opens the
 * file. Returns the descriptor; ends the process when something is wrong.
 */
int blk_job_open(struct blk_job *job, int argc, char **argv);

/* Where the next operation goes, in bytes. */
uint64_t blk_job_next(struct blk_job *job);

/* Prints {"iops", "cpu_ns_per_op"}. */
void blk_job_report(uint64_t n_ops, uint64_t wall_ns, uint64_t spent_cpu_ns);
