// SPDX-License-Identifier: Apache-2.0
#include "base/poll_ring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/util.h"

#define WORKERS	      4u
#define WORKER_STACK  (64u * 1024)
#define PIPE_PART_MAX 4096u /* what poll() promises to fit into a pipe: PIPE_BUF */

/* A file of a slot, for as long as the slot or an operation has it. */
struct file {
	int fd;
	bool is_file; /* never in poll(2): a file or block device */
	bool is_pipe;
	unsigned users;
};

/* An operation from its submission to the taking of its completion. */
struct task {
	struct task *next;
	struct io_uring_sqe entry;
	struct file *file; /* NULL: a timeout */
	int res;
};

struct queue {
	struct task *first, **end;
};

struct poll_ring {
	struct io_uring_sqe *entries;
	unsigned n_entries, n_entered;
	struct file **slots;
	unsigned n_slots;
	unsigned n_tasks;
	struct queue waiting; /* for poll(2) or for their time */
	struct queue done;
	struct pollfd *polls;
	unsigned n_polls_max;

	pthread_mutex_t lock;
	pthread_cond_t work;
	struct queue to_do, finished; /* of the workers; under the lock */
	bool stopping;		      /* under the lock */
	int finished_fd;	      /* eventfd: something has finished */
	unsigned n_workers;
	pthread_t workers[WORKERS];
	int (*confine)(void); /* what each worker does first; NULL: nothing */
	unsigned n_confined;  /* workers that have tried; under the lock */
	int confine_error;    /* under the lock */
};

static void queue_init(struct queue *queue)
{
	queue->first = NULL;
	queue->end = &queue->first;
}

static void queue_add(struct queue *queue, struct task *task)
{
	task->next = NULL;
	*queue->end = task;
	queue->end = &task->next;
}

static struct task *queue_take(struct queue *queue, struct task **place)
{
	struct task *task = *place;

	*place = task->next;
	if (!task->next)
		queue->end = place;
	return task;
}

/*
 * #syscalls poll: ppoll read write readv writev recvfrom sendto(_, _, _, _, _, 0) close
 *	fcntl(_, F_DUPFD_CLOEXEC) newfstatat(_, _, _, AT_EMPTY_PATH)
 * #syscalls poll.worker: preadv2 pwritev2 fsync fdatasync fallocate write
 */
static void file_release(struct file *file)
{
	if (!file || --file->users)
		return;
	close(file->fd);
	free(file);
}

static void complete(struct poll_ring *ring, struct task *task, int res)
{
	task->res = res;
	queue_add(&ring->done, task);
}

/* Files. */

static int do_transfer(const struct task *task)
{
	const struct io_uring_sqe *e = &task->entry;
	void *addr = (void *)(uintptr_t)e->addr; /* NOLINT(performance-no-int-to-ptr) */
	bool vector = e->opcode == IORING_OP_READV || e->opcode == IORING_OP_WRITEV;
	const struct iovec one = {.iov_base = addr, .iov_len = e->len};
	const struct iovec *iov = vector ? addr : &one;
	int n_iov = vector ? (int)e->len : 1, fd = task->file->fd;
	off_t off = (off_t)e->off; /* -1: the file's own position, as preadv2(2) has it */
	ssize_t n;

	if (e->opcode == IORING_OP_READ || e->opcode == IORING_OP_READV)
		n = preadv2(fd, iov, n_iov, off, 0);
	else
		n = pwritev2(fd, iov, n_iov, off, 0);
	return n < 0 ? -errno : (int)n;
}

static int do_file_op(const struct task *task)
{
	const struct io_uring_sqe *e = &task->entry;
	int fd = task->file->fd, r;

	switch (e->opcode) {
	case IORING_OP_FSYNC:
		r = e->fsync_flags & IORING_FSYNC_DATASYNC ? fdatasync(fd) : fsync(fd);
		break;
	case IORING_OP_FALLOCATE: /* mode in len, length in addr: io_uring_enter(2) */
		r = fallocate(fd, (int)e->len, (off_t)e->off, (off_t)e->addr);
		break;
	case IORING_OP_READ:
	case IORING_OP_WRITE:
	case IORING_OP_READV:
	case IORING_OP_WRITEV:
		return do_transfer(task);
	default:
		return -EOPNOTSUPP;
	}
	return r < 0 ? -errno : 0;
}

