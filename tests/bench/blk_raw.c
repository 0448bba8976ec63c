// SPDX-License-Identifier: Apache-2.0
/*
 * The peer of blk_path: the plainest fast io_uring loop over a file. One registered file, DEPTH
 * operations always in flight, one io_uring_enter() a batch; for arguments see measure.h.
 */
#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "measure.h"

static void die(const char *what, int r)
{
	fprintf(stderr, "bench_blk_raw: %s: %s\n", what, strerror(-r));
	exit(EXIT_FAILURE);
}

static void start(struct io_uring *ring, struct blk_job *job, uint8_t *buffers, uint64_t i)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	uint8_t *buffer = buffers + i * job->block_bytes;
	uint64_t offset = blk_job_next(job);

	if (job->write)
		io_uring_prep_write(sqe, 0, buffer, job->block_bytes, offset);
	else
		io_uring_prep_read(sqe, 0, buffer, job->block_bytes, offset);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data64(sqe, i);
}

/* Reaps what is there and starts as many again. */
static unsigned turn(struct io_uring *ring, struct blk_job *job, uint8_t *buffers)
{
	uint64_t ended[1024];
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;

	io_uring_for_each_cqe(ring, head, cqe)
	{
		if (cqe->res != (int)job->block_bytes)
			die("operation", cqe->res < 0 ? cqe->res : -EIO);
		ended[n++] = cqe->user_data;
	}
	io_uring_cq_advance(ring, n);
	for (unsigned i = 0; i < n; i++)
		start(ring, job, buffers, ended[i]);
	return n;
}

static void make_ring(struct io_uring *ring, const struct blk_job *job, int fd)
{
	struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
						  IORING_SETUP_COOP_TASKRUN};
	int r = io_uring_queue_init_params(job->depth, ring, &params);

	if (r == 0)
		r = io_uring_register_files(ring, &fd, 1);
	if (r < 0)
		die("cannot make the ring", r);
}

int main(int argc, char **argv)
{
	uint64_t n_ops = 0, begin, cpu, now;
	struct io_uring ring;
	struct blk_job job;
	uint8_t *buffers;
	int fd = blk_job_open(&job, argc, argv);

	if (job.depth > 1024)
		return 2;
	buffers = mmap(NULL, (size_t)job.depth * job.block_bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (buffers == MAP_FAILED)
		die("memory", -errno);
	make_ring(&ring, &job, fd);
	begin = clock_now_ns();
	cpu = cpu_ns();
	for (unsigned i = 0; i < job.depth; i++)
		start(&ring, &job, buffers, i);
	do {
		int r = io_uring_submit_and_wait(&ring, 1);

		if (r < 0 && r != -EINTR)
			die("io_uring_enter", r);
		n_ops += turn(&ring, &job, buffers);
		now = clock_now_ns();
	} while (now - begin < job.run_ns);
	blk_job_report(n_ops, now - begin, cpu_ns() - cpu);
	return 0;
}
