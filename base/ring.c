// SPDX-License-Identifier: Apache-2.0
#include "base/ring.h"

#include <errno.h>
#include <string.h>

#include "base/poll_ring.h"
#include "base/util.h"

static const uint8_t allowed_ops[] = {
	IORING_OP_READ,	    IORING_OP_WRITE,	 IORING_OP_READV,	 IORING_OP_WRITEV,
	IORING_OP_FSYNC,    IORING_OP_FALLOCATE, IORING_OP_RECV,	 IORING_OP_SEND,
	IORING_OP_POLL_ADD, IORING_OP_TIMEOUT,	 IORING_OP_ASYNC_CANCEL,
};

static int restrict_ring(struct io_uring *uring)
{
	struct io_uring_restriction rules[ARRAY_SIZE(allowed_ops) + 2];
	unsigned n = 0;

	memset(rules, 0, sizeof(rules));
	for (unsigned i = 0; i < ARRAY_SIZE(allowed_ops); i++)
		rules[n++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_OP,
							   .sqe_op = allowed_ops[i]};
	rules[n++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED,
						   .sqe_flags = IOSQE_FIXED_FILE};
	rules[n++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_REGISTER_OP,
						   .register_op = IORING_REGISTER_FILES_UPDATE};
	return io_uring_register_restrictions(uring, rules, n);
}

/* The newer flags save interrupts and locks; a kernel that lacks them gives the plain ring. */
static int make_uring(struct io_uring *uring, unsigned entries)
{
	const unsigned flags[] = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN, 0};
	int r = -EINVAL;

	for (unsigned i = 0; i < ARRAY_SIZE(flags) && r == -EINVAL; i++) {
		struct io_uring_params params = {.flags = flags[i] | IORING_SETUP_R_DISABLED |
							  IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE,
						 .cq_entries = entries * 4};

		r = io_uring_queue_init_params(entries, uring, &params);
	}
	return r;
}

static int init_uring(struct io_uring *uring, unsigned entries, unsigned slots)
{
	int r = make_uring(uring, entries);

	if (r < 0)
		return r;
	r = io_uring_register_files_sparse(uring, slots);
	if (r == 0)
		r = restrict_ring(uring);
	if (r == 0)
		r = io_uring_enable_rings(uring);
	if (r < 0)
		io_uring_queue_exit(uring);
	return r;
}

/* By sysctl (EPERM), by a seccomp filter (EPERM, EACCES, ENOSYS), or not built in. */
static bool is_disabled(int r)
{
	return r == -ENOSYS || r == -EPERM || r == -EACCES;
}

int ring_init(struct ring *ring, unsigned entries, unsigned slots, bool always_poll)
{
	int r = always_poll ? -ENOSYS : 0;

	memset(ring, 0, sizeof(*ring));
	if (r == 0)
		r = init_uring(&ring->uring, entries, slots);
	return is_disabled(r) ? poll_ring_new(&ring->poll, entries, slots) : r;
}

/*
 * All that a ring needs once it is enabled; with its restrictions, which a filter cannot see.
 * #syscalls ring: io_uring_enter io_uring_register(_, IORING_REGISTER_FILES_UPDATE) munmap close
 */
void ring_exit(struct ring *ring)
{
	if (ring->poll)
		ring->poll = poll_ring_free(ring->poll);
	else
		io_uring_queue_exit(&ring->uring);
}

int ring_set_file(struct ring *ring, unsigned slot, int fd)
{
	int r;

	if (ring->poll)
		return poll_ring_set_file(ring->poll, slot, fd);
	r = io_uring_register_files_update(&ring->uring, slot, &fd, 1);
	return r < 0 ? r : 0;
}

struct io_uring_sqe *ring_get_entry(struct ring *ring)
{
	return ring->poll ? poll_ring_get_entry(ring->poll) : io_uring_get_sqe(&ring->uring);
}

int ring_submit(struct ring *ring)
{
	return ring->poll ? poll_ring_submit(ring->poll, false) : io_uring_submit(&ring->uring);
}

int ring_submit_and_wait(struct ring *ring)
{
	return ring->poll ? poll_ring_submit(ring->poll, true)
			  : io_uring_submit_and_wait(&ring->uring, 1);
}

bool ring_next(struct ring *ring, struct ring_completion *out)
{
	struct io_uring_cqe *cqe;

	if (ring->poll)
		return poll_ring_next(ring->poll, out);
	if (io_uring_peek_cqe(&ring->uring, &cqe) != 0)
		return false;
	*out = (struct ring_completion){
		.user = io_uring_cqe_get_data(cqe), .res = cqe->res, .flags = cqe->flags};
	io_uring_cqe_seen(&ring->uring, cqe);
	return true;
}

unsigned ring_under_way(const struct ring *ring)
{
	if (ring->poll)
		return poll_ring_under_way(ring->poll);
	/* Each entry has one completion; both counts wrap. */
	return ring->uring.sq.sqe_tail - *ring->uring.cq.khead;
}