/* Returns with the lock held. */
static void begin_worker(struct poll_ring *ring)
{
	int r = ring->confine ? ring->confine() : 0;

	pthread_mutex_lock(&ring->lock);
	if (r < 0)
		ring->confine_error = r;
	ring->n_confined++;
	pthread_cond_broadcast(&ring->work);
}

static void *run_worker(void *user)
{
	struct poll_ring *ring = user;
	const uint64_t one = 1;

	begin_worker(ring);
	while (!ring->stopping && ring->confine_error == 0) {
		struct task *task;

		if (!ring->to_do.first) {
			pthread_cond_wait(&ring->work, &ring->lock);
			continue;
		}
		task = queue_take(&ring->to_do, &ring->to_do.first);
		pthread_mutex_unlock(&ring->lock);
		task->res = do_file_op(task);
		pthread_mutex_lock(&ring->lock);
		queue_add(&ring->finished, task);
		(void)!write(ring->finished_fd, &one, sizeof(one));
	}
	pthread_mutex_unlock(&ring->lock);
	return NULL;
}

/* Signals are for the threads that expect them. */
static void start_workers(struct poll_ring *ring)
{
	pthread_attr_t attr;
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	while (ring->n_workers < WORKERS &&
	       pthread_create(&ring->workers[ring->n_workers], &attr, run_worker, ring) == 0)
		ring->n_workers++;
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

int poll_ring_start_workers(struct poll_ring *ring, int (*confine)(void))
{
	int r;

	assert(ring->n_workers == 0);
	ring->confine = confine;
	start_workers(ring);
	if (ring->n_workers == 0)
		return -EAGAIN;
	pthread_mutex_lock(&ring->lock);
	while (ring->n_confined < ring->n_workers)
		pthread_cond_wait(&ring->work, &ring->lock);
	r = ring->confine_error;
	pthread_mutex_unlock(&ring->lock);
	return r;
}

static void hand_to_workers(struct poll_ring *ring, struct task *task)
{
	if (ring->n_workers == 0)
		start_workers(ring);
	if (ring->n_workers == 0) { /* slow is better than never */
		complete(ring, task, do_file_op(task));
		return;
	}
	pthread_mutex_lock(&ring->lock);
	queue_add(&ring->to_do, task);
	pthread_cond_signal(&ring->work);
	pthread_mutex_unlock(&ring->lock);
}

static void collect_finished(struct poll_ring *ring)
{
	uint64_t count;

	(void)!read(ring->finished_fd, &count, sizeof(count));
	pthread_mutex_lock(&ring->lock);
	while (ring->finished.first)
		queue_add(&ring->done, queue_take(&ring->finished, &ring->finished.first));
	pthread_mutex_unlock(&ring->lock);
}

/* What waits in poll(2). */

static uint32_t wanted_events(const struct io_uring_sqe *entry)
{
	switch (entry->opcode) {
	case IORING_OP_POLL_ADD:
		return entry->poll32_events;
	case IORING_OP_READ:
	case IORING_OP_READV:
	case IORING_OP_RECV:
		return POLLIN;
	default:
		return POLLOUT;
	}
}

/* Only we read from and write to it, so what poll() promised still holds. */
static int do_stream_op(const struct task *task, uint32_t events)
{
	const struct io_uring_sqe *e = &task->entry;
	void *addr = (void *)(uintptr_t)e->addr; /* NOLINT(performance-no-int-to-ptr) */
	int fd = task->file->fd;
	ssize_t n;

	switch (e->opcode) {
	case IORING_OP_POLL_ADD:
		return (int)events;
	case IORING_OP_READ:
		n = read(fd, addr, e->len);
		break;
	case IORING_OP_WRITE:
		n = write(fd, addr,
			  task->file->is_pipe && e->len > PIPE_PART_MAX ? PIPE_PART_MAX : e->len);
		break;
	case IORING_OP_READV:
		n = readv(fd, addr, (int)e->len);
		break;
	case IORING_OP_WRITEV:
		n = writev(fd, addr, (int)e->len);
		break;
	case IORING_OP_RECV:
		n = recv(fd, addr, e->len, (int)e->msg_flags | MSG_DONTWAIT);
		break;
	case IORING_OP_SEND:
		n = send(fd, addr, e->len, (int)e->msg_flags | MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	default:
		return -EOPNOTSUPP;
	}
	return n < 0 ? -errno : (int)n;
}

static uint64_t deadline_ns(const struct task *task)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	const struct __kernel_timespec *at = (const void *)(uintptr_t)task->entry.addr;

	return (uint64_t)at->tv_sec * NS_PER_S + (uint64_t)at->tv_nsec;
}

/* Lays the poll table out in the order of the waiting tasks, behind the workers' eventfd. */
static int lay_out(struct poll_ring *ring, unsigned *n, uint64_t *earliest_ns)
{
	*n = 0;
	*earliest_ns = UINT64_MAX;
	for (struct task *task = ring->waiting.first; task; task = task->next) {
		if (!task->file) {
			if (deadline_ns(task) < *earliest_ns)
				*earliest_ns = deadline_ns(task);
			continue;
		}
		if (++*n == ring->n_polls_max) {
			void *grown = reallocarray(ring->polls, 2 * (size_t)ring->n_polls_max,
						   sizeof(*ring->polls));

			if (!grown)
				return -EAGAIN;
			ring->polls = grown;
			ring->n_polls_max *= 2;
		}
		ring->polls[*n] = (struct pollfd){.fd = task->file->fd,
						  .events = (short)wanted_events(&task->entry)};
	}
	ring->polls[0] = (struct pollfd){.fd = ring->finished_fd, .events = POLLIN};
	++*n;
	return 0;
}

static void finish_waiting(struct poll_ring *ring)
{
	const struct pollfd *poll_fd = &ring->polls[1];
	uint64_t now_ns = clock_now_ns();

	for (struct task **place = &ring->waiting.first; *place;) {
		struct task *task = *place;
		int res = -EAGAIN;

		if (!task->file)
			res = deadline_ns(task) <= now_ns ? -ETIME : -EAGAIN;
		else if ((poll_fd++)->revents)
			res = do_stream_op(task, (uint32_t)poll_fd[-1].revents);
		if (res == -EAGAIN)
			place = &task->next;
		else
			complete(ring, queue_take(&ring->waiting, place), res);
	}
}

static int wait_for_events(struct poll_ring *ring, bool block)
{
	struct timespec timeout = {0};
	uint64_t earliest_ns, now_ns;
	unsigned n;
	int r = lay_out(ring, &n, &earliest_ns);

	if (r < 0)
		return r;
	now_ns = clock_now_ns();
	if (block && earliest_ns > now_ns) {
		timeout.tv_sec = (time_t)((earliest_ns - now_ns) / NS_PER_S);
		timeout.tv_nsec = (long)((earliest_ns - now_ns) % NS_PER_S);
	}
	if (ppoll(ring->polls, n, block && earliest_ns == UINT64_MAX ? NULL : &timeout, NULL) < 0)
		return -errno;
	if (ring->polls[0].revents)
		collect_finished(ring);
	finish_waiting(ring);
	return 0;
}

/* Entries. */

static struct task *find_and_take(struct queue *queue, uint64_t user_data)
{
	for (struct task **place = &queue->first; *place; place = &(*place)->next)
		if ((*place)->entry.user_data == user_data)
			return queue_take(queue, place);
	return NULL;
}

/* What a worker has begun ends by itself. */
static void cancel(struct poll_ring *ring, uint64_t user_data)
{
	struct task *task = find_and_take(&ring->waiting, user_data);

	if (!task) {
		pthread_mutex_lock(&ring->lock);
		task = find_and_take(&ring->to_do, user_data);
		pthread_mutex_unlock(&ring->lock);
	}
	if (task)
		complete(ring, task, -ECANCELED);
}

static int start(struct poll_ring *ring, const struct io_uring_sqe *entry)
{
	struct task *task;
	bool needs_file = entry->opcode != IORING_OP_TIMEOUT;

	if (entry->opcode == IORING_OP_ASYNC_CANCEL) {
		cancel(ring, entry->addr);
		return 0;
	}
	task = calloc(1, sizeof(*task));
	if (!task)
		return -EAGAIN;
	ring->n_tasks++;
	task->entry = *entry;
	task->file =
		needs_file && (unsigned)entry->fd < ring->n_slots ? ring->slots[entry->fd] : NULL;
	if (task->file)
		task->file->users++;
	if (needs_file && !task->file)
		complete(ring, task, -EBADF);
	else if (task->file && task->file->is_file && entry->opcode != IORING_OP_POLL_ADD)
		hand_to_workers(ring, task);
	else
		queue_add(&ring->waiting, task);
	return 0;
}

/* Starts what was entered, as far as memory goes; the rest is tried again at the next turn (EAGAIN,
 * as io_uring_enter(2) has it). */
static int start_entered(struct poll_ring *ring)
{
	unsigned n = 0;
	int r = 0;

	while (r == 0 && n < ring->n_entered) {
		r = start(ring, &ring->entries[n]);
		if (r == 0)
			n++;
	}
	ring->n_entered -= n;
	memmove(ring->entries, &ring->entries[n], ring->n_entered * sizeof(*ring->entries));
	return r;
}

struct io_uring_sqe *poll_ring_get_entry(struct poll_ring *ring)
{
	struct io_uring_sqe *entry;

	if (ring->n_entered == ring->n_entries)
		return NULL;
	entry = &ring->entries[ring->n_entered++];
	memset(entry, 0, sizeof(*entry));
	return entry;
}

int poll_ring_submit(struct poll_ring *ring, bool wait)
{
	int r = start_entered(ring);

	/* Whoever does not want to wait wants what is there. */
	return r < 0 ? r : wait_for_events(ring, wait && !ring->done.first);
}

bool poll_ring_next(struct poll_ring *ring, struct ring_completion *out)
{
	struct task *task = ring->done.first;

	if (!task)
		return false;
	queue_take(&ring->done, &ring->done.first);
	ring->n_tasks--;
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	*out = (struct ring_completion){.user = (void *)(uintptr_t)task->entry.user_data,
					.res = task->res};
	file_release(task->file);
	free(task);
	return true;
}

unsigned poll_ring_under_way(const struct poll_ring *ring)
{
	return ring->n_entered + ring->n_tasks;
}

int poll_ring_set_file(struct poll_ring *ring, unsigned slot, int fd)
{
	struct file *file = NULL;
	struct stat st;

	if (slot >= ring->n_slots)
		return -EINVAL;
	if (fd >= 0) {
		file = calloc(1, sizeof(*file));
		if (!file)
			return -ENOMEM;
		file->users = 1;
		file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (file->fd < 0 || fstat(file->fd, &st) < 0) {
			int r = -errno;

			close_fdp(&file->fd);
			free(file);
			return r;
		}
		file->is_file = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode);
		file->is_pipe = S_ISFIFO(st.st_mode);
	}
	file_release(ring->slots[slot]);
	ring->slots[slot] = file;
	return 0;
}

