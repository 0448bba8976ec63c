// SPDX-License-Identifier: Apache-2.0
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"

uint64_t cpu_ns(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return ((uint64_t)use.ru_utime.tv_sec + (uint64_t)use.ru_stime.tv_sec) * NS_PER_S +
	       ((uint64_t)use.ru_utime.tv_usec + (uint64_t)use.ru_stime.tv_usec) * 1000;
}

static void usage(const char *program)
{
	fprintf(stderr,
		"usage: %s FILE read|write random|sequential DEPTH BLOCK_BYTES MS [direct]\n",
		program);
	exit(2);
}

int blk_job_open(struct blk_job *job, int argc, char **argv)
{
	int fd;

	if (argc < 7)
		usage(argv[0]);
	*job = (struct blk_job){.path = argv[1],
				.write = strcmp(argv[2], "write") == 0,
				.sequential = strcmp(argv[3], "sequential") == 0,
				.depth = (unsigned)strtoul(argv[4], NULL, 10),
				.block_bytes = (uint32_t)strtoul(argv[5], NULL, 10),
				.run_ns = strtoull(argv[6], NULL, 10) * NS_PER_MS,
				.direct = argc > 7 && strcmp(argv[7], "direct") == 0,
				.random = 0x9e3779b97f4a7c15};
	if (job->depth == 0 || job->block_bytes == 0)
		usage(argv[0]);
	fd = open(job->path, O_RDWR | O_CLOEXEC | (job->direct ? O_DIRECT : 0));
	if (fd < 0) {
		fprintf(stderr, "%s: %s: %s\n", argv[0], job->path, strerror(errno));
		exit(EXIT_FAILURE);
	}
	job->file_bytes = (uint64_t)lseek(fd, 0, SEEK_END);
	if (job->file_bytes < job->block_bytes)
		usage(argv[0]);
	return fd;
}

uint64_t blk_job_next(struct blk_job *job)
{
	uint64_t n_blocks = job->file_bytes / job->block_bytes;

	if (job->sequential)
		return (job->next++ % n_blocks) * job->block_bytes;
	/* xorshift64: the same places in every program. */
	job->random ^= job->random << 13;
	job->random ^= job->random >> 7;
	job->random ^= job->random << 17;
	return (job->random % n_blocks) * job->block_bytes;
}

void blk_job_report(uint64_t n_ops, uint64_t wall_ns, uint64_t spent_cpu_ns)
{
	printf("{\"iops\": %.0f, \"cpu_ns_per_op\": %.0f}\n", (double)n_ops * 1e9 / (double)wall_ns,
	       (double)spent_cpu_ns / (double)n_ops);
}
