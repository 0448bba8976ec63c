// SPDX-License-Identifier: Apache-2.0
#include "supervisor/storage/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/util.h"

#define STOP_TIMEOUT_S 10
#define STUCK_MS       100 /* without descriptors, newcomers are looked at again */

struct server;

struct worker {
	struct server *server;
	int socket; /* -1: free. Closed by the worker, under the lock */
};

struct server {
	struct storage *storage;
	const struct server_options *options;
	int listen_fd, signal_fd;
	bool handed_over; /* the socket is systemd's, and outlives us */
	int freed_fd;	  /* eventfd: a worker has become free */
	int reserve;	  /* see io_accept() */
	bool is_stuck;	  /* nobody can be accepted for a moment */
	pthread_mutex_t lock;
	pthread_cond_t ended;
	unsigned busy;
	struct worker workers[SERVER_WORKERS_MAX];
};

static void *work(void *context)
{
	struct worker *worker = context;
	struct server *server = worker->server;
	const uint64_t one = 1;

	ops_serve(server->storage, worker->socket);
	pthread_mutex_lock(&server->lock);
	close_fdp(&worker->socket);
	server->busy--;
	(void)!write(server->freed_fd, &one, sizeof(one));
	pthread_cond_signal(&server->ended);
	pthread_mutex_unlock(&server->lock);
	return NULL;
}

static struct worker *find_free(struct server *server)
{
	for (unsigned i = 0; i < SERVER_WORKERS_MAX; i++)
		if (server->workers[i].socket < 0)
			return &server->workers[i];
	return NULL;
}

/* Gives an accepted connection (now ours) to a free worker. */
static void start_worker(struct server *server, int socket)
{
	struct worker *worker;
	pthread_attr_t attr;
	pthread_t thread;

	pthread_mutex_lock(&server->lock);
	worker = find_free(server);
	worker->server = server;
	worker->socket = socket;
	server->busy++;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, work, worker) != 0) {
		log_error("storage: cannot start a thread");
		ops_refuse(worker->socket, -ENOMEM,
			   "protect-storage cannot start a thread; try again later");
		close_fdp(&worker->socket);
		server->busy--;
	}
	pthread_attr_destroy(&attr);
	pthread_mutex_unlock(&server->lock);
}

/* #syscalls storage: accept4(_, _, _, SOCK_CLOEXEC) eventfd2(0, EFD_CLOEXEC) poll read write
 * shutdown close unlink */
static void accept_one(struct server *server)
{
	_cleanup_(close_fdp) int socket = io_accept(server->listen_fd, 0, &server->reserve);
	uid_t uid;

	server->is_stuck = socket < 0 && io_accept_is_stuck(socket);
	if (socket < 0)
		return;
	if (io_peer_uid(socket, &uid) < 0 || (uid != 0 && uid != server->options->allowed_uid)) {
		log_warning("storage: refused a connection uid=%u", (unsigned)uid);
		return;
	}
	if (server->reserve < 0)
		ops_refuse(socket, -EMFILE,
			   "protect-storage has no descriptor left; try again later");
	else
		start_worker(server, steal_fd(&socket));
}

static bool all_busy(struct server *server)
{
	bool result;

	pthread_mutex_lock(&server->lock);
	result = server->busy == SERVER_WORKERS_MAX;
	pthread_mutex_unlock(&server->lock);
	return result;
}

static int serve(struct server *server, struct error *err)
{
	for (;;) {
		bool may_enter = !all_busy(server) && !server->is_stuck;
		struct pollfd fds[] = {
			{.fd = server->signal_fd, .events = POLLIN},
			{.fd = server->freed_fd, .events = POLLIN},
			{.fd = may_enter ? server->listen_fd : -1, .events = POLLIN},
		};
		uint64_t count;

		if (poll(fds, ARRAY_SIZE(fds), server->is_stuck ? STUCK_MS : -1) < 0 &&
		    errno != EINTR)
			return error_set_errno(err, -errno, "cannot poll");
		server->is_stuck = false;
		if (fds[0].revents)
			return 0;
		if (fds[1].revents)
			(void)!read(server->freed_fd, &count, sizeof(count));
		if (fds[2].revents)
			accept_one(server);
		io_reserve(&server->reserve);
	}
}

/* Hangs up on every client, which cancels what is done for it, and waits for the threads. True if
 * all have ended. */
static bool stop_workers(struct server *server)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += STOP_TIMEOUT_S;
	pthread_mutex_lock(&server->lock);
	for (unsigned i = 0; i < SERVER_WORKERS_MAX; i++)
		if (server->workers[i].socket >= 0)
			shutdown(server->workers[i].socket, SHUT_RDWR);
	while (server->busy && r == 0)
		r = pthread_cond_clockwait(&server->ended, &server->lock, CLOCK_MONOTONIC, &until);
	pthread_mutex_unlock(&server->lock);
	return server->busy == 0;
}

/* #syscalls storage.start: signalfd4 eventfd2(0, EFD_CLOEXEC|EFD_NONBLOCK) */
static int open_descriptors(struct server *server, struct error *err)
{
	const char *path = server->options->path;
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	server->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	server->freed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->signal_fd < 0 || server->freed_fd < 0)
		return error_set_errno(err, -errno, "cannot make descriptors");
	server->listen_fd = notify_listener(SOCK_SEQPACKET);
	server->handed_over = server->listen_fd >= 0;
	if (server->listen_fd == -ENOENT)
		server->listen_fd = io_unix_listen(path, SOCK_SEQPACKET, server->options->mode);
	if (server->listen_fd < 0)
		return error_set_errno(err, server->listen_fd, "cannot listen on %s", path);
	return io_set_nonblock(server->listen_fd, 1);
}

int server_run(struct storage *storage, const struct server_options *options,
	       void (*ready)(void *context), void *context, struct error *err)
{
	struct server server = {.storage = storage,
				.options = options,
				.listen_fd = -1,
				.signal_fd = -1,
				.freed_fd = -1,
				.reserve = -1,
				.lock = PTHREAD_MUTEX_INITIALIZER,
				.ended = PTHREAD_COND_INITIALIZER};
	int r;

	for (unsigned i = 0; i < SERVER_WORKERS_MAX; i++)
		server.workers[i].socket = -1;
	r = open_descriptors(&server, err);
	io_reserve(&server.reserve);
	if (r == 0 && ready)
		ready(context);
	if (r == 0)
		r = serve(&server, err);
	/* A thread that does not end still uses what is on this stack: leave without unwinding, the
	 * store is crash-safe. */
	if (!stop_workers(&server)) {
		log_warning("storage: operations do not end; leaving without them");
		_exit(EXIT_FAILURE);
	}
	if (server.listen_fd >= 0 && !server.handed_over)
		unlink(options->path);
	close_fdp(&server.listen_fd);
	close_fdp(&server.signal_fd);
	close_fdp(&server.freed_fd);
	close_fdp(&server.reserve);
	return r;
}