int poll_ring_new(struct poll_ring **out, unsigned entries, unsigned slots)
{
	struct poll_ring *ring = calloc(1, sizeof(*ring));

	if (!ring)
		return -ENOMEM;
	ring->n_entries = entries;
	ring->n_slots = slots;
	ring->n_polls_max = 64;
	queue_init(&ring->waiting);
	queue_init(&ring->done);
	queue_init(&ring->to_do);
	queue_init(&ring->finished);
	pthread_mutex_init(&ring->lock, NULL);
	pthread_cond_init(&ring->work, NULL);
	ring->entries = calloc(entries, sizeof(*ring->entries));
	ring->slots = calloc(slots, sizeof(struct file *));
	ring->polls = calloc(ring->n_polls_max, sizeof(*ring->polls));
	ring->finished_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!ring->entries || !ring->slots || !ring->polls || ring->finished_fd < 0) {
		poll_ring_free(ring);
		return -ENOMEM;
	}
	*out = ring;
	return 0;
}

static void stop_workers(struct poll_ring *ring)
{
	pthread_mutex_lock(&ring->lock);
	ring->stopping = true;
	pthread_cond_broadcast(&ring->work);
	pthread_mutex_unlock(&ring->lock);
	for (unsigned i = 0; i < ring->n_workers; i++)
		pthread_join(ring->workers[i], NULL);
}

static void abandon(struct queue *queue)
{
	while (queue->first) {
		struct task *task = queue_take(queue, &queue->first);

		file_release(task->file);
		free(task);
	}
}

struct poll_ring *poll_ring_free(struct poll_ring *ring)
{
	stop_workers(ring);
	abandon(&ring->waiting);
	abandon(&ring->done);
	abandon(&ring->to_do);
	abandon(&ring->finished);
	for (unsigned i = 0; ring->slots && i < ring->n_slots; i++)
		file_release(ring->slots[i]);
	close_fdp(&ring->finished_fd);
	pthread_cond_destroy(&ring->work);
	pthread_mutex_destroy(&ring->lock);
	free(ring->entries);
	free((void *)ring->slots);
	free(ring->polls);
	free(ring);
	return NULL;
}
