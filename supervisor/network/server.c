// SPDX-License-Identifier: Apache-2.0
#include "supervisor/network/server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/util.h"

#define CLIENTS_MAX 16u
#define CLIENT_NS   (10 * NS_PER_S) /* so long one may be silent */
#define STUCK_MS    100		    /* without descriptors, newcomers are looked at again */

struct client {
	int fd;
	uint64_t until_ns;
	struct list list;
};

struct server {
	const char *path;
	uid_t allowed_uid;
	int listener, signals;
	int reserve; /* see io_accept() */
	bool handed_over, is_stuck;
	struct client clients[CLIENTS_MAX];
	unsigned n_clients;
	uint8_t packet[OPS_PACKET_MAX];
};

/* #syscalls network.start: rt_sigprocmask signalfd4 */
int server_open(struct server **out, const char *path, uid_t allowed_uid, struct error *err)
{
	struct server *server = calloc(1, sizeof(*server));
	sigset_t set;

	*out = server;
	if (!server)
		return error_set(err, -ENOMEM, "out of memory");
	*server = (struct server){
		.path = path, .allowed_uid = allowed_uid, .signals = -1, .reserve = -1};
	server->listener = notify_listener(SOCK_SEQPACKET);
	server->handed_over = server->listener >= 0;
	/* Everybody may reach the socket; the folder's mode and the peer's uid decide. */
	if (server->listener == -ENOENT)
		server->listener = io_unix_listen(path, SOCK_SEQPACKET, 0666);
	if (server->listener < 0)
		return error_set_errno(err, server->listener, "cannot listen on %s", path);
	io_set_nonblock(server->listener, 1);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == 0)
		server->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (server->signals < 0)
		return error_set_errno(err, -errno, "cannot take signals");
	io_reserve(&server->reserve);
	return 0;
}

/* What a client is told without descriptors: they are needed to hear him. */
static void refuse(int fd)
{
	Protect__Network__Reply reply = PROTECT__NETWORK__REPLY__INIT;
	char text[] = "protect-network has no descriptor left; try again later";
	uint8_t packet[128];

	reply.error = EMFILE;
	reply.text = text;
	io_refuse(fd, packet, protect__network__reply__pack(&reply, packet));
}

/* #syscalls network: poll read close unlink */
static void accept_client(struct server *server)
{
	_cleanup_(close_fdp) int fd = io_accept(server->listener, SOCK_NONBLOCK, &server->reserve);
	uid_t uid = 0;

	server->is_stuck = fd < 0 && io_accept_is_stuck(fd);
	if (fd < 0)
		return;
	if (io_peer_uid(fd, &uid) < 0 || (uid != 0 && uid != server->allowed_uid)) {
		log_warning("uid=%u msg=\"refused a connection\"", (unsigned)uid);
		return;
	}
	if (server->reserve < 0) {
		refuse(fd);
		return;
	}
	server->clients[server->n_clients++] =
		(struct client){.fd = steal_fd(&fd), .until_ns = clock_now_ns() + CLIENT_NS};
}

/* One packet of a client. Returns whether there is more to come from him. */
static bool serve_client(struct server *server, struct ops *ops, struct client *client)
{
	_cleanup_(answer_clear) struct answer answer = {.packet = NULL};
	unsigned n_fds = 0;
	ssize_t n = io_recv_fds(client->fd, server->packet, sizeof(server->packet), NULL, &n_fds,
				MSG_DONTWAIT);

	if (n == -EAGAIN)
		return true;
	if (n <= 0)
		return false;
	if (!ops_serve(ops, &client->list, server->packet, (size_t)n, &answer))
		return true;
	if (!answer.packet || io_send_fds(client->fd, answer.packet, answer.len, answer.fds,
					  answer.n_fds, MSG_DONTWAIT) < 0)
		ops_undo(ops, &answer);
	return false;
}

static void close_client(struct client *client)
{
	list_clear(&client->list);
	close_fdp(&client->fd);
}

static void serve_clients(struct server *server, struct ops *ops, const struct pollfd *polls)
{
	uint64_t now_ns = clock_now_ns();
	unsigned kept = 0;

	for (unsigned i = 0; i < server->n_clients; i++) {
		struct client *client = &server->clients[i];
		bool stays = now_ns < client->until_ns;

		if (polls[i].revents)
			stays = serve_client(server, ops, client);
		if (stays)
			server->clients[kept++] = *client;
		else
			close_client(client);
	}
	server->n_clients = kept;
}

/* Milliseconds until something has to be done though nothing comes. */
static int timeout_ms(const struct server *server, uint64_t watchdog_ns)
{
	uint64_t wait_ns = watchdog_ns ? watchdog_ns : UINT64_MAX;

	if (server->is_stuck)
		wait_ns = MIN(wait_ns, STUCK_MS * NS_PER_MS);
	if (server->n_clients)
		wait_ns = MIN(wait_ns, NS_PER_S);
	return wait_ns == UINT64_MAX ? -1 : (int)MIN(wait_ns / NS_PER_MS, (uint64_t)INT32_MAX);
}

int server_run(struct server *server, struct ops *ops, int notify)
{
	uint64_t watchdog_ns = notify_watchdog_ns();

	for (;;) {
		bool may_enter = server->n_clients < CLIENTS_MAX && !server->is_stuck;
		struct pollfd polls[CLIENTS_MAX + 2] = {
			{.fd = server->signals, .events = POLLIN},
			{.fd = may_enter ? server->listener : -1, .events = POLLIN}};

		for (unsigned i = 0; i < server->n_clients; i++)
			polls[i + 2] =
				(struct pollfd){.fd = server->clients[i].fd, .events = POLLIN};
		if (poll(polls, server->n_clients + 2, timeout_ms(server, watchdog_ns)) < 0 &&
		    errno != EINTR)
			return -errno;
		if (watchdog_ns)
			notify_send(notify, "WATCHDOG=1");
		if (polls[0].revents)
			return 0;
		serve_clients(server, ops, polls + 2);
		server->is_stuck = false;
		if (polls[1].revents)
			accept_client(server);
		io_reserve(&server->reserve);
	}
}

struct server *server_close(struct server *server)
{
	if (!server)
		return NULL;
	while (server->n_clients)
		close_client(&server->clients[--server->n_clients]);
	if (server->listener >= 0 && !server->handed_over)
		unlink(server->path);
	close_fdp(&server->listener);
	close_fdp(&server->signals);
	close_fdp(&server->reserve);
	free(server);
	return NULL;
}
